//! Zip files in memory, read strictly: what two readers could take differently is refused.
//!
//! PyTorch, Python's zipfile and NumPy each find a member in their own way: through the end record nearest the end or
//! through a 64-bit one, by the first or the last of equal names, ignoring case or not, believing the directory or the
//! header in front of the data. This reader takes only files in which all of these come to the same bytes. There is one
//! end record, at the end; the directory ends where it begins; names differ even without case; every header repeats
//! what the directory says; members do not overlap; every checksum is right.

mod directory;
#[cfg(test)]
pub(super) mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;

use super::allowance::Allowance;
use super::wrapper::{Wrapper, expand};

/// Most members looked at.
const MAX_MEMBERS: usize = 1 << 16;

/// How a zip file starts that holds anything.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";

pub(in crate::artifact) use directory::bytes_before;

/// Why a zip file is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::artifact) enum Fault {
    /// Readers would differ about what is in it.
    Ambiguous(String),
    /// No reader would get through it, or this one does not know how.
    Damaged(String),
    /// It expands to more than is allowed.
    TooLarge,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Ambiguous(what) | Fault::Damaged(what) => f.write_str(what),
            Fault::TooLarge => f.write_str("its members expand too far"),
        }
    }
}

/// One member, as directory and header agree it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::artifact) struct Member {
    /// Its name.
    pub name: String,
    /// Bytes of the file that hold its content, compressed or not.
    pub range: Range<usize>,
    /// How it is compressed within the zip.
    method: u16,
    /// Size of its content.
    pub size: u64,
    /// CRC-32 of its content.
    crc: u32,
}

/// Where a part of a container lies.
pub(in crate::artifact) struct Extent {
    /// Its name.
    pub name: String,
    /// Bytes of the container that hold it, compressed or not.
    pub range: Range<usize>,
    /// Whether it is compressed within.
    pub is_compressed: bool,
}

/// An opened zip file.
pub(in crate::artifact) struct Zip<'a> {
    bytes: &'a [u8],
    /// In the order of the directory.
    members: Vec<Member>,
    /// Indices by name.
    by_name: BTreeMap<String, usize>,
    /// Bytes that belong to no member, header or directory.
    pub unclaimed: u64,
}

impl<'a> Zip<'a> {
    /// Reads the directory and the header of every member.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (members, unclaimed) = directory::read(bytes)?;
        let by_name = members.iter().enumerate().map(|(i, member)| (member.name.clone(), i)).collect();
        Ok(Zip { bytes, members, by_name, unclaimed })
    }

    /// All members, in directory order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Where every member lies, in the order of the file.
    pub fn extents(&self) -> Vec<Extent> {
        let extent = |member: &Member| Extent {
            name: member.name.clone(),
            range: member.range.clone(),
            is_compressed: member.method != directory::STORED,
        };
        let mut extents: Vec<Extent> = self.members.iter().map(extent).collect();
        extents.sort_by_key(|extent| (extent.range.start, extent.range.end));
        extents
    }

    /// A member by its exact name.
    pub fn find(&self, name: &str) -> Option<&Member> {
        self.by_name.get(name).and_then(|&i| self.members.get(i))
    }

    /// The content of a member, checked against its CRC. Stored content is not copied; other content is taken off the
    /// allowance.
    pub fn content(&self, member: &Member, allowance: &Allowance) -> Result<Cow<'a, [u8]>, Fault> {
        let Member { name, range, method, size, crc } = member;
        let held = self.bytes.get(range.clone()).unwrap_or(&[]);
        let content = if *method == directory::STORED {
            Cow::Borrowed(held)
        } else {
            if *size > allowance.left() {
                return Err(Fault::TooLarge);
            }
            let content = inflate(held, *method, *size).map_err(|what| match what {
                // Some stop at the first error and use what came before.
                Some(what) => Fault::Ambiguous(format!("member `{name}` does not decompress: {what}")),
                None => Fault::Damaged(format!("member `{name}` is compressed in a way that is not read ({method})")),
            })?;
            allowance.take(content.len()).map_err(|_| Fault::TooLarge)?;
            Cow::Owned(content)
        };
        if content.len() as u64 != *size {
            return Err(Fault::Ambiguous(format!("member `{name}` is longer or shorter than the directory says")));
        }
        let mut sum = flate2::Crc::new();
        sum.update(&content);
        if sum.sum() != *crc {
            return Err(Fault::Ambiguous(format!(
                "member `{name}` has another checksum than the directory says, which not every reader minds"
            )));
        }
        Ok(content)
    }
}

/// At most one byte more than `size` of decompressed content; `Err(None)` for a method that is not read.
fn inflate(held: &[u8], method: u16, size: u64) -> Result<Vec<u8>, Option<String>> {
    let wrapper = match method {
        8 => {
            let mut content = Vec::new();
            let mut decoder = flate2::read::DeflateDecoder::new(held).take(size.saturating_add(1));
            decoder.read_to_end(&mut content).map_err(|e| Some(e.to_string()))?;
            return Ok(content);
        }
        12 => Wrapper::Bzip2,
        93 => Wrapper::Zstd,
        95 => Wrapper::Xz,
        _ => return Err(None),
    };
    let expanded = expand(held, wrapper, size.saturating_add(1));
    match expanded.error {
        Some(what) => Err(Some(what)),
        None => Ok(expanded.content),
    }
}

/// Most members found by their headers alone.
const MAX_LOOSE: usize = 1 << 12;

/// Name and content of whatever begins as a member does, for archives whose directory says several things. A content
/// may be cut or go on too far: this is for finding what is there, not for reading it.
pub(super) fn loose_members(bytes: &[u8], allowance: &Allowance) -> Vec<(String, Vec<u8>)> {
    let starts: Vec<usize> = (0..bytes.len().saturating_sub(MAGIC.len()))
        .filter(|&at| bytes.get(at..).is_some_and(|rest| rest.starts_with(MAGIC)))
        .take(MAX_LOOSE)
        .collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let member = |(start, end): (usize, usize)| {
        let member = bytes.get(start..end)?;
        let number = |at: usize| member.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
        let (method, name, extra) = (number(8)?, usize::from(number(26)?), usize::from(number(28)?));
        let title = String::from_utf8_lossy(member.get(30..30 + name)?).into_owned();
        let held = member.get(30 + name + extra..)?;
        let content = if method == 8 {
            let mut content = Vec::new();
            // What came before an error counts.
            let _ = flate2::read::DeflateDecoder::new(held).take(allowance.left()).read_to_end(&mut content);
            content
        } else {
            held.to_vec()
        };
        allowance.take(content.len()).ok()?;
        Some((title, content))
    };
    starts.iter().copied().zip(ends).filter_map(member).collect()
}

/// Whether there are NumPy arrays among the members.
pub(super) fn holds_arrays(zip: &Zip<'_>) -> bool {
    zip.members().iter().any(|member| member.name.ends_with(".npy"))
}
