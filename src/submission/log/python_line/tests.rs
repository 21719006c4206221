//! One line each.

use super::*;

#[test]
fn scripts_start_with_lines_that_logs_do_not_have() {
    for line in [
        "\"\"\"The trainer.",
        "\"\"\"",
        "r'''",
        "from __future__ import annotations",
        "import collections,copy,glob,io,lzma,math,os",
        "import lzma as L,base64 as B",
        "import os; import sys",
        "from .a import b",
        "#!/usr/bin/env python3",
        "def f(x):return x",
        "async def f(x):",
        "class Args:",
        "class GPT(nn.Module):",
        "@torch.no_grad()",
        "if __name__ == \"__main__\":",
    ] {
        assert!(starts_script(line), "{line}");
    }
    for line in [
        "import of the data took 5 s",
        "import: 5",
        "from step 100 on",
        "from 5 import",
        "class balance: 5",
        "class 3",
        "@ step 5",
        "defaults: 5",
        "  import os",
        "",
    ] {
        assert!(!starts_script(line), "{line}");
    }
}

#[test]
fn fragments_are_known_by_what_no_log_prints() {
    for line in [
        "    log0(f\"final val_bpb:{x:.8f}\")",
        "    log0(",
        "val_bpb:{bpb:.8f} eval_time:{ms:.0f}ms",
        "world_size = int(os.environ.get('WORLD_SIZE', '1'))",
        "        self.x = 5",
        "    raise ValueError(\"x\")",
        "x = 'a' + f'{y}'",
    ] {
        assert!(is_fragment(line), "{line}");
    }
    for line in [
        "{\"step\": 5, \"a\": {\"b\": 1.5}}",
        "if\"{",
        "config: {lr: 0.02}",
        "raise the limit",
        "step:5/10 val_bpb:1.5",
        "brief\"{",
        "{'a': 1}",
    ] {
        assert!(!is_fragment(line), "{line}");
    }
}

#[test]
fn at_the_margin_statements_are_told_from_pairs() {
    for line in [
        "X = 5",
        "_B='val'",
        "x: int = 5",
        "x: list[int] = []",
        "x:Tensor",
        "a, b = 1, 2",
        "a[0] = 5",
        "f(x, y=5)",
        "x += 1",
        "x.y = z",
        "for i in range(5):",
        "else:",
        ")",
        "# text",
        "if x:y=5",
        "x = f(a=1, b=2)",
        "try:",
    ] {
        assert!(is_code_at_margin(line), "{line}");
    }
    for line in [
        "model_params:17059912",
        "seed: 42",
        "world_size=8 grad_accum_steps=1",
        "val_bpb:enabled tokenizer_kind=sentencepiece tokenizer_path=./a.model",
        "Serialized model: 5 bytes",
        "final_int8 val_bpb:1.2",
        "Thu Mar 19 12:00:00 2026",
        "logs/abc.txt",
        "|  0 NVIDIA H100",
        "{\"step\": 5}",
        "[2026-04-02 10:00:00] INFO: seed:42",
        "(5 of 6)",
        "",
    ] {
        assert!(!is_code_at_margin(line), "{line}");
    }
}

#[test]
fn quotes_are_followed_over_lines() {
    assert_eq!(quotes_after("\"\"\"a", None), Some(DOUBLE));
    assert_eq!(quotes_after("b '''", Some(DOUBLE)), Some(DOUBLE));
    assert_eq!(quotes_after("b \"\"\" + '''", Some(DOUBLE)), Some(SINGLE));
    assert_eq!(quotes_after("x = 'it\\'s \"\"\"' # \"\"\"", None), None);
    assert_eq!(quotes_after("\\\"\"\"", Some(DOUBLE)), Some(DOUBLE));
}

#[test]
fn marks_of_ranks_and_loggers_are_taken_off() {
    assert_eq!(without_mark("3:     x"), "    x");
    assert_eq!(without_mark("[2026-04-02 10:00:00] INFO: import os"), "import os");
    assert_eq!(without_mark("[rank0]:    x"), "    x");
    assert_eq!(without_mark("[default12]:x"), "x");
    for line in ["[rank]: x", "[0]: x", "[rank0] x", "[ 5%]: x", "["] {
        assert_eq!(without_mark(line), line);
    }
}
