//! The normalizer's precompiled character map: what becomes what, as a double-array trie.
//!
//! Layout: u32 size of the trie in bytes, the trie's units as little-endian u32 (the format of
//! darts-clone), then NUL-terminated UTF-8 replacements; a trie value is an offset into them.

/// A damaged map.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CharsmapFault {
    /// The trie does not fit the blob.
    #[error("character map of {bytes} bytes announces a trie of {trie_bytes} bytes at offset 0; the model is damaged")]
    TrieSize {
        /// Size of the blob.
        bytes: usize,
        /// Size announced.
        trie_bytes: u64,
    },
    /// The replacements are not NUL-terminated UTF-8.
    #[error("replacements at offset {offset} are not NUL-terminated UTF-8; the model is damaged")]
    Replacements {
        /// Where they start in the blob.
        offset: usize,
    },
}

/// A precompiled character map; empty for the identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charsmap {
    units: Vec<u32>,
    replacements: String,
}

impl Charsmap {
    /// Decodes the blob of a model; an empty one is the identity.
    pub fn decode(blob: &[u8]) -> Result<Self, CharsmapFault> {
        if blob.is_empty() {
            return Ok(Charsmap::default());
        }
        let size = blob.first_chunk::<4>().map_or(u64::MAX, |bytes| u64::from(u32::from_le_bytes(*bytes)));
        let bad_size = CharsmapFault::TrieSize { bytes: blob.len(), trie_bytes: size };
        let Ok(trie_bytes) = usize::try_from(size) else { return Err(bad_size) };
        let rest = blob.get(4..).unwrap_or_default();
        if trie_bytes == 0 || !trie_bytes.is_multiple_of(4) || trie_bytes >= rest.len() {
            return Err(bad_size);
        }
        let (trie, replacements) = rest.split_at(trie_bytes);
        let units = trie.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        match std::str::from_utf8(replacements) {
            Ok(text) if text.ends_with('\0') => Ok(Charsmap { units, replacements: text.to_string() }),
            _ => Err(CharsmapFault::Replacements { offset: 4 + trie_bytes }),
        }
    }

    /// Whether nothing is replaced.
    pub fn is_identity(&self) -> bool {
        self.units.is_empty()
    }

    /// The longest key that `text` starts with: its length in bytes and what replaces it.
    ///
    /// A damaged trie can only fail to match: every step is bounds-checked, and keys or
    /// replacements that would cut a character in two are ignored.
    pub fn longest_match<'a>(&'a self, text: &str) -> Option<(usize, &'a str)> {
        let mut node = unit_offset(*self.units.first()?);
        let mut longest = None;
        for (i, &byte) in text.as_bytes().iter().enumerate() {
            node ^= usize::from(byte);
            let Some(&unit) = self.units.get(node) else { break };
            if unit & LABEL_MASK != u32::from(byte) {
                break;
            }
            node ^= unit_offset(unit);
            if unit & HAS_LEAF != 0
                && let Some(&leaf) = self.units.get(node)
                && let Some(replacement) = self.replacement((leaf & VALUE_MASK) as usize)
                && text.is_char_boundary(i + 1)
            {
                longest = Some((i + 1, replacement));
            }
        }
        longest
    }

    fn replacement(&self, offset: usize) -> Option<&str> {
        self.replacements.get(offset..)?.split('\0').next()
    }
}

/// Bit 8 of a darts-clone unit: a value hangs below this node.
const HAS_LEAF: u32 = 1 << 8;
/// The lower 31 bits of a leaf are its value.
const VALUE_MASK: u32 = (1 << 31) - 1;
/// The byte that leads to a node; bit 31 marks leaves, which no byte leads to.
const LABEL_MASK: u32 = (1 << 31) | 0xff;

/// Distance to the children, exclusive-or'ed to the node: 22 bits, in steps of 256 when bit 9 is set.
fn unit_offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trie for one key, `a` to `bc`, laid out by hand: root's children at 256, the leaf at 512.
    fn one_key() -> Vec<u8> {
        let mut units = vec![0u32; 1024];
        units[0] = 256 << 10;
        units[256 ^ usize::from(b'a')] = (512 ^ 256 ^ u32::from(b'a')) << 10 | HAS_LEAF | u32::from(b'a');
        units[512] = 1 << 31 | 2;
        let mut blob = 4096u32.to_le_bytes().to_vec();
        blob.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        blob.extend(b"x\0bc\0");
        blob
    }

    #[test]
    fn a_key_is_found_and_replaced() {
        let map = Charsmap::decode(&one_key()).unwrap();
        assert_eq!(map.longest_match("abc"), Some((1, "bc")));
        assert_eq!(map.longest_match("b"), None);
        assert_eq!(map.longest_match(""), None);
        assert_eq!(map.longest_match("\0"), None);
        assert!(Charsmap::decode(&[]).unwrap().is_identity());
    }

    #[test]
    fn damaged_maps_are_refused() {
        for blob in [&[1][..], &[0, 0, 0, 0, 0], &[3, 0, 0, 0, 1, 2, 3, 0], &[255; 8], &[4, 0, 0, 0, 1, 2, 3, 4]] {
            assert!(matches!(Charsmap::decode(blob), Err(CharsmapFault::TrieSize { .. })), "{blob:?}");
        }
        for tail in [&b"no end"[..], &[0xff, 0]] {
            let blob = [&one_key()[..4100], tail].concat();
            assert!(matches!(Charsmap::decode(&blob), Err(CharsmapFault::Replacements { offset: 4100 })));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_trie_panics(units: Vec<u32>, text: String) {
            let mut blob = (units.len() as u32 * 4).to_le_bytes().to_vec();
            blob.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
            blob.extend("é\0".as_bytes());
            if let Ok(map) = Charsmap::decode(&blob) {
                let _ = map.longest_match(&text);
            }
        }
    }
}
