//! How many bytes of text each token stands for: what bits per *byte* are counted against.

/// What one token id contributes (specification, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBytes {
    /// Bytes without the leading marker: 1 for a byte token, the UTF-8 length of an ordinary piece, 0 at a boundary.
    pub base_bytes: u16,
    /// The piece starts with U+2581, which stands for a space.
    pub leading_marker: bool,
    /// Control, unknown or unused: no text, and no space is counted right after it.
    pub boundary: bool,
}

impl TokenBytes {
    /// An id without text.
    pub const BOUNDARY: TokenBytes = TokenBytes { base_bytes: 0, leading_marker: false, boundary: true };
}

/// The byte table of a tokenizer. Ids beyond it count as boundaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteTable(Vec<TokenBytes>);

impl ByteTable {
    /// One entry an id, from 0.
    pub fn new(entries: Vec<TokenBytes>) -> Self {
        ByteTable(entries)
    }

    /// Ids in the table: the tokenizer's vocabulary size.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no ids at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry of an id.
    pub fn get(&self, id: u16) -> TokenBytes {
        self.0.get(usize::from(id)).copied().unwrap_or(TokenBytes::BOUNDARY)
    }

    /// Bytes of the target `target` right after `previous`.
    ///
    /// The marker is a byte of its own unless the previous token is a boundary: at a document's
    /// start there is no space to predict.
    pub fn bytes_of(&self, previous: u16, target: u16) -> u64 {
        let entry = self.get(target);
        u64::from(entry.base_bytes) + u64::from(entry.leading_marker && !self.get(previous).boundary)
    }

    /// Bytes of all targets of a token stream: every token but the first, which is never predicted.
    pub fn bytes_of_targets(&self, tokens: &[u16]) -> u64 {
        tokens.windows(2).map(|pair| self.bytes_of(pair[0], pair[1])).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_counts_unless_it_follows_a_boundary() {
        let plain = |base_bytes, leading_marker| TokenBytes { base_bytes, leading_marker, boundary: false };
        // 0 `<s>`, 1 `▁the`, 2 `▁`, 3 `<0xE2>`, 4 `é`
        let table = ByteTable::new(vec![
            TokenBytes::BOUNDARY,
            plain(3, true),
            plain(0, true),
            plain(1, false),
            plain(2, false),
        ]);
        for (previous, target, bytes) in
            [(0, 1, 3), (1, 1, 4), (1, 2, 1), (0, 2, 0), (0, 3, 1), (3, 4, 2), (1, 0, 0), (9, 1, 3), (1, 9, 0)]
        {
            assert_eq!(table.bytes_of(previous, target), bytes, "{previous} then {target}");
        }
        assert_eq!(table.bytes_of_targets(&[0, 1, 1, 3, 4, 0, 1]), 3 + 4 + 1 + 2 + 3);
        assert_eq!(table.bytes_of_targets(&[]), 0);
    }
}
