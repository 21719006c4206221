//! Members of a tar file. Files of PyTorch before 0.1.10 are tar files, and `torch.load` still opens them.
//!
//! Readers differ in which headers they follow, so this one takes more than any of them: a member begins wherever a
//! block of 512 bytes has the checksum of a header.

use std::ops::Range;

/// Headers and contents are aligned to this.
const BLOCK: usize = 512;
/// Most members looked at.
const MAX_MEMBERS: usize = 1 << 16;

/// Name and place of every member, if the first block is a header.
pub(super) fn members(bytes: &[u8]) -> Option<Vec<(String, Range<usize>)>> {
    header(bytes.get(..BLOCK)?)?;
    let blocks = bytes.chunks_exact(BLOCK).enumerate();
    let member = |(i, block): (usize, &[u8])| {
        let (name, size) = header(block)?;
        let start = (i + 1) * BLOCK;
        Some((name, start..start.saturating_add(size).min(bytes.len())))
    };
    Some(blocks.filter_map(member).take(MAX_MEMBERS).collect())
}

/// Name and size of the member behind a header.
fn header(block: &[u8]) -> Option<(String, usize)> {
    let (before, sum, after) = (block.get(..148)?, block.get(148..156)?, block.get(156..BLOCK)?);
    // The checksum counts its own place as spaces. Old programs added signed bytes.
    let unsigned: i64 = before.iter().chain(after).map(|&byte| i64::from(byte)).sum();
    let signed: i64 = before.iter().chain(after).map(|&byte| i64::from(byte as i8)).sum();
    let sum = octal(sum)? - 8 * i64::from(b' ');
    if block.first() == Some(&0) || (sum != unsigned && sum != signed) {
        return None;
    }
    let name = block.get(..100)?;
    let name = name.split(|&byte| byte == 0).next().unwrap_or(name);
    let size = match block.get(124..136)? {
        // GNU's way of writing large sizes: big-endian behind a set bit.
        [0x80, number @ ..] => number.iter().fold(0i64, |size, &byte| size.saturating_mul(256) | i64::from(byte)),
        digits => octal(digits)?,
    };
    Some((String::from_utf8_lossy(name).into_owned(), usize::try_from(size).ok()?))
}

fn octal(field: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(|c| c == '\0' || c == ' ');
    if text.is_empty() { Some(0) } else { i64::from_str_radix(text, 8).ok() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A header and its content, padded.
    pub fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        block[154] = 0;
        block.extend_from_slice(content);
        block.resize(block.len().next_multiple_of(BLOCK), 0);
        block
    }

    #[test]
    fn members_are_found_and_cut_ones_too() {
        let tar = [member("a", b"first"), member("b/c", &[7; 600]), vec![0; 1024]].concat();
        let found = members(&tar).unwrap();
        assert_eq!(found, [("a".to_string(), 512..517), ("b/c".to_string(), 1536..2136)]);
        assert_eq!(members(&tar[..1600]).unwrap()[1].1, 1536..1600);
        assert_eq!(members(&tar[1..]), None);
        assert_eq!(members(&[0; 2048]), None);
    }
}
