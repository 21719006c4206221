//! How many bytes of text each target of a token stream stands for, whoever counted them.

use std::ops::Range;

use super::ByteTable;

/// What bits per byte are counted against.
#[derive(Clone, Copy, Debug)]
pub enum TargetBytes<'a> {
    /// The tokenizer's table, as the challenge's script counts.
    Table(&'a ByteTable),
    /// A count for every token of the stream, from a byte sidecar: of tokens over transformed text.
    Sidecar(&'a [u16]),
}

impl TargetBytes<'_> {
    /// Bytes of the token at `target` of a stream; the first is never a target and has none, nor has one past the end.
    pub fn of(&self, tokens: &[u16], target: usize) -> u64 {
        let previous = target.checked_sub(1).and_then(|previous| tokens.get(previous));
        let (Some(&previous), Some(&token)) = (previous, tokens.get(target)) else { return 0 };
        match self {
            TargetBytes::Table(table) => table.bytes_of(previous, token),
            TargetBytes::Sidecar(counts) => counts.get(target).copied().map_or(0, u64::from),
        }
    }

    /// Bytes of several targets.
    pub fn of_all(&self, tokens: &[u16], targets: Range<usize>) -> u64 {
        targets.map(|target| self.of(tokens, target)).sum()
    }
}

impl<'a> From<&'a ByteTable> for TargetBytes<'a> {
    fn from(table: &'a ByteTable) -> Self {
        TargetBytes::Table(table)
    }
}

#[cfg(test)]
mod tests {
    use super::super::TokenBytes;
    use super::*;

    #[test]
    fn every_token_but_the_first_is_a_target() {
        let table = ByteTable::new(vec![TokenBytes { base_bytes: 2, leading_marker: true, boundary: false }; 4]);
        let tokens = [3, 1, 2, 0];
        let by_table = TargetBytes::from(&table);
        assert_eq!(by_table.of_all(&tokens, 0..9), table.bytes_of_targets(&tokens));
        let counts = [100, 7, 0, 5];
        let by_sidecar = TargetBytes::Sidecar(&counts);
        assert_eq!([0, 1, 2, 3, 4].map(|target| by_sidecar.of(&tokens, target)), [0, 7, 0, 5, 0]);
        assert_eq!(by_sidecar.of_all(&tokens, 1..3), 7);
    }
}
