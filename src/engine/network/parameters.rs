//! The parameters, or their gradients, on a device.

use std::collections::BTreeMap;

use super::traits::Kernels;
use crate::model::{self, HostTensor, LayoutMismatch, ModelConfig, ParamRole, ParamSpec, Params, layout};

/// One value in the state dict, one a channel on the device.
const BIGRAM_SCALE: &str = "bigram.scale";

/// The bigram table and its projection, absent when the table is as wide as the model.
pub(in crate::engine) struct Bigram<B> {
    /// One factor a channel; in single precision, and where there is no projection, folded and unused.
    pub scale: B,
    pub table: B,
    pub projection: Option<B>,
}

/// One block's parameters. In single precision the two channel scales are folded into the projections and unused.
pub(in crate::engine) struct Block<B> {
    pub attn_scale: B,
    pub mlp_scale: B,
    pub resid_mix: Option<B>,
    pub q_gain: B,
    /// Of each head, the weights of its gate.
    pub attn_gate: Option<B>,
    pub c_q: B,
    pub c_k: B,
    pub c_v: B,
    pub attn_proj: B,
    pub fc: B,
    pub mlp_proj: B,
}

impl<B> Bigram<B> {
    fn build<E>(config: &ModelConfig, param: &mut impl FnMut(String) -> Result<B, E>) -> Result<Self, E> {
        Ok(Bigram {
            scale: param(BIGRAM_SCALE.into())?,
            table: param("bigram.embed.weight".into())?,
            projection: if config.has_bigram_projection() { Some(param("bigram.proj.weight".into())?) } else { None },
        })
    }
}

impl<B> Block<B> {
    fn build<E>(config: &ModelConfig, index: usize, param: &mut impl FnMut(String) -> Result<B, E>) -> Result<Self, E> {
        let mut part = |name: &str| param(format!("blocks.{index}.{name}"));
        Ok(Block {
            attn_scale: part("attn_scale")?,
            mlp_scale: part("mlp_scale")?,
            resid_mix: if config.resid_mix { Some(part("resid_mix")?) } else { None },
            q_gain: part("attn.q_gain")?,
            attn_gate: if config.attention_gate.is_some() { Some(part("attn.attn_gate_w")?) } else { None },
            c_q: part("attn.c_q.weight")?,
            c_k: part("attn.c_k.weight")?,
            c_v: part("attn.c_v.weight")?,
            attn_proj: part("attn.proj.weight")?,
            fc: part("mlp.fc.weight")?,
            mlp_proj: part("mlp.proj.weight")?,
        })
    }
}

impl<B> Block<B> {
    /// Matrices of one input as the device wants them.
    fn stacked<K: Kernels<Buffer = B>>(self, k: &K) -> Self {
        let [c_q, c_k, c_v] = k.stacked([self.c_q, self.c_k, self.c_v]);
        Block { c_q, c_k, c_v, ..self }
    }
}

/// Weights of the skips, a row each, and their gates.
pub(in crate::engine) struct Skips<B> {
    pub weights: B,
    pub gates: Option<B>,
}

impl<B> Skips<B> {
    fn build<E>(config: &ModelConfig, param: &mut impl FnMut(String) -> Result<B, E>) -> Result<Option<Self>, E> {
        let kind = config.skips;
        if kind == model::Skips::None {
            return Ok(None);
        }
        let weights = param("skip_weights".into())?;
        let gates = if kind == model::Skips::Gated { Some(param("skip_gates".into())?) } else { None };
        Ok(Some(Skips { weights, gates }))
    }
}

/// The value embedding: its table, projection (absent where the table is as wide as keys and values), and scales of one
/// value each.
pub(in crate::engine) struct ValueTable<B> {
    pub scale: B,
    pub table: B,
    pub projection: Option<B>,
    /// Of the blocks that add it, in the order they are listed.
    pub layer_scales: Vec<B>,
}

impl<B> ValueTable<B> {
    fn build<E>(config: &ModelConfig, param: &mut impl FnMut(String) -> Result<B, E>) -> Result<Option<Self>, E> {
        let Some(embedding) = &config.value_embedding else { return Ok(None) };
        Ok(Some(ValueTable {
            scale: param("ve_shared.scale".into())?,
            table: param("ve_shared.embed.weight".into())?,
            projection: if config.has_value_projection() { Some(param("ve_shared.proj.weight".into())?) } else { None },
            layer_scales: (0..embedding.blocks.len())
                .map(|j| param(format!("ve_layer_scales.{j}")))
                .collect::<Result<_, _>>()?,
        }))
    }
}

/// All parameters. What a configuration has not is absent.
pub(in crate::engine) struct Network<B> {
    pub skips: Option<Skips<B>>,
    /// The weight of the first of two lanes, one value.
    pub lane_merge: Option<B>,
    pub tok_emb: B,
    pub bigram: Option<Bigram<B>>,
    pub smear_gate: Option<B>,
    pub blocks: Vec<Block<B>>,
    pub value_table: Option<ValueTable<B>>,
    pub lm_head: Option<B>,
}

/// Matrices with the scale that follows them folded in, for the backward pass of a network that has them separately.
pub(in crate::engine) struct Scaled<B> {
    /// Of each block, attention's and the MLP's projection.
    pub blocks: Vec<[B; 2]>,
    /// The bigram table's.
    pub projection: Option<B>,
}

impl<B> Scaled<B> {
    /// Uploads them out of folded weights.
    pub fn upload<K: Kernels<Buffer = B>>(
        k: &K,
        config: &ModelConfig,
        folded: &Params,
    ) -> Result<Self, LayoutMismatch> {
        let matrix = |name: String| match folded.get(&name) {
            Some(tensor) => Ok(k.store(tensor.data())),
            None => Err(LayoutMismatch::Missing { name, expected: Vec::new() }),
        };
        let block = |i| -> Result<[B; 2], LayoutMismatch> {
            Ok([matrix(format!("blocks.{i}.attn.proj.weight"))?, matrix(format!("blocks.{i}.mlp.proj.weight"))?])
        };
        let projection = config.has_bigram_projection().then(|| matrix("bigram.proj.weight".into())).transpose()?;
        Ok(Scaled { blocks: (0..config.num_layers).map(block).collect::<Result<_, _>>()?, projection })
    }
}

impl<B> Network<B> {
    /// Uploads weights, folded as their precision has it.
    pub fn upload<K: Kernels<Buffer = B>>(
        k: &K,
        config: &ModelConfig,
        params: &Params,
    ) -> Result<Self, LayoutMismatch> {
        params.check_layout(config)?;
        let mut network: Self = Self::build(config, &mut |spec| {
            let missing = || LayoutMismatch::Missing { name: spec.name.clone(), expected: spec.shape.clone() };
            let values = params.get(&spec.name).ok_or_else(missing)?.data();
            Ok(match spec.role {
                ParamRole::Control if spec.name == BIGRAM_SCALE => k.upload(&values.repeat(config.model_dim)),
                ParamRole::Control => k.upload(values),
                _ => k.store(values),
            })
        })?;
        network.blocks = network.blocks.into_iter().map(|block| block.stacked(k)).collect();
        Ok(network)
    }

    /// Zeros of the same shapes, to add gradients to.
    pub fn zeros<K: Kernels<Buffer = B>>(k: &K, config: &ModelConfig) -> Result<Self, LayoutMismatch> {
        Self::build(config, &mut |spec| Ok(k.gradients(spec.shape.iter().product())))
    }

    /// All parameters of the layout, each made by `make`, in state-dict order.
    pub fn build<E: From<LayoutMismatch>>(
        config: &ModelConfig,
        make: &mut impl FnMut(&ParamSpec) -> Result<B, E>,
    ) -> Result<Self, E> {
        let specs: BTreeMap<String, ParamSpec> =
            layout(config).into_iter().map(|spec| (spec.name.clone(), spec)).collect();
        let mut param = |name: String| match specs.get(&name) {
            Some(spec) => make(spec),
            None => Err(LayoutMismatch::Missing { name, expected: Vec::new() }.into()),
        };
        Ok(Network {
            skips: Skips::build(config, &mut param)?,
            lane_merge: if config.has_lanes() { Some(param("lane_merge".into())?) } else { None },
            tok_emb: param("tok_emb.weight".into())?,
            bigram: if config.has_bigram() { Some(Bigram::build(config, &mut param)?) } else { None },
            smear_gate: if config.smear { Some(param("smear.gate".into())?) } else { None },
            blocks: (0..config.num_layers).map(|i| Block::build(config, i, &mut param)).collect::<Result<_, _>>()?,
            value_table: ValueTable::build(config, &mut param)?,
            lm_head: if config.tie_embeddings { None } else { Some(param("lm_head.weight".into())?) },
        })
    }

    /// Downloads everything in state-dict order.
    pub fn download<K: Kernels<Buffer = B>>(self, k: &K, config: &ModelConfig) -> Result<Params, LayoutMismatch> {
        let mut buffers = self.into_buffers().into_iter();
        let entry = |ParamSpec { name, shape, .. }: ParamSpec| {
            let Some(buffer) = buffers.next() else {
                return Err(LayoutMismatch::Missing { name, expected: shape });
            };
            let values = k.download(buffer);
            let found = vec![values.len()];
            match HostTensor::new(shape.clone(), values) {
                Some(tensor) => Ok((name, tensor)),
                None => Err(LayoutMismatch::Shape { name, found, expected: shape }),
            }
        };
        let entries = layout(config).into_iter().map(entry).collect::<Result<_, _>>()?;
        match buffers.next() {
            None => Ok(Params::from_entries(entries)),
            Some(_) => Err(LayoutMismatch::Unexpected { name: "a parameter past the layout's last".into() }),
        }
    }

    /// Every parameter in state-dict order.
    fn into_buffers(self) -> Vec<B> {
        let mut buffers = Vec::new();
        if let Some(skips) = self.skips {
            buffers.extend(std::iter::once(skips.weights).chain(skips.gates));
        }
        buffers.extend(self.lane_merge);
        buffers.push(self.tok_emb);
        if let Some(bigram) = self.bigram {
            buffers.extend([bigram.scale, bigram.table].into_iter().chain(bigram.projection));
        }
        buffers.extend(self.smear_gate);
        for b in self.blocks {
            buffers.extend([b.attn_scale, b.mlp_scale].into_iter().chain(b.resid_mix));
            buffers.push(b.q_gain);
            buffers.extend(b.attn_gate);
            buffers.extend([b.c_q, b.c_k, b.c_v, b.attn_proj, b.fc, b.mlp_proj]);
        }
        if let Some(values) = self.value_table {
            buffers.extend([values.scale, values.table].into_iter().chain(values.projection));
            buffers.extend(values.layer_scales);
        }
        buffers.extend(self.lm_head);
        buffers
    }

    /// The output head: the embedding table when tied.
    pub fn head(&self) -> &B {
        self.lm_head.as_ref().unwrap_or(&self.tok_emb)
    }

    /// The output head, for adding a gradient.
    pub fn head_mut(&mut self) -> &mut B {
        self.lm_head.as_mut().unwrap_or(&mut self.tok_emb)
    }
}
