//! Members of a zip file in memory, bounded.

use std::io::{Cursor, Read};

/// Most members looked at.
const MAX_MEMBERS: usize = 1 << 16;

/// An opened zip file.
pub(super) struct Zip<'a> {
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
