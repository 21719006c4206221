//! The parameters, or their gradients, on a device.

use super::traits::Kernels;
use crate::model::{HostTensor, LayoutMismatch, ModelConfig, ParamRole, Params, layout};

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
    pub fn upload<K: Kernels<Buffer = B>>(k: &K, config: &ModelConfig, folded: &Params) -> Self {
        let matrix = |name: &str| k.store(folded.get(name).map_or(&[], HostTensor::data));
        let block = |i| ["attn", "mlp"].map(|part| matrix(&format!("blocks.{i}.{part}.proj.weight")));
        Scaled {
            blocks: (0..config.num_layers).map(block).collect(),
            projection: config.has_bigram_projection().then(|| matrix("bigram.proj.weight")),
        }
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
        let mut tensors = layout(config).into_iter().zip(params.iter());
        let mut network = Self::build(config, &mut || match tensors.next() {
            Some((spec, (_, tensor))) if spec.role == ParamRole::Control => k.upload(tensor.data()),
            Some((_, (_, tensor))) => k.store(tensor.data()),
            None => k.upload(&[]),
        });
        if let (Some(bigram), Some(scale)) = (&mut network.bigram, params.get("bigram.scale")) {
            bigram.scale = k.upload(&scale.data().repeat(config.model_dim));
        }
        Ok(network)
    }

    /// Zeros of the same shapes, to add gradients to.
    pub fn zeros<K: Kernels<Buffer = B>>(k: &K, config: &ModelConfig) -> Self {
        let mut specs = layout(config).into_iter();
        Self::build(config, &mut || k.gradients(specs.next().map_or(0, |spec| spec.shape.iter().product())))
    }

    /// Parameters taken from `next` in state-dict order.
    pub fn build(config: &ModelConfig, next: &mut impl FnMut() -> B) -> Self {
        Network {
            skip_weights: next(),
            tok_emb: next(),
            bigram: config.has_bigram().then(|| Bigram {
                scale: next(),
                table: next(),
                projection: config.has_bigram_projection().then(&mut *next),
            }),
            smear_gate: next(),
            blocks: (0..config.num_layers)
                .map(|_| Block {
                    attn_scale: next(),
                    mlp_scale: next(),
                    resid_mix: next(),
                    q_gain: next(),
                    c_q: next(),
                    c_k: next(),
                    c_v: next(),
                    attn_proj: next(),
                    fc: next(),
                    mlp_proj: next(),
                })
                .collect(),
            lm_head: (!config.tie_embeddings).then(&mut *next),
        }
    }

    /// Downloads everything in state-dict order.
    pub fn download<K: Kernels<Buffer = B>>(self, k: &K, config: &ModelConfig) -> Params {
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
        let named = layout(config).into_iter().zip(buffers);
        let entry = |(spec, buffer): (crate::model::ParamSpec, B)| {
            Some((spec.name, HostTensor::new(spec.shape, k.download(buffer))?))
        };
        Params::from_entries(named.filter_map(entry).collect())
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
