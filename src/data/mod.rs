//! Token shards, the tokenizer and the training loader.
//!
//! [`Dataset`] finds the files a manifest names, [`Loader`] cuts training batches off the shards
//! as the challenge does, [`Tokenizer`] reads SentencePiece models, [`ByteTable`] says how many
//! bytes of text each token stands for.

mod batch;
mod byte_table;
mod calibration;
mod charsmap;
mod data_file;
mod data_gap;
mod data_role;
mod dataset;
mod decode;
mod documents;
mod encode;
mod entropy;
mod geometry;
mod loader;
mod normalize;
mod numpy;
mod sentencepiece;
mod sentencepiece_proto;
mod shard;
mod target_bytes;
mod tokenize;
mod tokenizer_error;
mod window_order;

pub use batch::TokenBatch;
pub use byte_table::{ByteTable, TokenBytes};
pub use calibration::{Calibration, CalibrationError};
pub use charsmap::{Charsmap, CharsmapFault};
pub use data_file::{DataFile, DigestCheck};
pub use data_gap::{DataGap, IncompleteData};
pub use data_role::DataRole;
pub use dataset::{Dataset, Inspection, Wanted};
pub use documents::{DocumentError, Documents, Separator};
pub use encode::EncodeError;
pub use entropy::{byte_unigram_entropy, token_unigram_entropy, unigram_bounds};
pub use geometry::{BatchGeometry, GeometryError};
pub use loader::{Loader, LoaderError, LoaderPosition};
pub use sentencepiece::{LEADING_MARKER, ModelType, NormalizerSpec, Piece, PieceKind, Tokenizer};
pub use shard::{
    MAX_SHARD_TOKENS, SHARD_HEADER_BYTES, SHARD_MAGIC, SHARD_VERSION, Shard, ShardError, ShardFault, WriteShardError,
    check_vocabulary, decode_shard, write_shard,
};
pub use target_bytes::TargetBytes;
pub use tokenize::{BEGIN_ID, DEFAULT_SHARD_TOKENS, ShardLayout, TokenizeError, TokenizeSummary, tokenize_documents};
pub use tokenizer_error::{TokenizerError, TokenizerFault};
pub use window_order::ReadingOrder;
