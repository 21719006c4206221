//! The attention branch of a block, before its output projection, and its gradient.

use super::forward::Forward;
use super::operands::{AttentionInputs, GateShape, Heads, Linear, QkNormRope, Qkv, WriteMode};
use super::parameters::Block;
use super::record::VisitRecord;
use super::rows::Rows;
use super::traits::Kernels;
use crate::model::BlockRecipe;

/// Attention's results.
pub(super) struct Attention<B> {
    /// The average of the values.
    pub mixed: B,
    /// What is projected, where that is not the average.
    pub excluded: Option<B>,
    pub lse: B,
    /// Queries and keys after norm and rotation.
    pub rotated: [B; 2],
}

impl<K: Kernels> Forward<'_, K> {
    /// Queries of the positions from `first` on, keys and values of all; and the norm of those positions, which the
    /// queries were made of.
    pub(super) fn qkv(
        &self,
        recipe: &BlockRecipe,
        w: &Block<K::Buffer>,
        normed: K::Buffer,
        values: Option<&K::Buffer>,
        (rows, first): (&Rows<K>, usize),
    ) -> ([K::Buffer; 3], K::Buffer) {
        let (k, dim, kv) = (self.k, self.config.model_dim, self.config.kv_dim());
        if first == 0 && recipe.value_embedding.is_none() && !recipe.excludes_own_value {
            return (k.qkv(self.qkv_dims(rows), &normed, [&w.c_q, &w.c_k, &w.c_v]), normed);
        }
        let queries = rows.count / rows.seq_len * (rows.seq_len - first);
        let linear = |tokens, outputs, x: &K::Buffer, w: &K::Buffer| {
            let mut y = k.unset(tokens * outputs);
            k.linear(Linear { tokens, inputs: dim, outputs }, x, w, WriteMode::Overwrite, &mut y);
            y
        };
        let key = linear(rows.count, kv, &normed, &w.c_k);
        let mut value = linear(rows.count, kv, &normed, &w.c_v);
        if let Some(layer) = recipe.value_embedding {
            self.add_values(layer, values, &mut value);
        }
        let normed = self.tails(normed, (rows, first));
        let query = linear(queries, dim, &normed, &w.c_q);
        ([query, key, value], normed)
    }

    /// Attention of the positions from `first` on.
    pub(super) fn attend(
        &self,
        recipe: &BlockRecipe,
        w: &Block<K::Buffer>,
        [q, key, value]: [&K::Buffer; 3],
        (rows, first): (&Rows<K>, usize),
    ) -> Attention<K::Buffer> {
        let (k, heads) = (self.k, self.heads(rows, first));
        let rotated = [k.qk_norm_rope(q, self.q_norm_rope(w, heads)), k.qk_norm_rope(key, self.k_norm_rope(heads))];
        let rotated_qkv = [&rotated[0], &rotated[1], value];
        let (mixed, lse) = match self.memory {
            None => k.attention(heads, rotated_qkv),
            // Nothing goes back from here.
            Some(memory) => (memory.attend(heads, rotated_qkv), k.unset(0)),
        };
        let excluded = recipe.excludes_own_value.then(|| k.exclude_own_value(heads, &mixed, value));
        Attention { mixed, excluded, lse, rotated }
    }

    /// The heads of attention's output weighed by their gates, where there are any; `x` is what queries were made of.
    pub(super) fn gated(&self, w: &Block<K::Buffer>, x: Option<&K::Buffer>, mixed: &K::Buffer) -> Option<K::Buffer> {
        let (shape, weights) = self.gate(w)?;
        Some(self.k.gate_heads(shape, [x?, weights, mixed]))
    }

    /// A block's gate.
    pub(super) fn gate<'a>(&self, w: &'a Block<K::Buffer>) -> Option<(GateShape, &'a K::Buffer)> {
        let (gate, weights) = (self.config.attention_gate?, w.attn_gate.as_ref()?);
        let (heads, width) = (self.config.num_heads, self.config.head_dim());
        let (factor, slope) = (gate.factor as f32, gate.slope as f32);
        Some((GateShape { inputs: self.config.model_dim, window: gate.width, heads, width, factor, slope }, weights))
    }

    /// From the gradient of the block's output, those of queries, keys and values as their linears made them, memory for
    /// that of the norm they were made of, and the gradients of the gates' arguments. `normed` is that norm, where a gate
    /// reads it.
    pub(super) fn attend_grad(
        &self,
        recipe: &BlockRecipe,
        (w, projection): (&Block<K::Buffer>, &K::Buffer),
        kept: &mut VisitRecord<K::Buffer>,
        normed: Option<&K::Buffer>,
        (rows, grad): (&Rows<K>, &K::Buffer),
        grads: &mut Block<K::Buffer>,
    ) -> ([K::Buffer; 3], K::Buffer, Option<K::Buffer>) {
        let (k, dim, heads) = (self.k, self.config.model_dim, self.heads(rows, 0));
        let dims = Linear { tokens: rows.count, inputs: dim, outputs: dim };
        let excluded = recipe.excludes_own_value.then(|| k.exclude_own_value(heads, &kept.mixed, &kept.v));
        let attended = excluded.as_ref().unwrap_or(&kept.mixed);
        let gated = self.gated(w, normed, attended);
        k.linear_grad_w(dims, grad, gated.as_ref().unwrap_or(attended), &mut grads.attn_proj);
        drop(gated);
        let mut grad_mixed = k.unset(rows.count * dim);
        k.linear_grad_x(dims, grad, projection, WriteMode::Overwrite, &mut grad_mixed);
        let along = self.gate(w).zip(normed);
        let along =
            along.map(|((shape, weights), x)| k.gate_heads_grad(shape, [x, weights, attended], &mut grad_mixed));
        drop(excluded);
        let own_value =
            recipe.excludes_own_value.then(|| k.exclude_own_value_grad(heads, &kept.mixed, &kept.v, &mut grad_mixed));
        let (q_norm_rope, k_norm_rope) = (self.q_norm_rope(w, heads), self.k_norm_rope(heads));
        let rotated = kept.rotated.take();
        let rotated =
            rotated.unwrap_or_else(|| [k.qk_norm_rope(&kept.q, q_norm_rope), k.qk_norm_rope(&kept.k, k_norm_rope)]);
        let inputs = AttentionInputs {
            projected: [&kept.q, &kept.k, &kept.v],
            rotated,
            shapes: [q_norm_rope, k_norm_rope],
            outputs: [&kept.mixed, &kept.lse],
            grad: &grad_mixed,
            own_value,
        };
        let grads_made = k.attention_inputs_grad(heads, inputs, &mut grads.q_gain);
        (grads_made, grad_mixed, along)
    }

    /// Gradients by the matrices of queries, keys and values; the gradient of the norm they were made of is written or added
    /// to.
    pub(super) fn qkv_grad(
        &self,
        w: &Block<K::Buffer>,
        qkv: &[K::Buffer; 3],
        normed: &K::Buffer,
        (mode, grad_normed): (WriteMode, &mut K::Buffer),
        rows: &Rows<K>,
        grads: &mut Block<K::Buffer>,
    ) {
        let Block { c_q, c_k, c_v, .. } = grads;
        let operands = (normed, [&w.c_q, &w.c_k, &w.c_v]);
        self.k.qkv_grad(self.qkv_dims(rows), qkv.each_ref(), operands, [c_q, c_k, c_v], (mode, grad_normed));
    }

    fn qkv_dims(&self, rows: &Rows<K>) -> Qkv {
        let (dim, keys, head) = (self.config.model_dim, self.config.kv_dim(), self.config.head_dim());
        Qkv { tokens: rows.count, inputs: dim, queries: dim, keys, head }
    }

    fn heads(&self, rows: &Rows<K>, first_query: usize) -> Heads {
        let (heads, kv_heads) = (self.config.num_heads, self.config.num_kv_heads);
        Heads { seq_len: rows.seq_len, heads, kv_heads, width: self.config.head_dim(), first_query }
    }

    fn q_norm_rope<'a>(&'a self, w: &'a Block<K::Buffer>, heads: Heads) -> QkNormRope<'a, K> {
        QkNormRope {
            heads: heads.heads,
            width: heads.width,
            tokens_per_row: heads.queries(),
            first: heads.first_query,
            gain: Some(&w.q_gain),
            tables: self.tables,
        }
    }

    fn k_norm_rope(&self, heads: Heads) -> QkNormRope<'_, K> {
        QkNormRope {
            heads: heads.kv_heads,
            width: heads.width,
            tokens_per_row: heads.seq_len,
            first: 0,
            gain: None,
            tables: self.tables,
        }
    }
}
