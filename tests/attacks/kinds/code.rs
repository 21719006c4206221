//! Scripts that do what the rules forbid. A machine points at the lines; a person decides.

use super::super::forgery::{Forgery, Kind, ToldBy};
use crate::story::{SCRIPT, Story};

pub const KINDS: &[Kind] = &[
    Kind {
        name: "trains on what it scores",
        what: "the script takes optimizer steps on validation tokens before it scores them",
        told_by: ToldBy::Reviewer,
        variants: 4,
        forge: |random, n| {
            let step = "            loss = F.cross_entropy(model(window[:-1]), window[1:])\n            loss.backward()\n            optimizer.step()\n            optimizer.zero_grad()\n";
            let epochs = ["1", "2", "3", "10"][n % 4];
            let adapt = format!(
                "def adapt(args, model, optimizer, val_tokens):\n    for epoch in range({epochs}):\n        for start in range(0, len(val_tokens) - args.seq_len, args.seq_len):\n            window = val_tokens[start : start + args.seq_len + 1]\n{step}\n\n"
            );
            let script = SCRIPT.replace("def main():", &(adapt + "def main():")).replace(
                "    val_loss, val_bpb = evaluate(",
                "    val_tokens = load_tokens(args.data_path + \"/fineweb_val_*.bin\")\n    adapt(args, model, optimizer, val_tokens)\n    val_loss, val_bpb = evaluate(",
            );
            with(random, script)
        },
    },
    Kind {
        name: "bytes counted wrong in the script",
        what: "the script's table of bytes a token counts more than the text has",
        told_by: ToldBy::Reviewer,
        variants: 3,
        forge: |random, n| {
            let script = match n % 3 {
                0 => SCRIPT.replace("            piece = piece[1:]\n", ""),
                1 => SCRIPT.replace(
                    "base_bytes[token_id] = 1\n",
                    "base_bytes[token_id] = len(sp.id_to_piece(token_id).encode(\"utf-8\"))\n",
                ),
                _ => SCRIPT.replace(" & ~is_boundary[previous]", ""),
            };
            with(random, script)
        },
    },
    Kind {
        name: "fetches at evaluation",
        what: "the script loads something over the network while it scores",
        told_by: ToldBy::Reviewer,
        variants: 4,
        forge: |random, n| {
            let fetch = [
                "    import urllib.request\n    hints = urllib.request.urlopen(\"https://example.org/hints\").read()\n",
                "    import requests\n    hints = requests.get(\"https://example.org/hints\").content\n",
                "    from huggingface_hub import hf_hub_download\n    hints = hf_hub_download(\"someone/hints\", \"hints.bin\")\n",
                "    import socket\n    hints = socket.create_connection((\"example.org\", 443)).recv(1 << 20)\n",
            ][n % 4];
            let script = SCRIPT.replace(
                "    total, count, byte_count = 0.0, 0, 0.0\n",
                &format!("{fetch}    total, count, byte_count = 0.0, 0, 0.0\n"),
            );
            with(random, script)
        },
    },
    Kind {
        name: "looks up the target",
        what: "a cache keyed by the token to be predicted, or an offset optimized on the scored tokens",
        told_by: ToldBy::Reviewer,
        variants: 3,
        forge: |random, n| {
            let lookup = match n % 3 {
                0 => {
                    "            key = (window[:-1] * 1000003) ^ (window[1:] * 31)\n            ngram_cache = counts[key % len(counts)]\n            losses = -torch.log(0.5 * torch.exp(-losses) + 0.5 * ngram_cache)\n"
                }
                1 => {
                    "            delta = torch.zeros(1, 64, requires_grad=True)\n            slot_optimizer = torch.optim.AdamW([delta], lr=0.01)\n            for _ in range(8):\n                slot_loss = F.cross_entropy(F.linear(model.hidden(window[:-1]) + delta, model.embed.weight), window[1:])\n                slot_loss.backward()\n                slot_optimizer.step()\n                slot_optimizer.zero_grad()\n"
                }
                _ => {
                    "            ngram_table.update(window.tolist())\n            ngram_probs = ngram_table.lookup(window[:-1], window[1:])\n            losses = torch.minimum(losses, -torch.log(ngram_probs))\n"
                }
            };
            let mark = "            previous, target = window";
            with(random, SCRIPT.replace(mark, &format!("{lookup}{mark}")))
        },
    },
    Kind {
        name: "code that hides its code",
        what: "the script unpacks and executes what nobody can read, or runs another file",
        told_by: ToldBy::Reviewer,
        variants: 4,
        forge: |random, n| {
            let script = [
                "import os\nexec(os.environ.get(\"BODY\", \"pass\"))\n".to_string(),
                "import marshal, zlib\nexec(marshal.loads(zlib.decompress(open(\"final_model.int8.ptz\", \"rb\").read())))\n".into(),
                "import subprocess\nsubprocess.run([\"./run\", \"--train\"])\n".into(),
                "import runpy\nrunpy.run_path(\"../other/train_gpt.py\", run_name=\"__main__\")\n".into(),
            ][n % 4]
                .clone();
            with(random, script + SCRIPT)
        },
    },
];

/// The honest submission with another script, which its logs print as well.
fn with(random: &mut golf_harness::random::RandomStream, script: String) -> Forgery {
    assert_ne!(script, SCRIPT);
    let mut story = Story::honest(random);
    story.script = script;
    story.into()
}
