//! LZ4 blocks: sequences of literals and copies, without magic number, length or end mark.
//!
//! Format: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>. The decoder of the crate wants to know the
//! size beforehand, and leaves nothing where it was wrong.

use super::expand::Expanded;

/// Shortest copy.
const MIN_COPY: usize = 4;

/// Decompresses a block that fills `bytes`, with its size as 32 bits in front or without.
pub(super) fn expand(bytes: &[u8], max: u64) -> Expanded {
    if let Some((size, block)) = bytes.split_first_chunk() {
        let size = u64::from(u32::from_le_bytes(*size));
        let sized = decode(block, max);
        if sized.error.is_none() && (sized.is_over && size > max || sized.content.len() as u64 == size) {
            return Expanded { used: bytes.len(), ..sized };
        }
    }
    decode(bytes, max)
}

fn decode(bytes: &[u8], max: u64) -> Expanded {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut content = Vec::new();
    let mut at = 0;
    loop {
        match sequence(bytes, &mut at, &mut content, max) {
            Some(Step::Goes) => {}
            Some(Step::Ends) => return Expanded { content, used: bytes.len(), ..Expanded::default() },
            Some(Step::IsOver) => {
                content.truncate(max);
                return Expanded { content, used: bytes.len(), is_over: true, ..Expanded::default() };
            }
            None => return Expanded { content, ..Expanded::failed("no lz4 block") },
        }
    }
}

enum Step {
    Goes,
    /// With literals, as the last sequence does.
    Ends,
    IsOver,
}

/// One sequence; `None` if it is none.
fn sequence(bytes: &[u8], at: &mut usize, content: &mut Vec<u8>, max: usize) -> Option<Step> {
    let token = *bytes.get(*at)?;
    *at += 1;
    let literals = length(bytes, at, usize::from(token >> 4))?;
    let end = at.checked_add(literals)?;
    let literals = bytes.get(*at..end)?;
    *at = end;
    let room = max.saturating_sub(content.len());
    content.extend_from_slice(literals.get(..room.saturating_add(1)).unwrap_or(literals));
    if content.len() > max {
        return Some(Step::IsOver);
    }
    if end == bytes.len() {
        return Some(Step::Ends);
    }
    let distance = usize::from(u16::from_le_bytes(*bytes.get(end..)?.first_chunk()?));
    *at += 2;
    let copied = length(bytes, at, usize::from(token & 15))?.checked_add(MIN_COPY)?;
    let from = content.len().checked_sub(distance).filter(|_| distance > 0)?;
    // A copy may reach into what it writes.
    for place in from..from.saturating_add(copied) {
        if content.len() >= max {
            return Some(Step::IsOver);
        }
        content.push(*content.get(place)?);
    }
    Some(Step::Goes)
}

/// A length: four bits, and if they are full, bytes up to one that is not.
fn length(bytes: &[u8], at: &mut usize, start: usize) -> Option<usize> {
    let mut length = start;
    if start == 15 {
        loop {
            let next = *bytes.get(*at)?;
            *at += 1;
            length = length.checked_add(usize::from(next))?;
            if next < 255 {
                break;
            }
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_the_crate_are_read_with_and_without_their_size() {
        let content: Vec<u8> = (0..100_000u32).flat_map(|n| (n / 7 % 251).to_le_bytes()).collect();
        for block in [lz4_flex::block::compress(&content), lz4_flex::block::compress_prepend_size(&content)] {
            let whole = expand(&block, 1 << 20);
            assert!(whole.error.is_none() && !whole.is_over && whole.content == content && whole.used == block.len());
            let start = expand(&block, 1000);
            assert!(start.error.is_none() && start.is_over && start.content == content[..1000]);
        }
        assert!(expand(&[0x10, b'a', 9, 0, 0], 100).error.is_some());
        assert!(expand(b"", 100).error.is_some());
    }
}
