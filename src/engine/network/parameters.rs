//! The parameters, or their gradients, on a device.

use std::collections::BTreeMap;

use super::traits::Kernels;
use crate::model::{HostTensor, LayoutMismatch, ModelConfig, ParamRole, ParamSpec, Params, layout};

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
    pub resid_mix: B,
    pub q_gain: B,
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
    fn build<E>(index: usize, param: &mut impl FnMut(String) -> Result<B, E>) -> Result<Self, E> {
        let mut part = |name: &str| param(format!("blocks.{index}.{name}"));
        Ok(Block {
            attn_scale: part("attn_scale")?,
            mlp_scale: part("mlp_scale")?,
            resid_mix: part("resid_mix")?,
            q_gain: part("attn.q_gain")?,
            c_q: part("attn.c_q.weight")?,
            c_k: part("attn.c_k.weight")?,
            c_v: part("attn.c_v.weight")?,
            attn_proj: part("attn.proj.weight")?,
            fc: part("mlp.fc.weight")?,
            mlp_proj: part("mlp.proj.weight")?,
        })
    }
}

/// All parameters in state-dict order.
pub(in crate::engine) struct Network<B> {
    pub skip_weights: B,
    pub tok_emb: B,
    pub bigram: Option<Bigram<B>>,
    pub smear_gate: B,
    pub blocks: Vec<Block<B>>,
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
        Self::build(config, &mut |spec| {
            let missing = || LayoutMismatch::Missing { name: spec.name.clone(), expected: spec.shape.clone() };
            let values = params.get(&spec.name).ok_or_else(missing)?.data();
            Ok(match spec.role {
                ParamRole::Control if spec.name == BIGRAM_SCALE => k.upload(&values.repeat(config.model_dim)),
                ParamRole::Control => k.upload(values),
                _ => k.store(values),
            })
        })
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
            skip_weights: param("skip_weights".into())?,
            tok_emb: param("tok_emb.weight".into())?,
            bigram: if config.has_bigram() { Some(Bigram::build(config, &mut param)?) } else { None },
            smear_gate: param("smear.gate".into())?,
            blocks: (0..config.num_layers).map(|i| Block::build(i, &mut param)).collect::<Result<_, _>>()?,
            lm_head: if config.tie_embeddings { None } else { Some(param("lm_head.weight".into())?) },
        })
    }

    /// Downloads everything in state-dict order.
    pub fn download<K: Kernels<Buffer = B>>(self, k: &K, config: &ModelConfig) -> Result<Params, LayoutMismatch> {
        let mut buffers = vec![self.skip_weights, self.tok_emb];
        if let Some(bigram) = self.bigram {
            buffers.extend([bigram.scale, bigram.table].into_iter().chain(bigram.projection));
        }
        buffers.push(self.smear_gate);
        for b in self.blocks {
            buffers.extend([b.attn_scale, b.mlp_scale, b.resid_mix, b.q_gain, b.c_q, b.c_k, b.c_v, b.attn_proj]);
            buffers.extend([b.fc, b.mlp_proj]);
        }
        buffers.extend(self.lm_head);
        let mut buffers = buffers.into_iter();
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

    /// The output head: the embedding table when tied.
    pub fn head(&self) -> &B {
        self.lm_head.as_ref().unwrap_or(&self.tok_emb)
    }

    /// The output head, for adding a gradient.
    pub fn head_mut(&mut self) -> &mut B {
        self.lm_head.as_mut().unwrap_or(&mut self.tok_emb)
    }
}
