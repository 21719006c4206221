//! Invented logs that hold their own source, in the shapes real ones have.

use super::super::LogScanner;
use crate::submission::LogFile;

fn scan(text: &str) -> LogFile {
    let mut scanner = LogScanner::new("train.log".into());
    scanner.feed(text.as_bytes());
    scanner.finish(false)
}

/// A script that prints results, states targets in its docstring, and has settings of its own.
const SCRIPT: &str = r#""""The trainer. Target of this run:
val_bpb: 1.1692
step:5 val_bpb:0.9 train_time:700000ms
"""
from __future__ import annotations
import os

class Args:
    # made for NVIDIA A100 80GB, world_size:1, seed:9
    tokenizer_path = os.environ.get("TOKENIZER_PATH", "./data/fineweb_4096_bpe.model")

def report(world_size=1, seed=9):
    log0(f"final_int8 val_loss:{loss:.8f} val_bpb:{bpb:.8f} eval_time:{ms:.0f}ms")
    log0("gptq:using validation data for calibration")
    raise RuntimeError("CUDA out of memory")

if __name__ == "__main__":
    main()
"#;

const RUN: &str = "model_params:17059912\nworld_size:8 grad_accum_steps:1\nseed:42\n\
    step:0/20000 val_loss:6.93 val_bpb:4.10 train_time:0ms\nfinal_int8 val_loss:1.9741 val_bpb:1.16918154 eval_time:1000ms\n";

fn rule() -> String {
    "=".repeat(100)
}

/// What a run without listing says, apart from line numbers.
fn facts(log: &LogFile) -> (Vec<f64>, Vec<u64>, Option<u64>, usize, usize, usize) {
    (
        log.metrics.iter().map(|metric| metric.bpb).collect(),
        log.seeds.iter().map(|seed| seed.value).collect(),
        log.world_size.as_ref().map(|noted| noted.value),
        log.devices.len(),
        log.errors.len() + log.calibration.len(),
        log.eval_times.len(),
    )
}

#[test]
fn nothing_a_listing_says_is_evidence() {
    let plain = facts(&scan(RUN));
    let minified = "import os,sys\nA='x'\ndef f(x,seed=9):\n\tlog(f'val_bpb:{x:.8f}')\n\treturn x\nclass H:\n\tworld_size=1\nf(1)\n";
    let packed =
        format!("import lzma as L,base64 as B\nexec(L.decompress(B.b85decode(\"{}\")))\n", "c$}x:=5".repeat(900));
    let middle = SCRIPT.split_once("class Args").unwrap().1;
    let cut = &SCRIPT[..SCRIPT.find("raise").unwrap()];
    let in_docstring = &SCRIPT[..40];
    for (what, text) in [
        ("whole", format!("{SCRIPT}\n{}\nRunning Python 3.12\n{RUN}", rule())),
        ("no closing line", format!("{SCRIPT}{RUN}")),
        ("behind settings", format!("logs/a.txt\n{}\n{SCRIPT}\n{}\n{RUN}", "=".repeat(40), rule())),
        ("minified", format!("{minified}{}\n{RUN}", rule())),
        ("minified, no closing line", format!("{minified}{RUN}")),
        ("packed", format!("{packed}{}\n{RUN}", rule())),
        ("packed, no closing line", format!("{packed}{RUN}")),
        ("from the middle", format!("class Args{middle}{}\n{RUN}", rule())),
        ("from the middle of a body", format!("{}{}\n{RUN}", &middle[1..], rule())),
        ("cut", format!("{cut}\n{RUN}")),
        ("cut inside a docstring", format!("{in_docstring}\nRunning Python 3.12\n{RUN}")),
        ("comments first", format!("# ----------\n# licence: val_bpb:1.0\n\n{SCRIPT}{}\n{RUN}", rule())),
        ("shebang", format!("#!/usr/bin/env python3\n{SCRIPT}{}\n{RUN}", rule())),
        ("twice", format!("{SCRIPT}{}\n{SCRIPT}{}\n{RUN}", rule(), rule())),
        ("the tail of an older file", format!("{RUN}{}", SCRIPT.split_once("def report").unwrap().1)),
    ] {
        let log = scan(&text);
        assert_eq!(facts(&log), plain, "{what}");
        assert!(!log.listings.is_empty(), "{what}");
    }
    let ranks: String = SCRIPT.lines().map(|line| format!("[rank0]:{line}\n")).collect();
    assert_eq!(facts(&scan(&format!("{ranks}{RUN}"))), plain);
    // A logger marks the first line only, and the lines of the run.
    let marked =
        |text: &str| text.lines().map(|line| format!("[2026-04-02 10:00:00] INFO: {line}\n")).collect::<String>();
    let logged = format!("[2026-04-02 10:00:00] INFO: {cut}\n{}", marked(RUN));
    assert_eq!(facts(&scan(&logged)), facts(&scan(&marked(RUN))));
}

#[test]
fn a_listing_is_kept_with_its_lines() {
    let log = scan(&format!("logs/a.txt\n{SCRIPT}\n{}\n{RUN}", rule()));
    let [listing] = log.listings.as_slice() else { panic!("{:?}", log.listings) };
    let written = SCRIPT.lines().count() as u64;
    assert_eq!((listing.first, listing.last, listing.has_head, listing.has_end), (2, written + 1, true, true));
    let lines = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).map(String::from).collect::<Vec<_>>();
    assert_eq!(lines(&listing.text), lines(SCRIPT));
    let cut = scan(&format!("{}\n{RUN}", &SCRIPT[..SCRIPT.find("raise").unwrap()]));
    assert_eq!((cut.listings[0].has_head, cut.listings[0].has_end), (true, false));
    let middle = scan(&SCRIPT[SCRIPT.find("    # made").unwrap()..]);
    assert_eq!((middle.listings.last().unwrap().has_head, middle.listings.last().unwrap().has_end), (false, true));
}

#[test]
fn logs_without_source_are_read_whole() {
    for text in [
        "# Results\nval_bpb:1.25\n",
        "# Results\n\nval_bpb:1.25\n",
        "from step 100 on\nval_bpb:1.25\n",
        "x.py:5: UserWarning: y\n  return self.x()\nval_bpb:1.25\n",
        "Traceback (most recent call last):\n  File \"a.py\", line 5\n    import os\nOSError: x\nval_bpb:1.25\n",
        "GPT(\n  (tok_emb): Embedding(1024, 512)\n)\nval_bpb:1.25\n",
        "==== RUN 1 (seed=1) ====\nval_bpb:1.25\n",
        "# a\n# b\nval_bpb:1.25",
    ] {
        let log = scan(text);
        assert_eq!((log.metrics.len(), log.listings.len()), (1, 0), "{text}");
    }
    assert_eq!(scan("Traceback (most recent call last):\n  File \"a.py\", line 5\n    raise X()\nX\n").errors.len(), 1);
}

#[test]
fn a_listing_between_two_runs_belongs_to_the_second() {
    let second = RUN.replace("42", "43").replace("1.16918154", "1.17");
    let log = scan(&format!("{SCRIPT}{}\n{RUN}=== RUN 2 ===\n{SCRIPT}{}\n{second}", rule(), rule()));
    assert_eq!((log.listings.len(), log.runs().len()), (2, 2));
    let start = log.runs()[1].first;
    assert!(log.metrics[1].line < start && start <= log.metrics[2].line);
}
