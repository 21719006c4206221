//! Token shards, the tokenizer and the training loader.
//!
//! [`Dataset`] finds the files a manifest names, [`Loader`] cuts training batches off the shards
//! as the challenge does, [`ByteTable`] says how many bytes of text each token stands for.

mod batch;
mod byte_table;
mod dataset;
mod file_pattern;
mod geometry;
mod loader;
mod shard;

pub use batch::TokenBatch;
pub use byte_table::{ByteTable, TokenBytes};
pub use dataset::{DataFile, DataGap, DataRole, Dataset, DigestCheck, IncompleteData, Inspection, Wanted};
pub use geometry::{BatchGeometry, GeometryError};
pub use loader::{Loader, LoaderError, LoaderPosition};
pub use shard::{
    MAX_SHARD_TOKENS, SHARD_HEADER_BYTES, SHARD_MAGIC, SHARD_VERSION, Shard, ShardError, ShardFault, WriteShardError,
    check_vocabulary, decode_shard, write_shard,
};
