//! A loss or bits-per-byte value in a log, and what kind of evaluation it came from.

use super::pairs::Pair;

/// Where in a run a value was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricKind {
    /// A training step's validation.
    Step,
    /// A running value in the middle of an evaluation.
    Progress,
    /// An evaluation of the model before it was quantized, or a diagnostic.
    PreQuant,
    /// An evaluation of what is submitted.
    Final,
}

/// One logged value.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// 1-based line.
    pub line: u64,
    /// Kind of evaluation.
    pub kind: MetricKind,
    /// Words before the value; kept for final values only.
    pub label: String,
    /// Bits per byte.
    pub bpb: f64,
    /// Digits after the decimal point of `bpb`.
    pub decimals: u32,
    /// Nats per token, where the line gives it.
    pub loss: Option<f64>,
}

/// Words that make a value a difference of values.
const DIFFERENCE: &[&str] =
    &["gap", "delta", "gain", "improvement", "diff", "std", "spread", "better", "worse", " vs "];
/// Words of values that somebody hopes for or compares with.
const ELSEWHERE: &[&str] =
    &["target", "expected", "goal", "sota", "to beat", "leaderboard", "threshold", "merged record"];
/// Words of running values.
const PROGRESS: &[&str] = &[
    "running_",
    "cum_bpb",
    "progress",
    "chunk",
    "tc[",
    "windows",
    "_batch [",
    "epoch",
    "window [",
    "cache_eval [",
    "eval [",
    "%]",
    "long docs",
    "est_bpb",
    "sgd_steps",
];
/// Words of values from before quantization.
const PRE_QUANT: &[&str] = &[
    "pre-quant",
    "pre_quant",
    "prequant",
    "post_ema",
    "post-ema",
    "post_swa",
    "post_average",
    "diagnostic",
    "diag ",
    "raw_model",
    "raw model",
    "ema_eval",
    "swa_eval",
    "best_averaging",
    "best_model",
    "using ema",
    "candidate_eval",
    "full_precision",
    "pre-codebook",
    "pre_ttt",
    "best_val_update",
    "post_train",
    "final_ema",
    "base_chunked",
    "ema bpb",
    "checkpoint",
    "fp32",
];

/// What a bits-per-byte value on this line is; `None` if it is no evaluation of anything.
pub(super) fn kind(lower: &str, is_step: bool, key: &str) -> Option<MetricKind> {
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // Diffusion models are no differences.
    let key = key.replace("diffusion", "");
    if DIFFERENCE.iter().chain(ELSEWHERE).any(|word| key.contains(word)) {
        return None;
    }
    if is_step {
        return Some(MetricKind::Step);
    }
    if has(PROGRESS) {
        return Some(MetricKind::Progress);
    }
    // What is called a diagnostic of the quantized model is of what is submitted.
    let is_early = has(PRE_QUANT) && !lower.contains("diagnostic quantized");
    Some(if is_early { MetricKind::PreQuant } else { MetricKind::Final })
}

/// Names of a loss in nats per token.
pub(super) fn is_loss(name: &str) -> bool {
    matches!(name, "val_loss" | "vl" | "Loss" | "validation_loss" | "diffusion_pll_loss")
}

/// Whether a line tells of a step of training.
pub(super) fn is_step(lower: &str, is_json: bool, list: &[Pair]) -> bool {
    if is_json {
        let counts = |pair: &Pair| matches!(pair.name(), "step" | "_step" | "iter" | "iteration" | "global_step");
        let of_result = ["final", "quant", "sliding", "ttt", "roundtrip"].iter().any(|word| lower.contains(word));
        return !of_result && list.iter().any(counts);
    }
    list.iter().any(|pair| {
        (matches!(pair.name(), "step" | "s" | "step_avg" | "train_time") && !lower.starts_with("final"))
            || pair.key.contains('/') && pair.name() == "val_loss" && pair.key.starts_with(|c: char| c.is_ascii_digit())
    })
}

/// The loss that belongs to a value: under the same label, else the nearest before it, else the first behind it.
pub(super) fn loss_beside(bpb: &Pair, losses: &[&Pair]) -> Option<f64> {
    let place = |pair: &Pair| pair.value.as_ptr() as usize;
    let prefix = |pair: &Pair| pair.key[..pair.key.len().saturating_sub(pair.name().len())].to_string();
    let labeled = losses.iter().find(|loss| !prefix(loss).is_empty() && prefix(loss) == prefix(bpb));
    let before = losses.iter().rev().find(|loss| place(loss) < place(bpb));
    labeled.or(before).or(losses.first()).and_then(|loss| loss.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_decide_what_a_value_is() {
        for (line, key, is_step, expected) in [
            ("final val_bpb", "final val_bpb", false, Some(MetricKind::Final)),
            ("final val_bpb", "final val_bpb", true, Some(MetricKind::Step)),
            ("ttt_chunk bpb", "bpb", false, Some(MetricKind::Progress)),
            ("pre-quant val_bpb", "pre-quant val_bpb", false, Some(MetricKind::PreQuant)),
            // Running values of an early model are running values.
            ("pre-quant chunk bpb", "bpb", false, Some(MetricKind::Progress)),
            // A difference is no value, wherever it stands; the word must be in the key.
            ("quant_gap bpb", "quant_gap bpb", true, None),
            ("quant_gap and val_bpb", "val_bpb", false, Some(MetricKind::Final)),
            ("diffusion_pll_bpb", "diffusion_pll_bpb", false, Some(MetricKind::Final)),
        ] {
            assert_eq!(kind(line, is_step, key), expected, "{line}");
        }
    }
}
