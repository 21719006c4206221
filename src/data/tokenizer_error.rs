//! What can be wrong with a tokenizer.

use std::path::PathBuf;

use super::charsmap::CharsmapFault;
use super::sentencepiece_proto::{MAX_MODEL_BYTES, MAX_PIECES};

/// Why a tokenizer could not be used.
#[derive(Debug, thiserror::Error)]
#[error("tokenizer {}: {fault}", path.display())]
pub struct TokenizerError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: TokenizerFault,
}

/// What can be wrong with a tokenizer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerFault {
    /// The system refused.
    #[error("cannot be read: {0}; check --tokenizer-path, TOKENIZER_PATH or data.tokenizer.path")]
    Read(std::io::Error),
    /// Larger than any tokenizer.
    #[error("larger than {MAX_MODEL_BYTES} bytes: not a SentencePiece model")]
    TooLarge,
    /// Not a protobuf message, or not this one.
    #[error("not a SentencePiece model ({0}); expected the `.model` file that spm_train writes")]
    Format(String),
    /// No pieces, or more than a u16 counts.
    #[error("{found} pieces, expected 1..={MAX_PIECES}: token ids are 16-bit")]
    PieceCount {
        /// Pieces in the file.
        found: usize,
    },
    /// A piece that cannot be.
    #[error("piece {id}: {problem}; the model is damaged")]
    Piece {
        /// Its id.
        id: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// No piece stands for what the vocabulary cannot say.
    #[error("{found} pieces of kind `unknown`, expected exactly 1")]
    Unknown {
        /// How many there are.
        found: usize,
    },
    /// The normalizer's character map is damaged.
    #[error("normalizer: {0}")]
    Charsmap(#[from] CharsmapFault),
    /// Another vocabulary size than the model's.
    #[error(
        "{found} pieces, but the model has a vocabulary of {vocab_size}; set model.vocab_size or use its own tokenizer"
    )]
    VocabularySize {
        /// Pieces in the tokenizer.
        found: usize,
        /// Size asked for.
        vocab_size: u32,
    },
}
