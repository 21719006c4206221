//! The artifact file: a small fixed header, a table of tensors, and compressed streams.
//!
//! ```text
//! offset  bytes
//!      0      8  magic 89 47 4F 4C 46 0D 0A 1A  (a text-mode copy or a 7-bit channel breaks it visibly)
//!      8      1  format version, 2
//!      9      1  codec of the streams: 1 zstd, 2 range-coded with adaptive models, or zstd by stream
//!     10      1  layout of the streams: 2 by class, rows by magnitude
//!     11      1  compression level, for the record
//!     12      4  bytes of the table as stored (little-endian, like all integers)
//!     16      4  bytes of the table decompressed
//!     20     16  checksum: BLAKE3, cut to 128 bits, of bytes 0..20 and 36..end
//!     36      -  the table, one zstd frame
//!      -      -  the streams' frames, back to back, lengths from the table
//! ```
//!
//! The table holds per tensor name, shape, class and a 128-bit digest of the decoded values, and per frame
//! its stream and both lengths. In a range-coded file the highest bit of a frame's stream marks a zstd frame: the
//! writer takes zstd for every stream where it is smaller. A file without marks is range-coded throughout. The checksum
//! finds accidental damage anywhere before anything is decompressed; the tensor digests prove the decoding itself. Every
//! size is checked against [`limits`](crate::quant::limits) and against what the file's own length allows before memory
//! is taken.

mod adaptive;
mod checksum;
mod codec;
#[cfg(test)]
mod codec_tests;
mod cursor;
#[cfg(test)]
mod damage_tests;
mod error;
#[cfg(test)]
mod format_tests;
mod header;
mod layout;
mod read;
mod size_breakdown;
mod stream_kind;
mod table;
mod write;

pub use self::header::is_golf;
pub(super) use codec::zstd_version;
pub use error::{Defect, ReadError};
pub use read::{Artifact, parse, read};
pub(super) use size_breakdown::{SizeBreakdown, Sizes, contexts, size_breakdown};
pub(super) use stream_kind::StreamKind;
pub use write::{EncodeError, Encoded, Part, encode};
pub(super) use write::{bounded, check_bounds, digest_of};
