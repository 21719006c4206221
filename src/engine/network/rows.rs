//! Tokens on a device.

use super::traits::Kernels;
use crate::model::{ModelConfig, bigram_rows};

/// Some whole rows of a batch, as row numbers on a device.
pub(in crate::engine) struct Rows<K: Kernels> {
    /// Tokens in all.
    pub count: usize,
    pub seq_len: usize,
    pub ids: K::Ids,
    /// Rows of the bigram table.
    pub bigram: Option<K::Ids>,
}

impl<K: Kernels> Rows<K> {
    /// Hands over the tokens of rows of `seq_len`.
    pub fn new(k: &K, config: &ModelConfig, inputs: &[u16], seq_len: usize) -> Self {
        let bigram = config.has_bigram().then(|| k.ids(&hashed(config, inputs, seq_len), config.bigram_vocab_size));
        Rows { count: inputs.len(), seq_len, ids: k.ids(&widened(inputs), config.vocab_size), bigram }
    }
}

/// Token ids as row numbers.
pub(in crate::engine) fn widened(tokens: &[u16]) -> Vec<u32> {
    tokens.iter().map(|&id| u32::from(id)).collect()
}

/// Bigram rows of rows of `seq_len` tokens.
pub(in crate::engine) fn hashed(config: &ModelConfig, inputs: &[u16], seq_len: usize) -> Vec<u32> {
    let rows = inputs.chunks(seq_len).flat_map(|row| bigram_rows(row, config.bigram_vocab_size));
    rows.map(|row| row as u32).collect()
}
