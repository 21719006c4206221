//! Normalizing text the way the tokenizer's model says, before it is cut into pieces.

use super::sentencepiece::{LEADING_MARKER, NormalizerSpec, Tokenizer};

impl Tokenizer {
    /// The text as the pieces see it: characters mapped, spaces collapsed and written as U+2581.
    ///
    /// Bits per byte count *these* bytes, not the original ones.
    pub fn normalize(&self, text: &str) -> String {
        let spec = self.normalizer();
        let space = if spec.escape_whitespaces { MARKER } else { " " };
        let mut rest = text;
        if spec.remove_extra_whitespaces {
            while let Some((" ", consumed)) = self.next_normalized(spec, rest) {
                rest = &rest[consumed..];
            }
        }
        if rest.is_empty() {
            return String::new();
        }
        let mut normalized = String::with_capacity(text.len() + text.len() / 4);
        if spec.add_dummy_prefix && !spec.whitespace_is_suffix {
            normalized.push_str(space);
        }
        let mut after_space = spec.remove_extra_whitespaces;
        while let Some((mut part, consumed)) = self.next_normalized(spec, rest) {
            if after_space {
                part = part.trim_start_matches(' ');
            }
            if !part.is_empty() {
                for c in part.chars() {
                    if c == ' ' { normalized.push_str(space) } else { normalized.push(c) }
                }
                after_space = spec.remove_extra_whitespaces && part.ends_with(' ');
            }
            rest = &rest[consumed..];
        }
        if spec.remove_extra_whitespaces {
            normalized.truncate(normalized.trim_end_matches(space).len());
        }
        if spec.add_dummy_prefix && spec.whitespace_is_suffix {
            normalized.push_str(space);
        }
        normalized
    }

    /// What the text starts with after normalization, and the bytes of text that became it.
    fn next_normalized<'a>(&'a self, spec: &'a NormalizerSpec, text: &'a str) -> Option<(&'a str, usize)> {
        let first = text.chars().next()?;
        if let Some(symbol) = self.user_defined_prefix(text) {
            return Some((symbol, symbol.len()));
        }
        if let Some((consumed, replacement)) = spec.charsmap.longest_match(text) {
            return Some((replacement, consumed));
        }
        let (unchanged, _) = text.split_at(first.len_utf8());
        Some((unchanged, unchanged.len()))
    }

    /// The longest user-defined piece that `text` starts with: neither normalized nor split.
    pub(super) fn user_defined_prefix<'a>(&self, text: &'a str) -> Option<&'a str> {
        let longest = self.longest_user_defined.min(text.len());
        (1..=longest).rev().filter_map(|end| text.get(..end)).find(|candidate| self.is_user_defined(candidate))
    }
}

/// [`LEADING_MARKER`] as a string.
const MARKER: &str = "\u{2581}";
const _: () = assert!(LEADING_MARKER as u32 == 0x2581);
