//! What data files are for.

use std::fmt;

/// What a data file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataRole {
    /// A training shard.
    Train,
    /// A validation shard.
    Val,
    /// Counts of bytes, one for each token of a validation shard.
    Sidecar,
    /// The SentencePiece model.
    Tokenizer,
}

impl DataRole {
    /// The field of a manifest that finds its files.
    pub fn pattern_field(self) -> &'static str {
        match self {
            DataRole::Train => "data.train_pattern",
            DataRole::Val => "data.val_pattern",
            DataRole::Sidecar => "data.byte_sidecar.pattern",
            DataRole::Tokenizer => "data.tokenizer.path",
        }
    }
}

impl fmt::Display for DataRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DataRole::Train => "training shard",
            DataRole::Val => "validation shard",
            DataRole::Sidecar => "byte sidecar",
            DataRole::Tokenizer => "tokenizer",
        })
    }
}
