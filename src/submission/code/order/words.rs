//! What names in evaluation code are about.

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprCall};

use super::super::names::{dotted, words};

/// Last parts of names that hold validation text: `val_tokens`, `eval_docs`.
const TEXT: [&str; 20] = [
    "token", "tokens", "tok", "toks", "data", "loader", "stream", "doc", "docs", "ids", "files", "file", "shard",
    "shards", "chunk", "chunks", "text", "batch", "dataset", "seqs",
];
/// What a score is called.
const SCORE: [&str; 21] = [
    "loss",
    "losses",
    "nll",
    "nlls",
    "bits",
    "bpb",
    "score",
    "scores",
    "scored",
    "ce",
    "xent",
    "logp",
    "logps",
    "logprob",
    "logprobs",
    "nats",
    "surprisal",
    "entropy",
    "ptl",
    "lossv",
    "tloss",
];

/// Whether a name holds validation text by its own word.
pub fn is_validation(name: &str) -> bool {
    let words = words(name);
    let of = |word: &str| matches!(word, "val" | "valid" | "validation" | "eval" | "heldout");
    words.iter().position(|word| of(word)).is_some_and(|at| {
        // `val_batch_size` and `val_tokens_per_step` are numbers; `val_loss_every` says nothing about text.
        let rest = &words[at + 1..];
        rest.last().is_some_and(|last| TEXT.contains(&last.as_str()))
            && !words.iter().any(|word| matches!(word.as_str(), "num" | "n" | "max" | "total" | "count"))
    })
}

/// What never holds validation text, whatever it was made beside: training text, models, settings.
const NO_TEXT: [&str; 22] = [
    "train",
    "training",
    "model",
    "models",
    "net",
    "network",
    "compiled",
    "lora",
    "gpt",
    "module",
    "optimizer",
    "optimizers",
    "opt",
    "args",
    "h",
    "hp",
    "cfg",
    "config",
    "device",
    "rank",
    "ckpt",
    "checkpoint",
];

/// Whether a name is about something else than validation text, although it was made beside it.
pub fn is_no_text(name: &str) -> bool {
    words(name).iter().any(|word| NO_TEXT.contains(&word.as_str()))
}

/// Whether a name is a score.
pub fn is_score(name: &str) -> bool {
    words(name).iter().any(|word| SCORE.contains(&word.as_str()))
}

/// Whether names say that text was scored before: `prev_chunk`, `scored_tokens`, `history`.
pub fn is_past(name: &str) -> bool {
    let past = ["prev", "previous", "scored", "seen", "past", "history", "already", "prefix", "context", "ctx"];
    words(name).iter().any(|word| past.contains(&word.as_str()))
}

/// Names in an expression, those of sizes and devices left out: `x.numel()` and `len(x)` are numbers about `x`.
pub fn mentioned(expr: &Expr) -> Vec<String> {
    let mut names = Names { found: Vec::new() };
    names.visit_expr(expr);
    names.found
}

struct Names {
    found: Vec<String>,
}

const ABOUT: [&str; 10] =
    ["numel", "size", "dim", "stride", "shape", "device", "dtype", "element_size", "ndim", "nelement"];

impl<'a> Visitor<'a> for Names {
    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Name(name) => self.found.push(name.id.to_string()),
            Expr::Attribute(attribute) if ABOUT.contains(&attribute.attr.as_str()) => {}
            Expr::Attribute(attribute) => {
                self.found.push(attribute.attr.to_string());
                // `args.val_files` is a name of its own; `args` says nothing.
                if !matches!(&*attribute.value, Expr::Name(name) if matches!(name.id.as_str(), "args" | "self" | "h" | "cfg" | "hp" | "config"))
                {
                    self.visit_expr(&attribute.value);
                }
            }
            Expr::Call(call) if is_about(call) => {}
            Expr::Lambda(_) => {}
            // Names of files.
            Expr::StringLiteral(text) if text.value.to_str().contains("fineweb_val") => {
                self.found.push("val_files".into());
            }
            other => visitor::walk_expr(self, other),
        }
    }
}

fn is_about(call: &ExprCall) -> bool {
    let name = dotted(&call.func);
    let last = name.rsplit('.').next().unwrap_or_default();
    // `log(f"...")` prints; `torch.log(p)` and `p.log()` compute.
    let computes = matches!(name.split('.').next(), Some("torch" | "np" | "numpy" | "math" | "jnp" | "F"));
    let prints = last == "log" && !call.arguments.args.is_empty() && !computes;
    ABOUT.contains(&last) || prints || matches!(last, "len" | "isinstance" | "print" | "log0")
}
