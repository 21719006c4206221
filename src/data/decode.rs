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

    /// How long the text of all targets is, every U+2581 taken for the one space it stands for.
    ///
    /// The challenge's table does so for a leading U+2581 only: inside a piece, or at its end, it counts the three
    /// bytes of the character. Where the two numbers differ, bits per byte are not those of the text.
    pub fn text_bytes_of_targets(&self, tokens: &[u16]) -> u64 {
        let table = self.byte_table();
        let own: Vec<u64> = self
            .pieces()
            .iter()
            .map(|piece| {
                let markers = piece.text.matches(LEADING_MARKER).count();
                (piece.text.len() - markers * (LEADING_MARKER.len_utf8() - 1)) as u64
            })
            .collect();
        let of = |previous: u16, target: u16| {
            let entry = table.get(target);
            match self.pieces().get(usize::from(target)).map(|piece| piece.kind) {
                Some(PieceKind::Byte(_)) => 1,
                Some(_) if !entry.boundary => {
                    let unseen = entry.leading_marker && table.get(previous).boundary;
                    own.get(usize::from(target)).copied().unwrap_or(0) - u64::from(unseen)
                }
                _ => 0,
            }
        };
        tokens.windows(2).map(|pair| of(pair[0], pair[1])).sum()
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

#[cfg(test)]
mod tests {
    use super::super::sentencepiece::tests::{BPE, model_bytes};
    use super::*;

    #[test]
    fn markers_inside_pieces_are_spaces_of_the_text() {
        let pieces = [
            ("<unk>", 0.0, 2),
            ("<s>", 0.0, 3),
            ("<0xE2>", 0.0, 6),
            ("▁the", -1.0, 1),
            ("of▁the", -2.0, 1),
            ("▁▁", -3.0, 1),
            ("é▁", -4.0, 1),
        ];
        let tokenizer = Tokenizer::decode_model(&model_bytes(&pieces, BPE, &[])).unwrap();
        let table = tokenizer.byte_table();
        let counts = |tokens: &[u16]| (table.bytes_of_targets(tokens), tokenizer.text_bytes_of_targets(tokens));
        // "the", " the" and a byte; nothing for the mark.
        assert_eq!(counts(&[1, 3, 3, 2, 1]), (3 + 4 + 1, 3 + 4 + 1));
        // "of the": 8 by the table, 6 as text. Two spaces: 4 and 2. "é ": 5 and 3.
        assert_eq!(counts(&[3, 4, 5, 6]), (8 + 4 + 5, 6 + 2 + 3));
        // Right after a mark the leading space is none.
        assert_eq!(counts(&[1, 5]), (3, 1));
        assert_eq!(counts(&[]), (0, 0));
    }
}
