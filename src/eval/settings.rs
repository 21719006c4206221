//! Everything that decides a score, so that two scores can be told apart.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PlanError, TailRule, WindowPlan, Windowing};
use crate::data::Tokenizer;
use crate::digest::{ContentDigest, Digest};
use crate::is_default::is_default;
use crate::manifest::{FrozenParts, Tail, TttConfig};
use crate::model::ModelConfig;
use crate::units::group_digits;

/// Which form of a model's weights is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// Decoded from the artifact: the model that counts.
    Packed,
    /// As trained, before quantization.
    Checkpoint,
}

impl std::fmt::Display for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Weights::Packed => "packed",
            Weights::Checkpoint => "checkpoint",
        })
    }
}

/// What a file is to an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputRole {
    /// A validation shard.
    Shard,
    /// Counts of bytes of a validation shard's tokens.
    Sidecar,
    /// The SentencePiece model.
    Tokenizer,
    /// The packed weights.
    Artifact,
    /// The unpacked weights.
    Checkpoint,
}

impl std::fmt::Display for InputRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            InputRole::Shard => "shard",
            InputRole::Sidecar => "sidecar",
            InputRole::Tokenizer => "tokenizer",
            InputRole::Artifact => "artifact",
            InputRole::Checkpoint => "checkpoint",
        })
    }
}

/// A file that went into a score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What it is.
    pub role: InputRole,
    /// Where it was on the machine that read it.
    pub path: PathBuf,
    /// Its content.
    #[serde(rename = "content")]
    pub digest: ContentDigest,
}

/// Only the beginning of the split was scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subset {
    /// Tokens used, from the start of the split.
    pub first_tokens: u64,
    /// Tokens in the split.
    pub of: u64,
}

/// What a score depends on. Equal settings give equal bits, on the same kind of processor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoreSettings {
    /// Version of this crate.
    pub harness: String,
    /// Operating system and architecture.
    pub platform: String,
    /// Engine that ran the windows.
    pub engine: String,
    /// Identity of the manifest, as the file has it; of a reproduction that of its recipe, overrides applied.
    pub manifest: Digest,
    /// The network, after flags and environment.
    pub model: ModelConfig,
    /// Predictions in a full window.
    pub seq_len: u64,
    /// Distance between sliding windows.
    pub stride: u64,
    /// What sliding windows score that the end of the text cuts short.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tail: Tail,
    /// Whether the split was read as far as it fills whole windows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub whole_windows: bool,
    /// How the weights learned from what was scored, where they did.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ttt: Option<TttConfig>,
    /// Tokens used.
    pub tokens: u64,
    /// Set where that is not the whole split.
    pub subset: Option<Subset>,
    /// Every file read.
    pub inputs: Vec<Input>,
    /// Set where the byte table does not count the bytes of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miscount: Option<Miscount>,
    /// Set where byte sidecars count in place of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte_sidecar: Option<SidecarCount>,
}

/// What byte sidecars count, and what there is to hold it against. The counts come with the data: nothing here shows
/// which text they are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SidecarCount {
    /// Bytes of all targets used, by the sidecars.
    pub counted_bytes: u64,
    /// Bytes that these tokens decode to by the tokenizer, operators of a transformed text among them.
    pub decoded_bytes: u64,
    /// Bytes of the whole split, by the sidecars.
    pub split_bytes: u64,
    /// Bytes of the original text as the manifest states them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stated_bytes: Option<u64>,
}

/// Bytes of the challenge's validation text, in whatever tokens: FineWeb's first 50,000 documents (PR #1916).
const CHALLENGE_TEXT_BYTES: u64 = 151_078_222;

impl std::fmt::Display for SidecarCount {
    /// What reports say of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let SidecarCount { counted_bytes, decoded_bytes, split_bytes, stated_bytes } = *self;
        let [counted, decoded, split] = [counted_bytes, decoded_bytes, split_bytes].map(|n| group_digits(n.into()));
        write!(
            f,
            "BYTE SIDECAR: {counted} bytes are counted by files that come with the tokens, {decoded} are what the tokens \
             decode to"
        )?;
        if counted_bytes > decoded_bytes {
            write!(f, "; MORE than the tokens have, which lowers val_bpb")?;
        }
        match (split_bytes == CHALLENGE_TEXT_BYTES, stated_bytes) {
            (true, _) => write!(f, "; the split comes to {split}, as long as the challenge's validation text"),
            (false, Some(_)) => {
                write!(f, "; the split comes to {split}, as the manifest states, and nothing else confirms")
            }
            (false, None) => {
                write!(f, "; the split comes to {split}, which nothing confirms (data.byte_sidecar.text_bytes)")
            }
        }
    }
}

/// What the table of bytes per token counts, and how long the decoded text is: of all targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Miscount {
    /// By the table, which is the challenge's.
    pub table_bytes: u64,
    /// Of the text, every U+2581 one space.
    pub text_bytes: u64,
}

impl Miscount {
    /// Compares; `None` where both agree.
    pub fn of(tokens: &[u16], tokenizer: &Tokenizer) -> Option<Self> {
        let table_bytes = tokenizer.byte_table().bytes_of_targets(tokens);
        let text_bytes = tokenizer.text_bytes_of_targets(tokens);
        (table_bytes != text_bytes).then_some(Miscount { table_bytes, text_bytes })
    }

    /// What bits per byte are to be multiplied with to be those of the text.
    pub fn factor(&self) -> f64 {
        self.table_bytes as f64 / self.text_bytes.max(1) as f64
    }
}

impl ScoreSettings {
    /// The windows of one kind.
    pub fn plan(&self, windowing: Windowing) -> Result<WindowPlan, PlanError> {
        let plan = WindowPlan::new(windowing, self.tokens, self.seq_len, self.stride)?;
        Ok(plan.with_tail(TailRule::of(self.tail, self.ttt.is_some())))
    }

    /// A line on the end of the text, where it counts several times or is not read.
    pub(super) fn end_of_text(&self) -> Option<String> {
        let mut said = Vec::new();
        if self.whole_windows {
            said.push("the split is read as far as it fills whole windows".to_string());
        }
        if let (Tail::AsScript, Ok(plan)) = (self.tail, self.plan(Windowing::Sliding)) {
            let [stride, scored, predictions] =
                [plan.stride(), plan.scored(), plan.predictions()].map(|n| group_digits(n.into()));
            said.push(format!(
                "sliding windows that the end of the text cuts short score their last {stride} targets again, as the \
                 script does: {scored} are summed, with their bytes, where the text has {predictions}"
            ));
        }
        (!said.is_empty()).then(|| format!("END OF THE TEXT: {}", said.join("; ")))
    }

    /// A line on how the weights learned, where they did.
    pub(super) fn learning(&self) -> Option<String> {
        let ttt = self.ttt.as_ref()?;
        let TttConfig { learning_rate, momentum, epochs, clip, freeze_blocks, frozen, .. } = ttt;
        let [chunk, sequences] = [ttt.chunk_tokens, ttt.sequences_per_step].map(|n| group_digits(n.into()));
        let still = match (freeze_blocks, frozen) {
            (0, _) => String::new(),
            (_, FrozenParts::All) => format!("; the first {freeze_blocks} blocks stay as they are"),
            (_, FrozenParts::Vectors) => format!("; scales, mixes and gains of the first {freeze_blocks} blocks stay"),
        };
        Some(format!(
            "TEST-TIME TRAINING in sliding windows: each chunk of {chunk} tokens is scored first and learned from \
             afterwards, by SGD at {learning_rate} falling to 0, momentum {momentum}, {epochs} epochs, {sequences} \
             sequences a step, gradients clipped to {clip}{still}"
        ))
    }

    /// The first respect in which two scores do not have the same basis, with both values; paths do not count.
    pub fn difference(&self, other: &ScoreSettings) -> Option<(&'static str, String, String)> {
        let contents = |basis: &ScoreSettings, role| -> Vec<String> {
            let of_role = basis.inputs.iter().filter(|input| input.role == role);
            of_role.map(|input| input.digest.sha256.to_string()).collect()
        };
        let pairs = [
            ("harness version", self.harness.clone(), other.harness.clone()),
            ("platform", self.platform.clone(), other.platform.clone()),
            ("engine", self.engine.clone(), other.engine.clone()),
            ("manifest", self.manifest.to_string(), other.manifest.to_string()),
            ("model", format!("{:?}", self.model), format!("{:?}", other.model)),
            ("window length", self.seq_len.to_string(), other.seq_len.to_string()),
            ("stride", self.stride.to_string(), other.stride.to_string()),
            ("tail", self.tail.to_string(), other.tail.to_string()),
            ("whole windows", self.whole_windows.to_string(), other.whole_windows.to_string()),
            ("test-time training", format!("{:?}", self.ttt), format!("{:?}", other.ttt)),
            ("number of tokens", self.tokens.to_string(), other.tokens.to_string()),
            ("subset", format!("{:?}", self.subset), format!("{:?}", other.subset)),
        ];
        let roles = [
            (InputRole::Shard, "validation shards"),
            (InputRole::Sidecar, "byte sidecars"),
            (InputRole::Tokenizer, "tokenizer"),
            (InputRole::Artifact, "artifact"),
            (InputRole::Checkpoint, "checkpoint"),
        ];
        let files = roles.map(|(role, what)| (what, contents(self, role).join(" "), contents(other, role).join(" ")));
        pairs.into_iter().chain(files).find(|(_, a, b)| a != b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_is_told_with_what_confirms_it() {
        let said = |counted, decoded, split, stated| {
            SidecarCount { counted_bytes: counted, decoded_bytes: decoded, split_bytes: split, stated_bytes: stated }
                .to_string()
        };
        insta::assert_snapshot!(
            [
                said(900, 1000, CHALLENGE_TEXT_BYTES, None),
                said(900, 1000, 905, Some(905)),
                said(1100, 1000, 1105, None),
            ]
            .join("\n"),
            @r"
            BYTE SIDECAR: 900 bytes are counted by files that come with the tokens, 1,000 are what the tokens decode to; the split comes to 151,078,222, as long as the challenge's validation text
            BYTE SIDECAR: 900 bytes are counted by files that come with the tokens, 1,000 are what the tokens decode to; the split comes to 905, as the manifest states, and nothing else confirms
            BYTE SIDECAR: 1,100 bytes are counted by files that come with the tokens, 1,000 are what the tokens decode to; MORE than the tokens have, which lowers val_bpb; the split comes to 1,105, which nothing confirms (data.byte_sidecar.text_bytes)
            "
        );
    }
}
