//! What data files are for.

use std::fmt;

/// What a data file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataRole {
    /// A training shard.
    Train,
    /// A validation shard.
    Val,
    /// The SentencePiece model.
    Tokenizer,
}

impl fmt::Display for DataRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DataRole::Train => "training shard",
            DataRole::Val => "validation shard",
            DataRole::Tokenizer => "tokenizer",
        })
    }
}
