//! Parameters as dfdx tensors, and their gradients back as host tensors.

use dfdx::prelude::*;

use super::hardware::Hardware;
use super::{Matrix, Scalar, Vector};
use crate::model::{HostTensor, LayoutMismatch, ModelConfig, Params, Skips};

/// The bigram table and what turns a row of it into a residual.
pub(super) struct BigramWeights<D: Hardware> {
    pub scale: Scalar<D>,
    pub table: Matrix<D>,
    /// Absent when the table is as wide as the model.
    pub projection: Option<Matrix<D>>,
}

/// One block's parameters, named as in the state dict.
pub(super) struct BlockWeights<D: Hardware> {
    pub attn_scale: Vector<D>,
    pub mlp_scale: Vector<D>,
    pub resid_mix: Option<Matrix<D>>,
    pub q_gain: Vector<D>,
    pub attn_gate: Option<Matrix<D>>,
    pub c_q: Matrix<D>,
    pub c_k: Matrix<D>,
    pub c_v: Matrix<D>,
    pub attn_proj: Matrix<D>,
    pub fc: Matrix<D>,
    pub mlp_proj: Matrix<D>,
}

/// The second embedding of each token, absent where no block adds it.
pub(super) struct ValueEmbeddingWeights<D: Hardware> {
    pub scale: Scalar<D>,
    pub table: Matrix<D>,
    /// Absent when the table is as wide as keys and values.
    pub projection: Option<Matrix<D>>,
    /// A factor for each block that adds it, in the order they are listed.
    pub layer_scales: Vec<Scalar<D>>,
}

/// All parameters. The fields share storage and gradient identity with `leaves`.
pub(super) struct Weights<D: Hardware> {
    pub skip_weights: Option<Matrix<D>>,
    pub skip_gates: Option<Matrix<D>>,
    /// The first lane's share of the output, where there are two.
    pub lane_merge: Option<Scalar<D>>,
    pub tok_emb: Matrix<D>,
    pub bigram: Option<BigramWeights<D>>,
    pub smear_gate: Option<Vector<D>>,
    pub blocks: Vec<BlockWeights<D>>,
    pub value_embedding: Option<ValueEmbeddingWeights<D>>,
    /// The embedding table itself when tied.
    pub head: Matrix<D>,
    /// Every parameter flattened, in state-dict order.
    leaves: Vec<Leaf<D>>,
}

struct Leaf<D: Hardware> {
    name: String,
    shape: Vec<usize>,
    flat: Vector<D>,
}

impl<D: Hardware> Weights<D> {
    /// Copies checked host weights into tensors.
    pub fn new(dev: &D, config: &ModelConfig, params: &Params) -> Result<Self, LayoutMismatch> {
        let mut leaves = LeavesFolder { dev, leaves: Vec::new(), params: params.iter() };
        let skip_weights = (config.skips != Skips::None).then(|| leaves.matrix()).transpose()?;
        let skip_gates = (config.skips == Skips::Gated).then(|| leaves.matrix()).transpose()?;
        let lane_merge = config.has_lanes().then(|| leaves.scalar()).transpose()?;
        let tok_emb = leaves.matrix()?;
        let bigram = match config.has_bigram() {
            false => None,
            true => Some(BigramWeights {
                scale: leaves.scalar()?,
                table: leaves.matrix()?,
                projection: config.has_bigram_projection().then(|| leaves.matrix()).transpose()?,
            }),
        };
        let smear_gate = config.smear.then(|| leaves.vector()).transpose()?;
        let block = |leaves: &mut LeavesFolder<'_, D, _>| {
            Ok(BlockWeights {
                attn_scale: leaves.vector()?,
                mlp_scale: leaves.vector()?,
                resid_mix: config.resid_mix.then(|| leaves.matrix()).transpose()?,
                q_gain: leaves.vector()?,
                attn_gate: config.attention_gate.is_some().then(|| leaves.matrix()).transpose()?,
                c_q: leaves.matrix()?,
                c_k: leaves.matrix()?,
                c_v: leaves.matrix()?,
                attn_proj: leaves.matrix()?,
                fc: leaves.matrix()?,
                mlp_proj: leaves.matrix()?,
            })
        };
        let blocks = (0..config.num_layers).map(|_| block(&mut leaves)).collect::<Result<_, LayoutMismatch>>()?;
        let value_embedding = match &config.value_embedding {
            None => None,
            Some(embedding) => Some(ValueEmbeddingWeights {
                scale: leaves.scalar()?,
                table: leaves.matrix()?,
                projection: config.has_value_projection().then(|| leaves.matrix()).transpose()?,
                layer_scales: embedding.blocks.iter().map(|_| leaves.scalar()).collect::<Result<_, _>>()?,
            }),
        };
        let head = if config.tie_embeddings { tok_emb.clone() } else { leaves.matrix()? };
        let leaves = leaves.leaves;
        Ok(Weights {
            skip_weights,
            skip_gates,
            lane_merge,
            tok_emb,
            bigram,
            smear_gate,
            blocks,
            value_embedding,
            head,
            leaves,
        })
    }

    /// Takes every parameter's gradient out of the store, in state-dict order; zeros for those the loss does not touch.
    pub fn take_gradients(&self, gradients: &mut Gradients<f32, D>) -> Result<Vec<Vec<f32>>, D::Err> {
        self.leaves.iter().map(|leaf| D::take_gradient(gradients, &leaf.flat)).collect()
    }

    /// Names and shapes for gradients in state-dict order.
    pub fn name_gradients(&self, gradients: Vec<Vec<f32>>) -> Params {
        let named =
            self.leaves.iter().zip(gradients).filter_map(|(leaf, gradient)| {
                Some((leaf.name.clone(), HostTensor::new(leaf.shape.clone(), gradient)?))
            });
        Params::from_entries(named.collect())
    }
}

/// Reads parameters one after another in state-dict order.
struct LeavesFolder<'d, D: Hardware, I> {
    dev: &'d D,
    leaves: Vec<Leaf<D>>,
    params: I,
}

impl<'a, D: Hardware, I: Iterator<Item = (&'a str, &'a HostTensor)>> LeavesFolder<'_, D, I> {
    fn next(&mut self) -> Result<(Vector<D>, &'a [usize]), LayoutMismatch> {
        let missing = || LayoutMismatch::Missing { name: format!("parameter {}", self.leaves.len()), expected: vec![] };
        let (name, tensor) = self.params.next().ok_or_else(missing)?;
        let flat = self.dev.tensor_from_vec(tensor.data().to_vec(), (tensor.len(),));
        self.leaves.push(Leaf { name: name.to_string(), shape: tensor.shape().to_vec(), flat: flat.clone() });
        Ok((flat, tensor.shape()))
    }

    fn scalar(&mut self) -> Result<Scalar<D>, LayoutMismatch> {
        Ok(self.next()?.0.reshape_like(&()))
    }

    fn vector(&mut self) -> Result<Vector<D>, LayoutMismatch> {
        Ok(self.next()?.0)
    }

    fn matrix(&mut self) -> Result<Matrix<D>, LayoutMismatch> {
        let (flat, shape) = self.next()?;
        let columns = shape.last().copied().unwrap_or(1);
        let rows = shape[..shape.len().saturating_sub(1)].iter().product();
        Ok(flat.reshape_like(&(rows, columns)))
    }
}
