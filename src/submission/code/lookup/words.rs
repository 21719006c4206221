//! What names in scoring code are about.

use ruff_python_ast::Expr;

use super::super::names::words;

/// Names in an expression.
pub fn names(expr: &Expr) -> Vec<String> {
    super::super::order::mentioned(expr)
}

pub fn has(name: &str, list: &[&str]) -> bool {
    words(name)
        .iter()
        .any(|word| list.contains(&word.as_str()) || list.contains(&word.trim_end_matches(char::is_numeric)))
}

pub const TARGETS: [&str; 12] =
    ["tgt", "tgts", "target", "targets", "y", "yb", "yy", "label", "labels", "gold", "nxt", "truth"];
pub const TABLES: [&str; 34] = [
    "count",
    "counts",
    "counter",
    "counters",
    "cnt",
    "cnts",
    "table",
    "tables",
    "tab",
    "cache",
    "caches",
    "hist",
    "history",
    "freq",
    "freqs",
    "memo",
    "memory",
    "trie",
    "store",
    "bucket",
    "buckets",
    "lookup",
    "ppm",
    "hash",
    "hashes",
    "dict",
    "index",
    "successors",
    "followers",
    "ngram",
    "ngrams",
    "bigram",
    "bigrams",
    "trigram",
];
/// Sizes of tokens and masks are looked up by the target too, and are no predictions.
pub const NO_TABLES: [&str; 15] = [
    "byte", "bytes", "lut", "luts", "space", "boundary", "mask", "len", "length", "weight", "weights", "emb", "embed",
    "logits", "key",
];
pub const SCORES: [&str; 26] = [
    "loss",
    "losses",
    "nll",
    "nlls",
    "bits",
    "score",
    "scores",
    "ce",
    "xent",
    "logp",
    "logps",
    "logprob",
    "logprobs",
    "nats",
    "prob",
    "probs",
    "p",
    "pm",
    "pmodel",
    "lp",
    "likelihood",
    "likelihoods",
    "mixed",
    "mixture",
    "surprisal",
    "q",
];
/// What turns a target into a key, and no more.
pub const KEEPS: [&str; 30] = [
    "int",
    "hash",
    "tuple",
    "str",
    "tolist",
    "cpu",
    "numpy",
    "astype",
    "long",
    "to",
    "item",
    "view",
    "reshape",
    "unsqueeze",
    "squeeze",
    "flatten",
    "clone",
    "contiguous",
    "bitwise_xor",
    "remainder",
    "cat",
    "stack",
    "concatenate",
    "zip",
    "list",
    "array",
    "asarray",
    "int64",
    "uint64",
    "fmod",
];

pub fn is_score(name: &str) -> bool {
    has(name, &SCORES)
}

pub fn is_table(name: &str) -> bool {
    let joined = words(name).concat();
    (has(name, &TABLES) || joined.contains("ngram")) && !has(name, &NO_TABLES)
}
