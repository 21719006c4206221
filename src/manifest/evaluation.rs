//! The recipe's evaluation: windows, what the end of the text does to them, and training on what was scored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::is_default::is_default;

/// How validation is scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Window length.
    pub seq_len: u64,
    /// Step between window starts, in [1, seq_len].
    pub stride: u64,
    /// Windows given to the engine at a time; never changes a number.
    pub batch_windows: u64,
    /// What sliding windows score that the end of the text cuts short; `once` is the default.
    #[serde(skip_serializing_if = "is_default")]
    pub tail: Tail,
    /// Whether the split is read only as far as it fills whole windows side by side, as most scripts read it: of N tokens
    /// the first `floor((N - 1) / seq_len) seq_len + 1`.
    #[serde(skip_serializing_if = "is_default")]
    pub whole_windows: bool,
    /// Score-first test-time training: with it, sliding windows are scored chunk by chunk, and the weights learn from each
    /// chunk once it is scored.
    #[serde(skip_serializing_if = "is_default")]
    pub ttt: Option<TttConfig>,
}

impl Default for EvalConfig {
    fn default() -> Self {
        EvalConfig { seq_len: 2_048, stride: 64, batch_windows: 32, tail: Tail::Once, whole_windows: false, ttt: None }
    }
}

impl EvalConfig {
    /// What decides the numbers, as JSON: all but how many windows run at a time, and no setting that rests.
    pub fn deciding(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_else(|_| json!({}));
        if let Value::Object(fields) = &mut value {
            fields.shift_remove("batch_windows");
        }
        value
    }

    /// Whether windows of that length and stride are all that there is to say.
    pub fn rests(&self) -> bool {
        let EvalConfig { seq_len, stride, batch_windows, .. } = *self;
        *self == EvalConfig { seq_len, stride, batch_windows, ..EvalConfig::default() }
    }

    /// The tokens of a split of so many that are read.
    pub fn tokens_read(&self, tokens: u64) -> u64 {
        match self.whole_windows {
            true if tokens > 0 => (tokens - 1) / self.seq_len.max(1) * self.seq_len + 1,
            _ => tokens,
        }
    }
}

/// What sliding windows score that the end of the text cuts short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tail {
    /// The targets that no window before them scored: each target counts once.
    #[default]
    Once,
    /// The last `stride` of their own, however often those were scored before, as many scripts do (287 to 1019): sums
    /// and bytes hold the end of the text several times.
    AsScript,
}

impl std::fmt::Display for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Tail::Once => "once",
            Tail::AsScript => "as-script",
        })
    }
}

/// Score-first test-time training, in the legal form: a chunk of the text is scored first, by the weights as they are then,
/// and learned from afterwards. Defaults are those of 1413.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TttConfig {
    /// Targets in a chunk.
    pub chunk_tokens: u64,
    /// Learning rate of the first chunk; it falls to zero along half a cosine over the chunks.
    pub learning_rate: f64,
    /// Times that each chunk is gone through.
    pub epochs: u64,
    /// Momentum of SGD, kept from chunk to chunk.
    pub momentum: f64,
    /// Sequences of a step, each as long as a window.
    pub sequences_per_step: u64,
    /// L2 norm to which the gradients of what learns are clipped together; 0 turns clipping off.
    pub clip: f64,
    /// The first so many blocks do not learn.
    pub freeze_blocks: u64,
    /// What of those blocks does not learn; `all` is the default.
    #[serde(skip_serializing_if = "is_default")]
    pub frozen: FrozenParts,
}

impl Default for TttConfig {
    fn default() -> Self {
        TttConfig {
            chunk_tokens: 32_768,
            learning_rate: 0.005,
            epochs: 3,
            momentum: 0.9,
            sequences_per_step: 32,
            clip: 1.0,
            freeze_blocks: 0,
            frozen: FrozenParts::All,
        }
    }
}

/// What of a frozen block does not learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FrozenParts {
    /// Everything.
    #[default]
    All,
    /// Scales, mixes and gains; its matrices learn. So it is where a script freezes by the names of its tensors and keeps
    /// matrices of all blocks in stacks (549).
    Vectors,
}

/// First impossible value as (dotted field, message).
pub(super) fn check_eval(eval: &EvalConfig) -> Result<(), (String, String)> {
    let fail = |field: &str, message: String| Err((format!("eval.{field}"), message));
    if eval.seq_len == 0 || eval.seq_len > MAX_SEQ_LEN {
        return fail("seq_len", format!("{} is outside 1..={MAX_SEQ_LEN}", eval.seq_len));
    }
    if eval.stride == 0 || eval.stride > eval.seq_len {
        return fail("stride", format!("{} is outside 1..=eval.seq_len ({})", eval.stride, eval.seq_len));
    }
    if eval.batch_windows == 0 {
        return fail("batch_windows", "must be at least 1".into());
    }
    let Some(ttt) = &eval.ttt else { return Ok(()) };
    if ttt.chunk_tokens < eval.seq_len || ttt.chunk_tokens > MAX_CHUNK_TOKENS {
        let message = format!(
            "{} is outside eval.seq_len ({})..={MAX_CHUNK_TOKENS}: a chunk holds whole sequences of a window's length",
            ttt.chunk_tokens, eval.seq_len
        );
        return fail("ttt.chunk_tokens", message);
    }
    for (field, value, least, most) in [
        ("ttt.epochs", ttt.epochs, 0, 1000),
        ("ttt.sequences_per_step", ttt.sequences_per_step, 1, 65_536),
        ("ttt.freeze_blocks", ttt.freeze_blocks, 0, 1024),
    ] {
        if !(least..=most).contains(&value) {
            return fail(field, format!("{value} is outside {least}..={most}"));
        }
    }
    for (field, value, most) in [
        ("ttt.learning_rate", ttt.learning_rate, 1e6),
        ("ttt.momentum", ttt.momentum, 1.0),
        ("ttt.clip", ttt.clip, 1e6),
    ] {
        if !(0.0..=most).contains(&value) {
            return fail(field, format!("{value} is outside 0..={most}"));
        }
    }
    Ok(())
}

/// Longest window accepted: 32 times the challenge's, and still small next to memory.
pub(super) const MAX_SEQ_LEN: u64 = 65_536;
/// Longest chunk accepted: the challenge's whole split, and more.
const MAX_CHUNK_TOKENS: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{canonical_yaml, parse};
    use super::*;

    const HEAD: &str = "schema: golf-harness/manifest/v1\nname: t\neval:\n";

    #[test]
    fn what_rests_is_not_written() {
        let manifest = parse(HEAD.trim_end_matches("eval:\n"), Path::new("m.yaml")).unwrap();
        let text = canonical_yaml(&manifest);
        assert!(["tail", "whole_windows", "ttt"].iter().all(|field| !text.contains(field)), "{text}");
        let rest = json!({"seq_len": 2048, "stride": 64});
        assert_eq!(manifest.eval.deciding(), rest);
        let stated = parse(&format!("{HEAD}  tail: as-script\n  whole_windows: true\n  ttt: {{}}\n"), Path::new("m"));
        let stated = stated.unwrap();
        assert_eq!(stated.eval.ttt, Some(TttConfig::default()));
        assert_eq!(parse(&canonical_yaml(&stated), Path::new("m")).unwrap(), stated);
        assert_eq!(stated.eval.deciding()["ttt"]["chunk_tokens"], 32_768);
    }

    #[test]
    fn whole_windows_are_read_with_the_target_of_the_last() {
        let eval = EvalConfig { whole_windows: true, ..EvalConfig::default() };
        // The challenge's split: 62,021,846 tokens, of which scripts report 62,021,632 predictions.
        assert_eq!(eval.tokens_read(62_021_846), 62_021_633);
        assert_eq!([0, 1, 2048, 2049, 2050].map(|tokens| eval.tokens_read(tokens)), [0, 1, 1, 2049, 2049]);
        assert_eq!(EvalConfig::default().tokens_read(62_021_846), 62_021_846);
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (field, expected) in [
            ("  tail: twice", "unknown variant `twice`, expected `once` or `as-script`"),
            ("  ttt: { chunk_tokens: 100 }", "eval.ttt.chunk_tokens: 100 is outside eval.seq_len (2048)"),
            ("  ttt: { sequences_per_step: 0 }", "eval.ttt.sequences_per_step: 0 is outside 1..=65536"),
            ("  ttt: { learning_rate: .nan }", "eval.ttt.learning_rate: NaN is outside 0..="),
            ("  ttt: { momentum: 1.5 }", "eval.ttt.momentum: 1.5 is outside 0..=1"),
            ("  ttt: { epoch: 1 }", "did you mean `epochs`?"),
        ] {
            let error = parse(&format!("{HEAD}{field}\n"), Path::new("m.yaml")).unwrap_err().to_string();
            assert!(error.contains(expected), "{field}: {error}");
        }
    }
}
