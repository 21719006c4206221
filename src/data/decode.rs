//! From token ids back to text.

use super::sentencepiece::{LEADING_MARKER, PieceKind, Tokenizer, strip_marker};

impl Tokenizer {
    /// The text of ids, as the SentencePiece library gives it.
    ///
    /// Control marks are silent, spaces in front of the text are dropped when the model drops them,
    /// byte pieces that are not UTF-8 become U+FFFD each. Ids outside the vocabulary are silent.
    pub fn decode(&self, ids: &[u16]) -> String {
        let spec = self.normalizer();
        let mut text = String::new();
        let mut bytes = Vec::new();
        let mut spaces_in_front = true;
        for &id in ids {
            let Some(piece) = self.pieces().get(usize::from(id)) else { continue };
            if let PieceKind::Byte(byte) = piece.kind {
                bytes.push(byte);
                continue;
            }
            spaces_in_front &= bytes.is_empty();
            push_lossy(&mut text, &mut bytes);
            match piece.kind {
                PieceKind::Control => continue,
                PieceKind::Unknown => text.push_str(&self.unknown_surface),
                _ => {
                    let (mut rest, mut dropped) = (piece.text.as_str(), false);
                    if spaces_in_front && (spec.add_dummy_prefix || spec.remove_extra_whitespaces) {
                        (rest, dropped) = strip_marker(rest);
                    }
                    text.extend(rest.chars().map(|c| if c == LEADING_MARKER { ' ' } else { c }));
                    // Only the dummy space is dropped, unless the model drops all of them.
                    spaces_in_front = rest.is_empty() && (!dropped || spec.remove_extra_whitespaces);
                    continue;
                }
            }
            spaces_in_front = false;
        }
        push_lossy(&mut text, &mut bytes);
        text
    }

    /// The bytes that bits per byte are counted against: their number is exactly
    /// [`super::ByteTable::bytes_of_targets`], for any stream of tokens.
    pub fn bytes_of_targets(&self, tokens: &[u16]) -> Vec<u8> {
        let table = self.byte_table();
        let mut bytes = Vec::with_capacity(tokens.len() * 2);
        for pair in tokens.windows(2) {
            let (previous, target) = (pair[0], pair[1]);
            match self.pieces().get(usize::from(target)) {
                Some(piece) if !table.get(target).boundary => {
                    if let PieceKind::Byte(byte) = piece.kind {
                        bytes.push(byte);
                        continue;
                    }
                    let (text, marker) = strip_marker(&piece.text);
                    if marker && !table.get(previous).boundary {
                        bytes.push(b' ');
                    }
                    bytes.extend(text.as_bytes());
                }
                _ => {}
            }
        }
        bytes
    }
}

/// Appends and empties `bytes`; each byte that is not part of a character becomes one U+FFFD.
fn push_lossy(text: &mut String, bytes: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    bytes.clear();
}
