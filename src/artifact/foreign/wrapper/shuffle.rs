//! Bytes put apart by their place in a value, as the scripts do before brotli (PR #1218): the first bytes of all values,
//! then the second, and so on, so that like stands beside like.
//!
//! `BSHF`, the stride as one byte, then the bytes at 0, stride, 2 x stride ..., then those at 1, stride + 1 ...

use super::expand::Expanded;

/// What shuffled bytes begin with.
pub(super) const MAGIC: &[u8] = b"BSHF";
/// Bytes in front: the magic number and the stride.
const HEADER_BYTES: usize = MAGIC.len() + 1;

/// Shuffles bytes by a stride of 2, that of halves. Fewer than two bytes stay as they are, without a header.
pub fn shuffle(content: &[u8]) -> Vec<u8> {
    const STRIDE: usize = 2;
    if content.len() < STRIDE {
        return content.to_vec();
    }
    let mut shuffled = Vec::with_capacity(HEADER_BYTES + content.len());
    shuffled.extend_from_slice(MAGIC);
    shuffled.push(STRIDE as u8);
    for first in 0..STRIDE {
        shuffled.extend(content.iter().skip(first).step_by(STRIDE));
    }
    shuffled
}

/// At most `max` bytes of what was shuffled. A stride below 2 moves nothing.
pub(super) fn unshuffle(bytes: &[u8], max: u64) -> Expanded {
    let Some((&stride, shuffled)) = bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first) else {
        return Expanded::failed("no stride");
    };
    let (stride, count) = (usize::from(stride).max(1), shuffled.len());
    let kept = usize::try_from(max).unwrap_or(usize::MAX).min(count);
    let mut content = vec![0; kept];
    let mut rest = shuffled;
    for first in 0..stride {
        // The last value may be short: the first parts then hold one byte more.
        let (part, others) = rest.split_at(count / stride + usize::from(first < count % stride));
        content.iter_mut().skip(first).step_by(stride).zip(part).for_each(|(to, from)| *to = *from);
        rest = others;
    }
    Expanded { content, used: bytes.len(), is_over: kept < count, ..Expanded::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_places_come_before_odd_ones() {
        assert_eq!(shuffle(b"a1b2c3"), b"BSHF\x02abc123");
        assert_eq!(shuffle(b"a1b2c"), b"BSHF\x02abc12");
        assert_eq!((shuffle(b"a"), shuffle(b"")), (b"a".to_vec(), Vec::new()));
    }

    #[test]
    fn every_stride_is_read() {
        for (shuffled, content) in [
            (&b"BSHF\x02abc123"[..], &b"a1b2c3"[..]),
            (b"BSHF\x02abc12", b"a1b2c"),
            (b"BSHF\x03adbec", b"abcde"),
            (b"BSHF\x04a", b"a"),
            (b"BSHF\x01abc", b"abc"),
            (b"BSHF\x00abc", b"abc"),
            (b"BSHF\xff", b""),
        ] {
            let found = unshuffle(shuffled, 100);
            assert_eq!((&*found.content, found.used, found.error), (content, shuffled.len(), None));
            assert!(!found.is_over);
        }
        assert!(unshuffle(b"BSHF", 100).error.is_some());
        assert!(unshuffle(b"BSH", 100).error.is_some());
    }

    #[test]
    fn the_limit_leaves_a_prefix() {
        let found = unshuffle(b"BSHF\x02abc123", 5);
        assert_eq!((&*found.content, found.is_over), (&b"a1b2c"[..], true));
        assert!(!unshuffle(b"BSHF\x02abc123", 6).is_over);
    }
}
