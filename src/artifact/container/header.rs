//! The fixed header and the checksum.

use super::Defect;
use super::checksum::{CHECKSUM_BYTES, cut};
use super::cursor::Cursor;
use super::layout::Layout;
use crate::quant::{Codec, limits};

/// First bytes of every artifact.
/// Whether bytes begin as an artifact of this format does.
pub fn is_golf(head: &[u8]) -> bool {
    head.starts_with(&MAGIC)
}

pub(super) const MAGIC: [u8; 8] = *b"\x89GOLF\r\n\x1a";
/// Version this crate writes, and the only one it reads.
pub(super) const VERSION: u8 = 2;
/// Bytes of the header, checksum included.
pub(super) const HEADER_BYTES: usize = CHECKSUM_OFFSET + CHECKSUM_BYTES;
/// Where the checksum lies.
pub(super) const CHECKSUM_OFFSET: usize = 20;

/// The header's fields, checksum aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub codec: Codec,
    pub layout: Layout,
    pub level: u8,
    pub table_stored: u32,
    pub table_bytes: u32,
}

impl Header {
    /// The bytes before the checksum.
    pub fn encode(&self) -> [u8; CHECKSUM_OFFSET] {
        let mut bytes = [0; CHECKSUM_OFFSET];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&[VERSION, self.codec.code(), self.layout.code(), self.level]);
        bytes[12..16].copy_from_slice(&self.table_stored.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.table_bytes.to_le_bytes());
        bytes
    }

    /// Reads the header of `file` and checks the checksum over all of it.
    pub fn decode(file: &[u8]) -> Result<Self, Defect> {
        let mut cursor = Cursor::of_file(file);
        let magic: [u8; 8] = cursor.array("the magic")?;
        if magic != MAGIC {
            return Err(Defect::at(0, format!("not a golf-harness artifact: starts with {}", hex(&magic))));
        }
        let version = cursor.u8("the version")?;
        if version != VERSION {
            return Err(Defect::at(8, format!("format version {version}; this program reads version {VERSION}")));
        }
        let [codec, layout, level]: [u8; 3] = cursor.array("codec, layout and level")?;
        let table_stored = cursor.u32("the table's stored size")?;
        let table_bytes = cursor.u32("the table's size")?;
        let checksum: [u8; CHECKSUM_BYTES] = cursor.array("the checksum")?;
        let expected = checksum_of(file);
        if checksum != expected {
            let what =
                format!("the checksum is {}, the content gives {}: damaged or cut", hex(&checksum), hex(&expected));
            return Err(Defect::at(CHECKSUM_OFFSET as u64, what));
        }
        let codec = Codec::from_code(codec).ok_or_else(|| Defect::at(9, format!("unknown codec {codec}")))?;
        let layout = Layout::from_code(layout).ok_or_else(|| Defect::at(10, format!("unknown layout {layout}")))?;
        if table_bytes > limits::MAX_TABLE_BYTES {
            let what = format!("a table of {table_bytes} bytes; at most {} are allowed", limits::MAX_TABLE_BYTES);
            return Err(Defect::at(16, what));
        }
        Ok(Header { codec, layout, level, table_stored, table_bytes })
    }
}

/// The checksum over a whole file: everything but the checksum itself.
pub(super) fn checksum_of(file: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(file.get(..CHECKSUM_OFFSET).unwrap_or(file));
    hasher.update(file.get(HEADER_BYTES..).unwrap_or(&[]));
    cut(hasher.finalize())
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
