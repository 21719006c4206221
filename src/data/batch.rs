//! A training micro-batch.

/// `rows` sequences of `seq_len` inputs and as many targets, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    /// Input ids, rows x seq_len.
    pub inputs: Vec<u16>,
    /// Target ids, rows x seq_len.
    pub targets: Vec<u16>,
    /// Tokens in a row.
    pub seq_len: usize,
}
