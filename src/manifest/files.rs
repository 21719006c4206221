//! Files a manifest refers to: data, tokenizer, code, artifact. Each by path, size and digests.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{ContentDigest, Digest};
use crate::is_default::is_default;
use crate::quant::TensorClass;
use crate::units::Bytes;

/// A file, with what is known about its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// Path; relative ones start at the folder of the manifest.
    pub path: PathBuf,
    /// Size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    /// SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// BLAKE3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Digest>,
}

impl FileRef {
    /// A file with everything known.
    pub fn new(path: impl Into<PathBuf>, digest: ContentDigest) -> Self {
        FileRef {
            path: path.into(),
            bytes: Some(digest.bytes),
            sha256: Some(digest.sha256),
            blake3: Some(digest.blake3),
        }
    }
}

/// What a shard is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ShardRole {
    /// Read by the training loader.
    Train,
    /// Scored.
    Val,
    /// Counts of bytes, one for each token of a scored shard.
    #[serde(rename = "val_bytes")]
    ValBytes,
}

/// One token shard with what is known about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShardRef {
    /// What it is for.
    pub role: ShardRole,
    /// File name inside `data.path`.
    pub file: PathBuf,
    /// Tokens in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    /// SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// BLAKE3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Digest>,
}

/// Files like shards that hold, in the place of each validation token, how many bytes of the original text it stands for
/// (PR #1729 and later: `fineweb_val_bytes_000000.bin`). Whoever makes the tokens makes the counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ByteSidecar {
    /// Shell pattern in `data.path`; one file for each validation shard, in the same order of names.
    pub pattern: String,
    /// Bytes of the original text of the whole split, where they are known: all counts must come to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_bytes: Option<u64>,
}

impl Default for ByteSidecar {
    fn default() -> Self {
        ByteSidecar { pattern: "fineweb_val_bytes_*.bin".into(), text_bytes: None }
    }
}

/// The order in which training reads its shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LoaderOrder {
    /// One stream through all shards in name order (PR #286).
    #[default]
    Sequential,
    /// Windows of `train_seq_len` tokens: each shard's in an order that is drawn, the shard in proportion to what is left.
    Shuffled,
    /// Such windows, each so many after the last one, a number that has no divisor in common with how many there are.
    Coprime,
}

impl std::fmt::Display for LoaderOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            LoaderOrder::Sequential => "sequential",
            LoaderOrder::Shuffled => "shuffled",
            LoaderOrder::Coprime => "coprime",
        })
    }
}

/// Where tokens come from. `DATA_PATH` and `TOKENIZER_PATH` override `path` and `tokenizer.path`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Folder of the shards; relative ones start at the folder of the manifest.
    pub path: PathBuf,
    /// Shell pattern of the training shards (`*` and `?`), read in name order.
    pub train_pattern: String,
    /// In which order training reads them; `sequential`, one stream, is the default.
    #[serde(skip_serializing_if = "is_default")]
    pub loader: LoaderOrder,
    /// Seed of what an order other than `sequential` draws, apart from that of initialization; 0 is the default.
    #[serde(skip_serializing_if = "is_default")]
    pub loader_seed: u64,
    /// Shell pattern of the validation shards.
    pub val_pattern: String,
    /// SentencePiece model that gives each token its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<FileRef>,
    /// Counts of bytes that come with the validation shards, of tokens over transformed text; the tokenizer's table counts
    /// without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte_sidecar: Option<ByteSidecar>,
    /// Known shards; when listed, exactly these files are used and their digests checked.
    pub shards: Vec<ShardRef>,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            path: PathBuf::from("data/datasets/fineweb10B_sp1024"),
            train_pattern: "fineweb_train_*.bin".into(),
            loader: LoaderOrder::Sequential,
            loader_seed: 0,
            val_pattern: "fineweb_val_*.bin".into(),
            tokenizer: Some(FileRef {
                path: PathBuf::from("data/tokenizers/fineweb_1024_bpe.model"),
                bytes: None,
                sha256: None,
                blake3: None,
            }),
            byte_sidecar: None,
            shards: Vec::new(),
        }
    }
}

/// A code file that counts toward the budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeFile {
    /// Path; relative ones start at the folder of the manifest.
    pub path: PathBuf,
    /// Size as shipped.
    pub bytes: Bytes,
    /// SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// BLAKE3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Digest>,
    /// Where it can be had, if the claim is told without its code. Nothing is fetched; a submission brings its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The packed model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRecord {
    /// Path; relative ones start at the folder of the manifest.
    pub path: PathBuf,
    /// Size on disk: what the budget counts.
    pub bytes: Bytes,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// BLAKE3 of the file.
    pub blake3: Digest,
    /// The payload before compression, so that content can be compared across zstd versions.
    pub payload: ContentDigest,
    /// Which zstd made it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zstd: Option<ZstdRecord>,
    /// What GPTQ's Hessians were summed over, where a rule has rounding gptq.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hessians: Option<HessianRecord>,
    /// Every tensor, in state-dict order.
    pub tensors: Vec<TensorRecord>,
}

/// The text that Hessians were summed over: the first sequences of a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HessianRecord {
    /// Name of the shard; empty where the model wrote the text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shard: String,
    /// Size and digests of it, or of the tokens that the model wrote, two bytes each, sequence after sequence.
    pub content: ContentDigest,
    /// How the model wrote the text, where it did.
    #[serde(default, skip_serializing_if = "is_default")]
    pub written: Option<WrittenText>,
    /// Sequences, each a batch of the mean.
    pub sequences: u64,
    /// Tokens of a sequence.
    pub seq_len: u64,
    /// Share of the mean of a Hessian's diagonal that was added to the diagonal.
    pub damping: f64,
    /// Matrices that were rounded to the nearest instead, for want of a Hessian that can be used (`gptq_or_nearest`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
}

/// Text that a model wrote by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenText {
    /// What logits were divided by.
    pub temperature: f64,
    /// Seed of the draws.
    pub seed: u64,
}

/// zstd's bytes depend on its version and level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZstdRecord {
    /// Library version, such as `1.5.7`.
    pub version: String,
    /// Compression level.
    pub level: i32,
}

/// One tensor of the artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TensorRecord {
    /// State-dict name.
    pub name: String,
    /// Shape; empty for a scalar.
    pub shape: Vec<u64>,
    /// How its values are held.
    pub class: TensorClass,
    /// SHA-256 of the decoded values as little-endian f32.
    pub sha256: Digest,
}
