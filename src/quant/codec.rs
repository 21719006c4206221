//! How an artifact's streams are compressed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Compression of the streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// zstd frames: the challenge's usual format.
    #[default]
    Zstd,
    /// Range-coded with adaptive models, rows of one magnitude bucket sharing one; zstd for the streams where it is smaller.
    Ans,
}

impl Codec {
    /// The byte that stands for the codec in an artifact.
    pub(crate) fn code(self) -> u8 {
        match self {
            Codec::Zstd => 1,
            Codec::Ans => 2,
        }
    }

    /// The codec a byte of an artifact stands for.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Codec::Zstd, Codec::Ans].into_iter().find(|codec| codec.code() == code)
    }
}
