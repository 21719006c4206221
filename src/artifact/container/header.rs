//! The fixed header and the seal.

use super::Trouble;
use super::cursor::Cursor;
use super::layout::Layout;
use super::seal::{SEAL_BYTES, cut};
use crate::quant::{Codec, limits};

/// First bytes of every artifact.
pub(super) const MAGIC: [u8; 8] = *b"\x89GOLF\r\n\x1a";
/// Version this crate writes, and the only one it reads.
pub(super) const VERSION: u8 = 2;
/// Bytes of the header, seal included.
pub(super) const HEADER_BYTES: usize = SEAL_OFFSET + SEAL_BYTES;
/// Where the seal lies.
pub(super) const SEAL_OFFSET: usize = 20;

/// The header's fields, seal aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub codec: Codec,
    pub layout: Layout,
    pub level: u8,
    pub table_stored: u32,
    pub table_bytes: u32,
}

impl Header {
    /// The bytes before the seal.
    pub fn encode(&self) -> [u8; SEAL_OFFSET] {
        let mut bytes = [0; SEAL_OFFSET];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&[VERSION, self.codec.code(), self.layout.code(), self.level]);
        bytes[12..16].copy_from_slice(&self.table_stored.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.table_bytes.to_le_bytes());
        bytes
    }

    /// Reads the header of `file` and checks the seal over all of it.
    pub fn decode(file: &[u8]) -> Result<Self, Trouble> {
        let mut cursor = Cursor::of_file(file);
        let magic: [u8; 8] = cursor.array("the magic")?;
        if magic != MAGIC {
            return Err(Trouble::at(0, format!("not a golf-harness artifact: starts with {}", hex(&magic))));
        }
        let version = cursor.u8("the version")?;
        if version != VERSION {
            return Err(Trouble::at(8, format!("format version {version}; this program reads version {VERSION}")));
        }
        let [codec, layout, level]: [u8; 3] = cursor.array("codec, layout and level")?;
        let table_stored = cursor.u32("the table's stored size")?;
        let table_bytes = cursor.u32("the table's size")?;
        let seal: [u8; SEAL_BYTES] = cursor.array("the seal")?;
        let expected = seal_of(file);
        if seal != expected {
            let what = format!("the seal is {}, the content gives {}: damaged or cut", hex(&seal), hex(&expected));
            return Err(Trouble::at(SEAL_OFFSET as u64, what));
        }
        let codec = Codec::from_code(codec).ok_or_else(|| Trouble::at(9, format!("unknown codec {codec}")))?;
        let layout = Layout::from_code(layout).ok_or_else(|| Trouble::at(10, format!("unknown layout {layout}")))?;
        if table_bytes > limits::MAX_TABLE_BYTES {
            let what = format!("a table of {table_bytes} bytes; at most {} are allowed", limits::MAX_TABLE_BYTES);
            return Err(Trouble::at(16, what));
        }
        Ok(Header { codec, layout, level, table_stored, table_bytes })
    }
}

/// The seal over a whole file: everything but the seal itself.
pub(super) fn seal_of(file: &[u8]) -> [u8; SEAL_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(file.get(..SEAL_OFFSET).unwrap_or(file));
    hasher.update(file.get(HEADER_BYTES..).unwrap_or(&[]));
    cut(hasher.finalize())
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
