//! The parameters by name, in state-dict order, with the role each plays in optimization and export.

use rayon::prelude::*;

use super::{HostTensor, ModelConfig, Skips};

/// What a parameter is, for the optimizer groups and the quantizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamRole {
    /// `tok_emb.weight` and the tables of bigrams and values: AdamW at the embedding rate.
    Embedding,
    /// Block matrices and the projections of those tables: Muon.
    Matrix,
    /// Gains, gates, mixes, scales, skips, the merge of lanes: AdamW at the scalar rate.
    Control,
    /// `lm_head.weight`, present when embeddings are untied: Adam at the head rate, no decay.
    Head,
}

/// Name, shape and role of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamSpec {
    /// State-dict name.
    pub name: String,
    /// Sides; linears are [out, in].
    pub shape: Vec<usize>,
    /// What it is.
    pub role: ParamRole,
}

/// Of a parameter `blocks.N.REST`: N, which the name need not spell as a number, and REST.
pub(crate) fn in_block(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("blocks.")?.split_once('.')
}

/// Every parameter of the network in state-dict order.
pub fn layout(config: &ModelConfig) -> Vec<ParamSpec> {
    use ParamRole::{Control, Embedding, Head, Matrix};
    let (dim, kv, hidden) = (config.model_dim, config.kv_dim(), config.mlp_hidden());
    let mut specs = Vec::new();
    let mut add = |name: String, shape: &[usize], role| specs.push(ParamSpec { name, shape: shape.to_vec(), role });
    if config.skips != Skips::None {
        add("skip_weights".into(), &[config.num_skips(), dim], Control);
    }
    if config.skips == Skips::Gated {
        add("skip_gates".into(), &[config.num_skips(), dim], Control);
    }
    if config.has_lanes() {
        add("lane_merge".into(), &[], Control);
    }
    add("tok_emb.weight".into(), &[config.vocab_size, dim], Embedding);
    if config.has_bigram() {
        add("bigram.scale".into(), &[], Control);
        add("bigram.embed.weight".into(), &[config.bigram_vocab_size, config.bigram_dim], Embedding);
        if config.has_bigram_projection() {
            add("bigram.proj.weight".into(), &[dim, config.bigram_dim], Matrix);
        }
    }
    if config.smear {
        add("smear.gate".into(), &[dim], Control);
    }
    for i in 0..config.num_layers {
        let mut block = |name: &str, shape: &[usize], role| add(format!("blocks.{i}.{name}"), shape, role);
        block("attn_scale", &[dim], Control);
        block("mlp_scale", &[dim], Control);
        if config.resid_mix {
            block("resid_mix", &[2, dim], Control);
        }
        block("attn.q_gain", &[config.num_heads], Control);
        if let Some(gate) = &config.attention_gate {
            block("attn.attn_gate_w", &[config.num_heads, gate.width], Control);
        }
        block("attn.c_q.weight", &[dim, dim], Matrix);
        block("attn.c_k.weight", &[kv, dim], Matrix);
        block("attn.c_v.weight", &[kv, dim], Matrix);
        block("attn.proj.weight", &[dim, dim], Matrix);
        block("mlp.fc.weight", &[hidden, dim], Matrix);
        block("mlp.proj.weight", &[dim, hidden], Matrix);
    }
    if let Some(embedding) = &config.value_embedding {
        add("ve_shared.scale".into(), &[], Control);
        add("ve_shared.embed.weight".into(), &[config.vocab_size, embedding.dim], Embedding);
        if config.has_value_projection() {
            add("ve_shared.proj.weight".into(), &[kv, embedding.dim], Matrix);
        }
        for j in 0..embedding.blocks.len() {
            add(format!("ve_layer_scales.{j}"), &[1], Control);
        }
    }
    if !config.tie_embeddings {
        add("lm_head.weight".into(), &[config.vocab_size, dim], Head);
    }
    specs
}

/// Number of parameters, in closed form and without allocating: safe on unchecked layer counts.
pub(super) fn count(config: &ModelConfig) -> u128 {
    let wide = |n: usize| n as u128;
    let (dim, kv, hidden) = (wide(config.model_dim), wide(config.kv_dim()), wide(config.mlp_hidden()));
    let mix = if config.resid_mix { 2 * dim } else { 0 };
    let gate = wide(config.num_heads) * config.attention_gate.map_or(0, |gate| wide(gate.width));
    let block = 2 * dim + mix + gate + wide(config.num_heads) + 2 * dim * dim + 2 * kv * dim + 2 * hidden * dim;
    let bigram = match (config.has_bigram(), config.has_bigram_projection()) {
        (false, _) => 0,
        (true, projected) => {
            let width = wide(config.bigram_dim);
            1 + wide(config.bigram_vocab_size) * width + if projected { dim * width } else { 0 }
        }
    };
    let tables = wide(config.vocab_size) * dim * if config.tie_embeddings { 1 } else { 2 };
    let values = config.value_embedding.as_ref().map_or(0, |embedding| {
        let width = wide(embedding.dim);
        let projection = if config.has_value_projection() { kv * width } else { 0 };
        1 + wide(config.vocab_size) * width + projection + wide(embedding.blocks.len())
    });
    let skips = wide(config.num_skips()) * dim * if config.skips == Skips::Gated { 2 } else { 1 };
    let smear = if config.smear { dim } else { 0 };
    let merge = u128::from(config.has_lanes());
    skips + merge + tables + bigram + smear + values + wide(config.num_layers) * block
}

/// Named tensors in state-dict order: weights, gradients or optimizer state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    entries: Vec<(String, HostTensor)>,
}

/// Tensors that are not those of a configuration.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutMismatch {
    /// A parameter is absent.
    #[error("tensor `{name}` {expected:?} is missing; check the model section of the manifest")]
    Missing {
        /// State-dict name.
        name: String,
        /// Shape the configuration gives it.
        expected: Vec<usize>,
    },
    /// A parameter has another shape.
    #[error("tensor `{name}` has shape {found:?} where the model section gives {expected:?}")]
    Shape {
        /// State-dict name.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape the configuration gives it.
        expected: Vec<usize>,
    },
    /// There is a tensor the configuration has no place for.
    #[error("tensor `{name}` does not belong to this model; check the model section of the manifest")]
    Unexpected {
        /// Its name.
        name: String,
    },
    /// A value is NaN or infinite.
    #[error("tensor `{name}` holds {value} at element {index}: the weights are damaged or training diverged")]
    NotFinite {
        /// State-dict name.
        name: String,
        /// Row-major index of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
}

impl Params {
    /// Wraps named tensors in the order given.
    pub fn from_entries(entries: Vec<(String, HostTensor)>) -> Self {
        Params { entries }
    }

    /// Zeros in the layout of a configuration.
    pub fn zeros(config: &ModelConfig) -> Self {
        let zero = |spec: ParamSpec| (spec.name, HostTensor::zeros(&spec.shape));
        Params { entries: layout(config).into_iter().map(zero).collect() }
    }

    /// Puts tensors into the order of `config`'s layout, checking names, shapes and that every value is finite.
    pub fn arrange(self, config: &ModelConfig) -> Result<Self, LayoutMismatch> {
        let mut found: std::collections::BTreeMap<_, _> = self.entries.into_iter().collect();
        let mut entries = Vec::new();
        for ParamSpec { name, shape: expected, .. } in layout(config) {
            let Some(tensor) = found.remove(&name) else {
                return Err(LayoutMismatch::Missing { name, expected });
            };
            if tensor.shape() != expected {
                return Err(LayoutMismatch::Shape { name, found: tensor.shape().to_vec(), expected });
            }
            if let Some(index) = tensor.data().iter().position(|value| !value.is_finite()) {
                let value = tensor.data()[index];
                return Err(LayoutMismatch::NotFinite { name, index, value });
            }
            entries.push((name, tensor));
        }
        match found.into_keys().next() {
            Some(name) => Err(LayoutMismatch::Unexpected { name }),
            None => Ok(Params { entries }),
        }
    }

    /// Checks that these are a configuration's parameters: the names in order and their shapes, not the values.
    pub fn check_layout(&self, config: &ModelConfig) -> Result<(), LayoutMismatch> {
        let mut found = self.entries.iter();
        for ParamSpec { name, shape: expected, .. } in layout(config) {
            match found.next() {
                Some((known, tensor)) if *known == name && tensor.shape() == expected => {}
                Some((known, tensor)) if *known == name => {
                    return Err(LayoutMismatch::Shape { name, found: tensor.shape().to_vec(), expected });
                }
                _ => return Err(LayoutMismatch::Missing { name, expected }),
            }
        }
        found.next().map_or(Ok(()), |(name, _)| Err(LayoutMismatch::Unexpected { name: name.clone() }))
    }

    /// Names and tensors in order, by value.
    pub fn into_entries(self) -> Vec<(String, HostTensor)> {
        self.entries
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&HostTensor> {
        self.entries.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor)
    }

    /// The tensor of that name, for updating.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut HostTensor> {
        self.entries.iter_mut().find(|(known, _)| known == name).map(|(_, tensor)| tensor)
    }

    /// Names and tensors in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &HostTensor)> + DoubleEndedIterator {
        self.entries.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Names and tensors in order, for updating.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &mut HostTensor)> {
        self.entries.iter_mut().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// `self += other`, tensor by tensor. Tensors are in the same order in both.
    pub fn add_assign(&mut self, other: &Params) {
        let pairs = self.entries.par_iter_mut().zip(&other.entries);
        pairs.for_each(|((_, sum), (_, other))| add_values(sum.data_mut(), other.data()));
    }

    /// Number of values in all tensors.
    pub fn num_elements(&self) -> usize {
        self.entries.iter().map(|(_, tensor)| tensor.len()).sum()
    }
}

/// `sum += other`, value by value.
pub fn add_values(sum: &mut [f32], other: &[f32]) {
    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lanes, ParallelResidual, Recurrence, ValueEmbedding};

    #[test]
    fn default_network_has_24_730_705_parameters() {
        // PR 286's log: model_params:24730705.
        let config = ModelConfig::default();
        let elements: usize = layout(&config).iter().map(|spec| spec.shape.iter().product::<usize>()).sum();
        assert_eq!(elements, 24_730_705);
        assert_eq!(count(&config), 24_730_705);
    }

    #[test]
    fn networks_of_the_leaderboard_have_the_counts_of_their_logs() {
        let naive =
            ModelConfig { num_layers: 9, mlp_mult: 2.0, bigram_vocab_size: 0, smear: false, ..Default::default() };
        let of_287 = ModelConfig { num_layers: 9, ..Default::default() };
        let of_414 = ModelConfig {
            num_layers: 11,
            bigram_vocab_size: 2048,
            value_embedding: Some(ValueEmbedding { dim: 128, blocks: vec![9, 10] }),
            ..Default::default()
        };
        let of_1218 = ModelConfig {
            vocab_size: 4096,
            mlp_mult: 4.0,
            bigram_vocab_size: 0,
            smear: false,
            skips: Skips::Gated,
            ..of_414.clone()
        };
        let two_lanes = Some(ParallelResidual { start: 7, lanes: Lanes::TwoSkipsLost });
        let inserted = Recurrence::Insert { blocks: vec![4, 5], from_step: 3000 };
        let of_1334 = ModelConfig { recurrence: Some(inserted), parallel_residual: two_lanes, ..of_1218.clone() };
        let looped = |first| Recurrence::Loop { first, last: 5, repeats: 2, from_fraction: vec![0.5] };
        let of_1394 =
            ModelConfig { vocab_size: 8192, value_embedding: None, recurrence: Some(looped(4)), ..of_1218.clone() };
        let of_1477 = ModelConfig { parallel_residual: two_lanes, ..of_1394.clone() };
        let of_1493 = ModelConfig { recurrence: Some(looped(3)), ..of_1394.clone() };
        for (config, expected) in [
            (naive, 17_059_912),
            (of_287, 22_368_841),
            (of_414, 26_993_756),
            (of_1218, 34_401_371),
            (of_1334, 34_401_372),
            (of_1394, 35_943_512),
            (of_1477, 35_943_513),
            (of_1493, 35_944_536),
        ] {
            assert_eq!(config.check(), Ok(()));
            assert_eq!(count(&config), expected);
        }
    }

    #[test]
    fn closed_form_count_matches_the_layout_for_odd_shapes() {
        let base = ModelConfig { model_dim: 64, num_heads: 4, num_kv_heads: 2, vocab_size: 100, ..Default::default() };
        let values = |dim| Some(ValueEmbedding { dim, blocks: vec![1, 0] });
        let again = Recurrence::Loop { first: 1, last: 2, repeats: 2, from_fraction: vec![0.5] };
        let two = Some(ParallelResidual { start: 3, lanes: Lanes::Two });
        for config in [
            ModelConfig { num_layers: 1, ..base.clone() },
            ModelConfig { num_layers: 5, tie_embeddings: false, ..base.clone() },
            ModelConfig { num_layers: 2, bigram_dim: 64, ..base.clone() },
            ModelConfig { num_layers: 3, bigram_vocab_size: 0, mlp_mult: 2.3, ..base.clone() },
            ModelConfig { smear: false, skips: Skips::Gated, resid_mix: false, ..base.clone() },
            ModelConfig { skips: Skips::None, value_embedding: values(16), ..base.clone() },
            ModelConfig { value_embedding: values(32), recurrence: Some(again), parallel_residual: two, ..base },
        ] {
            let elements: usize = layout(&config).iter().map(|spec| spec.shape.iter().product::<usize>()).sum();
            assert_eq!(count(&config), elements as u128, "{config:?}");
        }
    }

    #[test]
    fn arrange_reports_what_does_not_fit() {
        let config = ModelConfig { num_layers: 1, model_dim: 8, num_heads: 2, num_kv_heads: 1, ..Default::default() };
        let good = Params::zeros(&config);
        assert_eq!(good.clone().arrange(&config).unwrap(), good);

        let mut extra = good.clone();
        extra.entries.push(("rope.cos".into(), HostTensor::zeros(&[1])));
        assert_eq!(extra.arrange(&config), Err(LayoutMismatch::Unexpected { name: "rope.cos".into() }));

        let mut nan = good.clone();
        nan.get_mut("smear.gate").unwrap().data_mut()[3] = f32::NAN;
        let error = nan.arrange(&config).unwrap_err();
        assert!(matches!(error, LayoutMismatch::NotFinite { index: 3, .. }), "{error}");

        let mut short = good;
        short.entries.remove(0);
        assert!(matches!(short.arrange(&config), Err(LayoutMismatch::Missing { .. })));
    }
}
