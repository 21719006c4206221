//! The engine's two duties over the kernels.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::CpuKernels;
use crate::data::TokenBatch;
use crate::engine::network::{Forward, Kernels, Loaded, Network, Rows, fold, unfold, widened};
use crate::engine::{Engine, EngineError, EngineKind, LossAndGradients, Precision, Scorer, Window, check};
use crate::model::{Graph, LayoutMismatch, ModelConfig, Params, RopeTables};
use crate::optim::FakeQuant;

/// Most tokens a recorded forward pass handles at once, where a row is no longer.
const GROUP_TOKENS: usize = 1024;
/// Groups that a micro-batch of few tokens is cut into, so that it keeps several threads busy.
const GROUPS: usize = 4;
/// Tokens below which a group costs more in gradients to clear and add than its thread gains.
const LEAST_GROUP_TOKENS: usize = 256;

/// Tokens of a group of whole rows, whatever the number of threads: the groups, and the order their gradients are
/// added in, are part of the result.
fn group_tokens(batch: &TokenBatch) -> usize {
    let tokens = (batch.inputs.len() / GROUPS).clamp(LEAST_GROUP_TOKENS, GROUP_TOKENS);
    (tokens / batch.seq_len).max(1) * batch.seq_len
}

/// The kernels engine on the CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelsEngine {
    precision: Precision,
}

impl KernelsEngine {
    /// An engine whose scorers compute in that precision. Training is in single precision always.
    pub fn scoring_in(precision: Precision) -> Self {
        KernelsEngine { precision }
    }
}

impl Engine for KernelsEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Kernels
    }

    fn scorer(&self, config: &ModelConfig, weights: &Params) -> Result<Box<dyn Scorer>, EngineError> {
        check::model(config, weights)?;
        let kernels = CpuKernels { precision: self.precision };
        Ok(Box::new(KernelsScorer(Loaded::new(kernels, self.precision, config, weights)?)))
    }

    fn loss_and_gradients(
        &self,
        config: &ModelConfig,
        weights: &Params,
        batch: &TokenBatch,
        fake_quant: FakeQuant,
    ) -> Result<LossAndGradients, EngineError> {
        check::training(config, weights, batch)?;
        let weights = &fake_quant.applied(weights);
        let k = &CpuKernels::default();
        let network = Network::upload(k, config, &fold(weights))?;
        let tables = k.rope_tables(&RopeTables::new(config, batch.seq_len));
        let graph = &Graph::new(config);
        let forward = Forward {
            k,
            config,
            graph,
            network: &network,
            scaled: None,
            tables: &tables,
            observer: None,
            memory: None,
        };

        let group = group_tokens(batch);
        let groups: Vec<_> = batch.inputs.chunks(group).zip(batch.targets.chunks(group)).collect();
        let weight = 1.0 / batch.inputs.len() as f32;
        let run = |&(inputs, targets): &(&[u16], &[u16])| -> Result<_, LayoutMismatch> {
            let rows = Rows::new(k, config, inputs, batch.seq_len);
            let mut grads = Network::zeros(k, config)?;
            let nll =
                forward.backward(&rows, &widened(targets), weight, forward.record(&rows), &mut grads, &mut |_| ());
            Ok((k.download(nll), grads.download(k, config)?))
        };
        let mut nll = 0.0f64;
        let mut total: Option<Params> = None;
        // As many groups at a time as there are threads, so that no more gradients exist than are being made.
        for wave in groups.chunks(rayon::current_num_threads()) {
            for (values, gradients) in wave.par_iter().map(run).collect::<Result<Vec<_>, _>>()? {
                nll += values.into_iter().map(f64::from).sum::<f64>();
                match &mut total {
                    None => total = Some(gradients),
                    Some(total) => total.add_assign(&gradients),
                }
            }
        }
        let mut gradients = total.unwrap_or_default();
        unfold(weights, &mut gradients);
        Ok(LossAndGradients { loss: (nll / batch.inputs.len() as f64) as f32, gradients })
    }
}

/// Scores a window on one thread, windows on all.
struct KernelsScorer<K: Kernels>(Loaded<K>);

impl<K: Kernels> KernelsScorer<K> {
    /// Likelihoods of a window's targets from its first scored one on.
    fn window(&self, window: &Window<'_>, tables: &K::Tables) -> Vec<f32> {
        let (inputs, targets) = (&window.tokens[..window.tokens.len() - 1], &window.tokens[1..]);
        let targets = targets.get(window.first_scored..).unwrap_or_default();
        if targets.is_empty() {
            return Vec::new();
        }
        let (k, count) = (&self.0.kernels, targets.len());
        let rows = Rows::new(k, &self.0.config, inputs, inputs.len());
        k.download(self.0.queue(
            &rows,
            window.first_scored,
            (&k.ids(&widened(targets), self.0.config.vocab_size), count),
            tables,
        ))
    }
}

impl<K: Kernels> Scorer for KernelsScorer<K> {
    fn nll(&self, windows: &[Window<'_>]) -> Result<Vec<Vec<f32>>, EngineError> {
        check::windows(&self.0.config, windows)?;
        // Tables serve every shorter row, unless each row's own length decides on them.
        let lengths: BTreeSet<usize> = windows.iter().map(|window| window.tokens.len() - 1).collect();
        let lengths: Vec<usize> = match self.0.config.rope_follows_the_row() {
            true => lengths.into_iter().collect(),
            false => lengths.into_iter().next_back().into_iter().collect(),
        };
        let tables: Vec<_> = lengths.iter().map(|&length| self.0.tables(length)).collect();
        let score = |window: &Window<'_>| {
            let place = lengths.partition_point(|&length| length < window.tokens.len() - 1);
            tables.get(place).map_or_else(Vec::new, |tables| self.window(window, tables))
        };
        Ok(windows.par_iter().map(score).collect())
    }

    fn logits(&self, inputs: &[u16]) -> Result<Vec<f32>, EngineError> {
        self.0.logits(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::init;

    #[test]
    fn tables_follow_a_rows_own_length_unless_it_is_given() {
        let config = ModelConfig {
            vocab_size: 32,
            num_layers: 2,
            model_dim: 16,
            num_heads: 2,
            num_kv_heads: 1,
            bigram_vocab_size: 0,
            rope_train_length: Some(8),
            ..Default::default()
        };
        let mut weights = init(&config, 1);
        let mut stream = crate::random::RandomStream::new(1, "noise");
        for (_, tensor) in weights.iter_mut() {
            tensor.data_mut().iter_mut().for_each(|value| *value += 0.3 * stream.normal() as f32);
        }
        let tokens: Vec<u16> = (0..21).map(|i| i * 7 % 32).collect();
        let windows = [7, 21, 12].map(|len| Window { tokens: &tokens[..len], first_scored: 0 });
        let nll = |config: &ModelConfig, windows: &[Window<'_>]| {
            KernelsEngine::default().scorer(config, &weights).unwrap().nll(windows).unwrap()
        };
        let together = nll(&config, &windows);
        let alone: Vec<_> = windows.iter().flat_map(|&window| nll(&config, &[window])).collect();
        assert_eq!(together, alone);
        // In rows padded to the longest, each is a beginning of it.
        let padded = nll(&config.clone().in_rows_of(20), &windows);
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(windows.iter().zip(&padded).all(|(window, nll)| close(nll, &padded[1][..window.tokens.len() - 1])));
        assert!(!close(&together[0], &padded[0]));
        // As short as the rows trained on, the base is the plain one.
        let plain = ModelConfig { rope_train_length: None, ..config };
        assert_eq!(together[0], nll(&plain, &windows[..1])[0]);
    }

    #[test]
    fn groups_are_whole_rows_and_small_micro_batches_are_several() {
        for (rows, seq_len, expected) in [
            (8, 128, 256),
            (16, 128, 512),
            (64, 128, 1024),
            (512, 128, 1024),
            (2, 128, 256),
            (40, 100, 1000),
            (4, 300, 300),
            (1, 2048, 2048),
            (48, 2048, 2048),
        ] {
            let batch = TokenBatch { inputs: vec![0; rows * seq_len], targets: vec![0; rows * seq_len], seq_len };
            assert_eq!(group_tokens(&batch), expected, "{rows} rows of {seq_len}");
        }
    }
}
