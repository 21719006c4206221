//! Token batches of one shape on the device, and the work that is done with each of them.

use super::backend::{CudaKernels, Ids, Tables};
use super::device::Device;
use super::graph_runner::GraphRunner;
use super::memory::Buffer;
use crate::engine::network::{Kernels, Rows, hashed, widened};
use crate::model::{ModelConfig, RopeTables};

/// Rows of tokens, their targets, and the work that gives the targets' likelihoods.
pub(super) struct DeviceBatch<D: Device> {
    pub rows: Rows<CudaKernels<D>>,
    pub targets: Ids<D>,
    /// Cosines and sines of a row's positions.
    pub tables: Tables<D>,
    pub likelihoods: GraphRunner<D, Buffer<D>>,
}

impl<D: Device> DeviceBatch<D> {
    /// Copies rows of `seq_len` tokens to the device.
    pub fn new(k: &CudaKernels<D>, config: &ModelConfig, [inputs, targets]: [&[u16]; 2], seq_len: usize) -> Self {
        DeviceBatch {
            rows: Rows::new(k, config, inputs, seq_len),
            targets: k.ids(&widened(targets), config.vocab_size),
            tables: k.rope_tables(&RopeTables::new(config, seq_len)),
            likelihoods: GraphRunner::default(),
        }
    }

    /// Copies other tokens, as many, over these. The copy is queued: work launched before still sees the old ones.
    pub fn replace(&self, k: &CudaKernels<D>, config: &ModelConfig, [inputs, targets]: [&[u16]; 2]) {
        k.rewrite(&self.rows.ids, &widened(inputs));
        if let Some(bigram) = &self.rows.bigram {
            k.rewrite(bigram, &hashed(config, inputs, self.rows.seq_len));
        }
        k.rewrite(&self.targets, &widened(targets));
    }
}
