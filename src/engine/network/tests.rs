//! The passes as a whole, on the CPU's kernels.

use super::{Finished, Forward, Kernels, Loaded, Network, Rows, fold, widened};
use crate::data::TokenBatch;
use crate::engine::cpu::CpuKernels;
use crate::engine::{Decoder, Engine, KernelsEngine, Precision, Window};
use crate::model::{
    AttentionGate, Graph, Lanes, ModelConfig, ParallelResidual, Params, Recurrence, RopeTables, Skips, ValueEmbedding,
    init,
};
use crate::optim::FakeQuant;
use crate::random::RandomStream;

/// Small networks: plain; odd dims, untied, table as wide as the model.
pub(in crate::engine) fn plain_and_odd() -> [ModelConfig; 2] {
    let plain = ModelConfig {
        vocab_size: 50,
        num_layers: 4,
        model_dim: 64,
        num_heads: 4,
        num_kv_heads: 2,
        bigram_vocab_size: 32,
        bigram_dim: 16,
        ..Default::default()
    };
    let odd = ModelConfig {
        vocab_size: 37,
        num_layers: 3,
        model_dim: 36,
        num_heads: 2,
        num_kv_heads: 1,
        mlp_mult: 1.5,
        bigram_dim: 36,
        tie_embeddings: false,
        ..plain.clone()
    };
    [plain, odd]
}

/// Small networks of the leaderboard's features: a loop whose last blocks are parallel; two lanes with a block run twice;
/// two lanes that lose their skips; gated heads and a smear that stops.
pub(in crate::engine) fn family() -> [ModelConfig; 4] {
    let [plain, odd] = plain_and_odd();
    let looped = ModelConfig {
        bigram_vocab_size: 0,
        smear: false,
        skips: Skips::Gated,
        mlp_negative_slope: 0.5,
        rope_dims: 8,
        rope_train_length: Some(16),
        xsa_last_n: 2,
        ln_scale: true,
        value_embedding: Some(ValueEmbedding { dim: 24, blocks: vec![2, 1] }),
        recurrence: Some(Recurrence::Loop { first: 1, last: 2, repeats: 2, from_fraction: vec![0.5] }),
        parallel_residual: Some(ParallelResidual { start: 2, lanes: Lanes::One }),
        ..plain.clone()
    };
    let lanes = ModelConfig {
        smear: false,
        resid_mix: false,
        xsa_last_n: 3,
        value_embedding: Some(ValueEmbedding { dim: odd.kv_dim(), blocks: vec![0, 2] }),
        recurrence: Some(Recurrence::Insert { blocks: vec![1], from_step: 0 }),
        parallel_residual: Some(ParallelResidual { start: 1, lanes: Lanes::Two }),
        ..odd
    };
    let lost = ModelConfig {
        parallel_residual: Some(ParallelResidual { start: 2, lanes: Lanes::TwoSkipsLost }),
        mlp_negative_slope: -0.25,
        ..plain.clone()
    };
    let gated = ModelConfig {
        smear_stops_at_begin: true,
        xsa_last_n: 1,
        attention_gate: Some(AttentionGate { width: 5, factor: 2.0, slope: 1.0, init_std: 0.0 }),
        ..plain
    };
    [looped, lanes, lost, gated]
}

/// Initial weights with some noise on all of them, so that nothing is zero.
pub(in crate::engine) fn noisy_weights(config: &ModelConfig) -> Params {
    let mut weights = init(config, 3);
    let mut stream = RandomStream::new(3, "noise");
    for (_, tensor) in weights.iter_mut() {
        tensor.data_mut().iter_mut().for_each(|value| *value += 0.1 * stream.normal() as f32);
    }
    weights
}

fn tokens(config: &ModelConfig, len: usize) -> Vec<u16> {
    let mut stream = RandomStream::new(4, "tokens");
    (0..len).map(|_| stream.below(config.vocab_size as u64) as u16).collect()
}

#[test]
fn what_is_final_is_named_from_the_networks_end_to_its_beginning() {
    let [plain, odd] = plain_and_odd();
    let looped = Recurrence::Loop { first: 0, last: 1, repeats: 2, from_fraction: vec![0.5] };
    // A block that is run several times is final after the first of its visits.
    let looped = ModelConfig { num_layers: 3, recurrence: Some(looped), ..plain.clone() };
    for config in [ModelConfig { num_layers: 3, ..plain }, looped, odd] {
        let k = &CpuKernels::default();
        let network = Network::upload(k, &config, &fold(&init(&config, 1))).unwrap();
        let tables = &k.rope_tables(&RopeTables::new(&config, 4));
        let graph = &Graph::new(&config);
        let forward = Forward {
            k,
            config: &config,
            graph,
            network: &network,
            scaled: None,
            tables,
            observer: None,
            memory: None,
        };
        let rows = &Rows::new(k, &config, &[1, 2, 3, 4], 4);
        let targets = &k.ids(&widened(&[2, 3, 4, 5]), config.vocab_size);
        let (mut named, mut grads) = (Vec::new(), Network::zeros(k, &config).unwrap());
        forward.backward(rows, targets, 0.25, forward.record(rows), &mut grads, &mut |part| named.push(part));
        let expected = [Finished::Head, Finished::Block(2), Finished::Block(1), Finished::Block(0)];
        assert_eq!(named, expected[usize::from(config.tie_embeddings)..]);
    }
}

/// Whatever a network has: reading it token by token gives the logits of reading it at once.
#[test]
fn token_by_token_is_all_at_once() {
    for config in family() {
        let config = config.in_rows_of(12);
        let (weights, tokens) = (noisy_weights(&config), tokens(&config, 24));
        let rows: Vec<&[u16]> = tokens.chunks(12).collect();
        let whole = Loaded::new(CpuKernels::default(), Precision::F32, &config, &weights).unwrap();
        let expected: Vec<Vec<f32>> = rows.iter().map(|row| whole.logits(row).unwrap()).collect();
        let decoder = Decoder::new(&config, &weights).unwrap();
        let mut decoding = decoder.rows(rows.len(), 12);
        let vocab = config.vocab_size;
        for position in 0..12 {
            let next: Vec<u16> = rows.iter().map(|row| row[position]).collect();
            let logits = decoding.push(&next).unwrap();
            for (found, expected) in logits.chunks(vocab).zip(&expected) {
                let expected = &expected[position * vocab..][..vocab];
                let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 2e-4, "{config:?} position {position}: {worst}");
            }
            assert_eq!(logits.len(), 2 * vocab);
        }
        assert!(decoding.push(&[0, 0]).unwrap().is_empty());
    }
}

/// Moving a tensor along its gradient moves the loss as far as the gradient says, within what single precision resolves.
#[test]
fn gradients_say_how_the_loss_moves() {
    for config in family() {
        let (weights, tokens) = (noisy_weights(&config), tokens(&config, 41));
        let batch = TokenBatch { inputs: tokens[..40].to_vec(), targets: tokens[1..].to_vec(), seq_len: 20 };
        let run = |weights: &Params| {
            KernelsEngine::default().loss_and_gradients(&config, weights, &batch, FakeQuant::Off).unwrap()
        };
        let gradients = run(&weights).gradients;
        for (name, gradient) in gradients.iter() {
            let square: f64 = gradient.data().iter().map(|&g| f64::from(g) * f64::from(g)).sum();
            let largest = gradient.data().iter().fold(0.0f64, |largest, &g| largest.max(f64::from(g).abs()));
            if largest == 0.0 {
                continue;
            }
            // As far as moves the loss by a little, or some weight by a hundredth.
            let length = (5e-4 / square).min(0.01 / largest);
            let loss_at = |by: f64| {
                let mut weights = weights.clone();
                let values = weights.get_mut(name).unwrap().data_mut().iter_mut().zip(gradient.data());
                values.for_each(|(value, &g)| *value += by as f32 * g);
                f64::from(run(&weights).loss)
            };
            let (found, expected) = (loss_at(length) - loss_at(-length), 2.0 * length * square);
            // The loss is a sum of rounded terms.
            let resolved = 2e-6;
            assert!(
                (found - expected).abs() < 0.01 * expected + resolved,
                "{name}: {found:e} where {expected:e} is due"
            );
        }
        // Weights that nothing reads have no gradient: of the skips after a split that loses them.
        if config.parallel_residual.is_some_and(|parallel| parallel.lanes == Lanes::TwoSkipsLost) {
            let skips = gradients.get("skip_weights").unwrap().data();
            assert!(skips[config.model_dim..].iter().all(|&g| g == 0.0) && skips[0] != 0.0);
        }
    }
}

/// The last visit is computed for the scored positions alone.
#[test]
fn the_end_of_a_window_is_scored_as_in_the_whole() {
    for config in family() {
        let (weights, tokens) = (noisy_weights(&config), tokens(&config, 30));
        let scorer = KernelsEngine::default().scorer(&config, &weights).unwrap();
        let nll = |first_scored| scorer.nll(&[Window { tokens: &tokens, first_scored }]).unwrap().remove(0);
        let all = nll(0);
        for first in [1, 20, 28] {
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 2e-6 * b.abs().max(1.0);
            assert!(nll(first).iter().zip(&all[first..]).all(close));
        }
    }
}
