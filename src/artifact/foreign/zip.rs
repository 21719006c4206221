//! Members of a zip file in memory, bounded.

use std::io::{Cursor, Read};
use std::ops::Range;

/// Most members looked at.
const MAX_MEMBERS: usize = 1 << 16;

/// Where the content of a member lies in the file.
pub(in crate::artifact) struct Extent {
    /// Its name.
    pub name: String,
    /// Bytes of the file that hold it, compressed or not.
    pub range: Range<usize>,
    /// Whether it is compressed within the zip.
    pub is_compressed: bool,
}

/// An opened zip file.
pub(in crate::artifact) struct Zip<'a> {
    archive: ::zip::ZipArchive<Cursor<&'a [u8]>>,
    /// Bytes that all members may hold together when decompressed.
    max: u64,
    left: u64,
}

impl<'a> Zip<'a> {
    /// Reads the directory. The members may expand to `max` bytes together.
    pub fn open(bytes: &'a [u8], max: u64) -> Result<Self, String> {
        let archive = ::zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| format!("broken zip directory: {e}"))?;
        if archive.len() > MAX_MEMBERS {
            return Err(format!("{} members; at most {MAX_MEMBERS} are read", archive.len()));
        }
        Ok(Zip { archive, max, left: max })
    }

    /// Names of all members, in directory order.
    pub fn names(&self) -> Vec<String> {
        (0..self.archive.len()).filter_map(|i| self.archive.name_for_index(i)?.ok().map(String::from)).collect()
    }

    /// The content of a member, checked against its CRC.
    pub fn member(&mut self, name: &str) -> Result<Vec<u8>, String> {
        let member = self.archive.by_name(name).map_err(|e| format!("member `{name}`: {e}"))?;
        let mut content = Vec::new();
        let read = member.take(self.left + 1).read_to_end(&mut content).map_err(|e| format!("member `{name}`: {e}"))?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| format!("members hold more than {} bytes together", self.max))?;
        Ok(content)
    }
}

/// Where every member lies, in the order of the file. Members that overlap, as in some zip bombs, are an error.
pub(in crate::artifact) fn extents(bytes: &[u8]) -> Result<Vec<Extent>, String> {
    let mut archive = Zip::open(bytes, 0)?.archive;
    let mut extents = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(|e| format!("member {index}: {e}"))?;
        let name = member.name().map_err(|e| format!("member {index}: {e}"))?.to_string();
        let start = member.data_start().and_then(|start| usize::try_from(start).ok());
        let length = usize::try_from(member.compressed_size()).ok();
        let range = start.zip(length).and_then(|(start, length)| Some(start..start.checked_add(length)?));
        let range = range.filter(|range| range.end <= bytes.len());
        let range = range.ok_or_else(|| format!("member `{name}` reaches past the end of the file"))?;
        let is_compressed = member.compression() != ::zip::CompressionMethod::Stored;
        extents.push(Extent { name, range, is_compressed });
    }
    extents.sort_by_key(|extent| (extent.range.start, extent.range.end));
    match extents.windows(2).find(|pair| pair[0].range.end > pair[1].range.start) {
        Some(pair) => Err(format!("members `{}` and `{}` overlap", pair[0].name, pair[1].name)),
        None => Ok(extents),
    }
}

/// Whether the members are NumPy arrays.
pub(super) fn holds_arrays(bytes: &[u8]) -> bool {
    Zip::open(bytes, 0).is_ok_and(|zip| {
        let names = zip.names();
        !names.is_empty() && names.iter().all(|name| name.ends_with(".npy"))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn members_share_one_limit() {
        let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
        let deflated =
            ::zip::write::SimpleFileOptions::default().compression_method(::zip::CompressionMethod::Deflated);
        for name in ["a", "b"] {
            writer.start_file(name, deflated).unwrap();
            writer.write_all(&[0; 100_000]).unwrap();
        }
        let bomb = writer.finish().unwrap().into_inner();
        assert!(bomb.len() < 1000);
        let mut zip = Zip::open(&bomb, 150_000).unwrap();
        assert_eq!(zip.member("a").unwrap().len(), 100_000);
        assert!(zip.member("b").unwrap_err().contains("more than"));
    }
}
