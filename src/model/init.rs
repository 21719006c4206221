//! How parameters start: PR #286's rule and the others of the leaderboard.

use rayon::prelude::*;

use super::orthogonal::orthogonal;
use super::singular_values::overtone;
use super::{HostTensor, InitRule, ModelConfig, ParamSpec, Params, in_block, layout};
use crate::random::RandomStream;

/// Linears with both sides at least this long start orthogonal; smaller ones keep PyTorch's default.
pub(super) const ORTHOGONAL_MIN_SIDE: usize = 64;
/// Initial factor of the bigram residual.
const BIGRAM_SCALE: f32 = 0.05;
/// Initial factor of the value embedding (414).
const VALUE_SCALE: f32 = 0.1;
/// Standard deviation of the value embedding's table (414).
const VALUE_TABLE_STD: f64 = 0.01;
/// Slope over depth of the logit of what a block keeps of the stream (60).
const OVERTONE_MIX_SLOPE: f64 = 3.0;

/// The parameters at step 0: a function of the configuration and the seed alone.
///
/// Each tensor draws from its own stream, named like the tensor. The configuration must have passed
/// [`ModelConfig::check`].
pub fn init(config: &ModelConfig, seed: u64) -> Params {
    let tensor = |spec: ParamSpec| {
        let mut stream = RandomStream::new(seed, &spec.name);
        let tensor = initial(config, &spec, &mut stream);
        (spec.name, tensor)
    };
    Params::from_entries(layout(config).into_par_iter().map(tensor).collect())
}

fn initial(config: &ModelConfig, spec: &ParamSpec, stream: &mut RandomStream) -> HostTensor {
    let shape = spec.shape.as_slice();
    let constant = |value| HostTensor::full(shape, value);
    let (block, leaf) = match in_block(&spec.name) {
        Some((index, leaf)) => (index.parse().unwrap_or(0), leaf),
        None => (0, spec.name.as_str()),
    };
    match leaf {
        "skip_weights" | "attn_scale" | "mlp_scale" => constant(1.0),
        // Half of the previous token, or of the skip, from the start: sigmoid(0).
        "smear.gate" | "skip_gates" => constant(0.0),
        "lane_merge" => constant(0.5),
        "attn.attn_gate_w" => match config.attention_gate.map_or(0.0, |gate| gate.init_std) {
            0.0 => constant(0.0),
            deviation => normal(shape, deviation, stream),
        },
        "attn.q_gain" => constant(config.qk_gain_init as f32),
        "resid_mix" => resid_mix(config, block),
        "tok_emb.weight" if config.tie_embeddings => table(config, shape, config.tied_embed_init_std, stream),
        // The script sets a deviation for tied tables only; untied ones keep PyTorch's default for embeddings.
        "tok_emb.weight" => table(config, shape, 1.0, stream),
        "bigram.scale" => constant(BIGRAM_SCALE),
        "bigram.embed.weight" => constant(0.0),
        "ve_shared.scale" => constant(VALUE_SCALE),
        "ve_shared.embed.weight" => normal(shape, VALUE_TABLE_STD, stream),
        "bigram.proj.weight" | "ve_shared.proj.weight" => table_projection(config, shape, stream),
        "attn.proj.weight" | "mlp.proj.weight" | "lm_head.weight" => constant(0.0),
        _ if leaf.starts_with("ve_layer_scales.") => constant(1.0),
        _ => linear(config.init, shape, stream),
    }
}

/// The mixture of stream and embedding that a block starts with: the stream alone, or a share that grows with depth.
fn resid_mix(config: &ModelConfig, block: usize) -> HostTensor {
    let dim = config.model_dim;
    let kept = match config.init {
        InitRule::Overtone => {
            let depth = block as f64 / config.num_layers.saturating_sub(1).max(1) as f64;
            1.0 / (1.0 + libm::exp(-OVERTONE_MIX_SLOPE * (depth - 0.5)))
        }
        _ => 1.0,
    };
    let rows = std::iter::repeat_n(kept, dim).chain(std::iter::repeat_n(1.0 - kept, dim));
    filled(&[2, dim], rows.map(|value| value as f32))
}

/// The embedding table: normal, or normal with the singular values of an overtone series.
fn table(config: &ModelConfig, shape: &[usize], deviation: f64, stream: &mut RandomStream) -> HostTensor {
    let (InitRule::Overtone, &[rows, columns]) = (config.init, shape) else { return normal(shape, deviation, stream) };
    let drawn: Vec<f64> = (0..rows * columns).map(|_| deviation * stream.normal()).collect();
    // The rotations work on the shorter side.
    let transpose = |matrix: &[f64], columns: usize| -> Vec<f64> {
        (0..columns).flat_map(|c| matrix.iter().skip(c).step_by(columns).copied()).collect()
    };
    let values = if rows >= columns {
        let mut values = drawn;
        overtone(&mut values, columns);
        values
    } else {
        let mut values = transpose(&drawn, columns);
        overtone(&mut values, rows);
        transpose(&values, rows)
    };
    filled(shape, values.into_iter().map(|value| value as f32))
}

/// The projection of the bigram table or the value embedding. Its constructor sets zeros, which the pass over all linears
/// overwrites if it reaches them.
fn table_projection(config: &ModelConfig, shape: &[usize], stream: &mut RandomStream) -> HostTensor {
    let gain = match config.init {
        InitRule::Torch | InitRule::Overtone => return HostTensor::zeros(shape),
        // The only projections that depth scaling reaches: those inside the blocks are flagged to stay zero.
        InitRule::Orthogonal => 1.0 / libm::sqrt(2.0 * config.num_layers as f64),
        InitRule::OrthogonalUnscaled | InitRule::OrthogonalAnySize => 1.0,
    };
    if is_large(shape) { orthogonal_linear(shape, gain, stream) } else { HostTensor::zeros(shape) }
}

fn is_large(shape: &[usize]) -> bool {
    shape.iter().all(|&side| side >= ORTHOGONAL_MIN_SIDE)
}

/// Orthogonal where the rule has it so, uniform within `1 / sqrt(inputs)` otherwise.
fn linear(rule: InitRule, shape: &[usize], stream: &mut RandomStream) -> HostTensor {
    let is_orthogonal = match rule {
        InitRule::Orthogonal | InitRule::OrthogonalUnscaled => is_large(shape),
        InitRule::OrthogonalAnySize => true,
        InitRule::Torch | InitRule::Overtone => false,
    };
    if is_orthogonal {
        return orthogonal_linear(shape, 1.0, stream);
    }
    let bound = 1.0 / libm::sqrt(shape.last().copied().unwrap_or(1) as f64);
    filled(shape, std::iter::repeat_with(|| (bound * (2.0 * stream.uniform() - 1.0)) as f32))
}

fn orthogonal_linear(shape: &[usize], gain: f64, stream: &mut RandomStream) -> HostTensor {
    let [rows, columns] = shape else { return HostTensor::zeros(shape) };
    let values = orthogonal(stream, *rows, *columns);
    filled(shape, values.into_iter().map(|value| (value * gain) as f32))
}

fn normal(shape: &[usize], deviation: f64, stream: &mut RandomStream) -> HostTensor {
    filled(shape, std::iter::repeat_with(|| (deviation * stream.normal()) as f32))
}

fn filled(shape: &[usize], values: impl Iterator<Item = f32>) -> HostTensor {
    let mut tensor = HostTensor::zeros(shape);
    tensor.data_mut().iter_mut().zip(values).for_each(|(slot, value)| *slot = value);
    tensor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> ModelConfig {
        ModelConfig {
            num_layers: 3,
            model_dim: 128,
            num_heads: 4,
            num_kv_heads: 2,
            bigram_dim: 64,
            ..Default::default()
        }
    }

    fn deviation(values: &[f32]) -> f64 {
        (values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    }

    fn norm(values: &[f32]) -> f64 {
        deviation(values) * (values.len() as f64).sqrt()
    }

    #[test]
    fn bigram_projection_has_the_published_norm() {
        // sqrt(128 / (2 * 10)) = 2.5298 at the defaults: 128 orthonormal columns, scaled by depth.
        let config = ModelConfig { vocab_size: 8, bigram_vocab_size: 2, ..Default::default() };
        let spec = layout(&config).into_iter().find(|spec| spec.name == "bigram.proj.weight").unwrap();
        let tensor = initial(&config, &spec, &mut RandomStream::new(1, "x"));
        assert!((norm(tensor.data()) - 2.5298).abs() < 1e-4);
    }

    #[test]
    fn matrices_are_orthonormal_and_projections_zero() {
        let params = init(&small(), 1337);
        for name in ["attn.c_q", "attn.c_k", "attn.c_v", "mlp.fc"] {
            let tensor = params.get(&format!("blocks.1.{name}.weight")).unwrap();
            let (rows, columns) = tensor.matrix_sides().unwrap();
            let at = |r: usize, c: usize| f64::from(tensor.data()[r * columns + c]);
            let product = |i: usize, j: usize| -> f64 {
                match rows <= columns {
                    true => (0..columns).map(|c| at(i, c) * at(j, c)).sum(),
                    false => (0..rows).map(|r| at(r, i) * at(r, j)).sum(),
                }
            };
            for (i, j) in [(0, 0), (0, 1), (5, 63), (63, 63), (17, 18)] {
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((product(i, j) - expected).abs() < 1e-5, "{name} {i} {j}");
            }
        }
        for name in ["blocks.2.attn.proj.weight", "blocks.0.mlp.proj.weight", "bigram.embed.weight", "smear.gate"] {
            assert!(params.get(name).unwrap().data().iter().all(|&value| value == 0.0), "{name}");
        }
    }

    #[test]
    fn controls_and_tables_start_as_specified() {
        let config = small();
        let params = init(&config, 1337);
        let values = |name: &str| params.get(name).unwrap().data();
        // 131,072 draws: the sample deviation is within 1 % of 0.005.
        assert!((deviation(values("tok_emb.weight")) / 0.005 - 1.0).abs() < 0.01);
        assert_eq!(values("bigram.scale"), [0.05]);
        assert!(values("blocks.0.attn.q_gain").iter().all(|&gain| gain == 1.5));
        let (kept, from_input) = values("blocks.2.resid_mix").split_at(128);
        assert!(kept.iter().all(|&v| v == 1.0) && from_input.iter().all(|&v| v == 0.0));
        assert!(values("skip_weights").iter().chain(values("blocks.1.mlp_scale")).all(|&v| v == 1.0));

        assert_eq!(params.check_layout(&config), Ok(()));
    }

    #[test]
    fn small_linears_are_uniform_and_a_small_bigram_projection_stays_zero() {
        let config = ModelConfig { model_dim: 48, bigram_dim: 16, ..small() };
        let params = init(&config, 5);
        let fc = params.get("blocks.0.mlp.fc.weight").unwrap().data();
        let bound = 1.0 / 48f64.sqrt();
        assert!(fc.iter().all(|&v| f64::from(v).abs() <= bound));
        // The deviation of a uniform is its bound over sqrt(3).
        assert!((deviation(fc) * 3f64.sqrt() / bound - 1.0).abs() < 0.03);
        assert_eq!(norm(params.get("bigram.proj.weight").unwrap().data()), 0.0);
    }

    #[test]
    fn untied_networks_have_a_zero_head() {
        let config = ModelConfig { tie_embeddings: false, ..small() };
        let params = init(&config, 5);
        assert_eq!(norm(params.get("lm_head.weight").unwrap().data()), 0.0);
        assert!((deviation(params.get("tok_emb.weight").unwrap().data()) - 1.0).abs() < 0.01);
    }

    #[test]
    fn other_rules_differ_where_their_scripts_do() {
        let of = |init| ModelConfig { init, value_embedding: values(), ..small() };
        fn values() -> Option<crate::model::ValueEmbedding> {
            Some(crate::model::ValueEmbedding { dim: 128, blocks: vec![1, 2] })
        }
        let norms = |rule, name: &str| norm(init(&of(rule), 3).get(name).unwrap().data());
        // 64 orthonormal columns or rows; divided by sqrt(2 * 3) in the first rule.
        for (rule, expected) in [
            (InitRule::Orthogonal, (64.0f64 / 6.0).sqrt()),
            (InitRule::OrthogonalUnscaled, 8.0),
            (InitRule::OrthogonalAnySize, 8.0),
            (InitRule::Torch, 0.0),
        ] {
            assert!((norms(rule, "bigram.proj.weight") - expected).abs() < 1e-5, "{rule:?}");
            assert!((norms(rule, "ve_shared.proj.weight") - expected).abs() < 1e-5, "{rule:?}");
        }
        let uniform = init(&of(InitRule::Torch), 3);
        let fc = uniform.get("blocks.0.mlp.fc.weight").unwrap().data();
        assert!((deviation(fc) * (3.0 * 128.0f64).sqrt() - 1.0).abs() < 0.01);
        // A matrix below 64 a side is orthogonal only where any size is.
        let narrow = |rule| init(&ModelConfig { model_dim: 48, bigram_vocab_size: 0, init: rule, ..small() }, 3);
        let key = |rule| norm(narrow(rule).get("blocks.0.attn.c_k.weight").unwrap().data());
        assert!((key(InitRule::OrthogonalAnySize) - 24f64.sqrt()).abs() < 1e-5);
        assert!((key(InitRule::Orthogonal) - 8f64.sqrt()).abs() < 0.5);

        let params = init(&of(InitRule::Overtone), 3);
        // Block 1 of 3 is half way: sigmoid(0). Block 2 is at the end: sigmoid(1.5).
        let mix = |block: usize| params.get(&format!("blocks.{block}.resid_mix")).unwrap().data();
        assert!(mix(1).iter().all(|&share| (share - 0.5).abs() < 1e-7));
        assert!((f64::from(mix(2)[0]) - 1.0 / (1.0 + (-1.5f64).exp())).abs() < 1e-7);
        assert!((mix(2)[0] + mix(2)[128] - 1.0).abs() < 1e-6);
        assert_eq!(params.get("ve_shared.scale").unwrap().data(), [0.1]);
        assert_eq!(params.get("ve_layer_scales.1").unwrap().data(), [1.0]);
    }

    #[test]
    fn another_tensor_changes_no_other() {
        let with = init(&small(), 9);
        let without = init(&ModelConfig { bigram_vocab_size: 0, ..small() }, 9);
        let name = "blocks.2.attn.c_q.weight";
        assert_eq!(with.get(name), without.get(name));
        assert_ne!(with.get(name), init(&small(), 10).get(name));
    }
}
