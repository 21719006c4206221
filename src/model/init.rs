//! How parameters start (model specification of PR #286, section 3).

use rayon::prelude::*;

use super::orthogonal::orthogonal;
use super::{HostTensor, ModelConfig, ParamSpec, Params, layout};
use crate::random::RandomStream;

/// Linears with both sides at least this long start orthogonal; smaller ones keep PyTorch's default.
pub(super) const ORTHOGONAL_MIN_SIDE: usize = 64;
/// Initial factor of the bigram residual.
const BIGRAM_SCALE: f32 = 0.05;

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
    let leaf = spec.name.splitn(3, '.').last().filter(|_| spec.name.starts_with("blocks.")).unwrap_or(&spec.name);
    match leaf {
        "skip_weights" | "attn_scale" | "mlp_scale" => constant(1.0),
        // Half of the previous token from the start: sigmoid(0).
        "smear.gate" => constant(0.0),
        "attn.q_gain" => constant(config.qk_gain_init as f32),
        "resid_mix" => {
            let mut mix = constant(1.0);
            let dim = config.model_dim;
            mix.data_mut().iter_mut().skip(dim).for_each(|from_input| *from_input = 0.0);
            mix
        }
        "tok_emb.weight" if config.tie_embeddings => normal(shape, config.tied_embed_init_std, stream),
        // The script sets a deviation for tied tables only; untied ones keep PyTorch's default for embeddings.
        "tok_emb.weight" => normal(shape, 1.0, stream),
        "bigram.scale" => constant(BIGRAM_SCALE),
        "bigram.embed.weight" => constant(0.0),
        // Its constructor sets zeros; the pass over all linears then overwrites large ones, and this is the only
        // projection its depth scaling reaches, because those inside the blocks are flagged to stay zero.
        "bigram.proj.weight" => match is_large(shape) {
            true => linear(shape, 1.0 / libm::sqrt(2.0 * config.num_layers as f64), stream),
            false => constant(0.0),
        },
        "attn.proj.weight" | "mlp.proj.weight" | "lm_head.weight" => constant(0.0),
        _ => linear(shape, 1.0, stream),
    }
}

fn is_large(shape: &[usize]) -> bool {
    shape.iter().all(|&side| side >= ORTHOGONAL_MIN_SIDE)
}

/// Orthogonal times `gain` when large, uniform within `1 / sqrt(inputs)` otherwise.
fn linear(shape: &[usize], gain: f64, stream: &mut RandomStream) -> HostTensor {
    let [rows, columns] = shape else { return HostTensor::zeros(shape) };
    if is_large(shape) {
        let values = orthogonal(stream, *rows, *columns);
        return filled(shape, values.into_iter().map(|value| (value * gain) as f32));
    }
    let bound = 1.0 / libm::sqrt(*columns as f64);
    filled(shape, std::iter::repeat_with(|| (bound * (2.0 * stream.uniform() - 1.0)) as f32))
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
    fn another_tensor_changes_no_other() {
        let with = init(&small(), 9);
        let without = init(&ModelConfig { bigram_vocab_size: 0, ..small() }, 9);
        let name = "blocks.2.attn.c_q.weight";
        assert_eq!(with.get(name), without.get(name));
        assert_ne!(with.get(name), init(&small(), 10).get(name));
    }
}
