//! One visit of a block, by its recipe: what attention and MLP read, and where their outputs go.

use super::attention::Attention;
use super::forward::Forward;
use super::operands::{Linear, Mix, Norm, PendingResidual};
use super::parameters::Block;
use super::record::VisitRecord;
use super::rows::Rows;
use super::traits::Kernels;
use crate::model::{BlockRecipe, LinearInput, Residual};

/// What a visit begins with.
pub(super) struct BlockInput<'a, B> {
    /// The block's number.
    pub index: usize,
    /// The stream with the first activations mixed in, and its norm.
    pub mixed: B,
    pub normed: B,
    /// The MLP's stream, where there are two.
    pub lane: Option<B>,
    /// The value embedding.
    pub values: Option<&'a B>,
}

/// A visit's results: the residual stream, the MLP's output where it is still to be added, the second lane, and what the
/// backward pass needs.
pub(super) struct BlockOutput<B> {
    pub x: B,
    pub lane: Option<B>,
    pub residual: Option<B>,
    pub kept: Option<VisitRecord<B>>,
}

impl<K: Kernels> Forward<'_, K> {
    /// Runs a block on the positions from `first` on of every row; its keys and values are of all.
    pub(super) fn block(
        &self,
        recipe: &BlockRecipe,
        w: &Block<K::Buffer>,
        BlockInput { index, mixed, normed, lane, values }: BlockInput<'_, K::Buffer>,
        (rows, first): (&Rows<K>, usize),
        keep: bool,
    ) -> BlockOutput<K::Buffer> {
        let (k, dim) = (self.k, self.config.model_dim);
        let norm = Norm { width: dim, factor: recipe.norm_scale };
        let queries = rows.count / rows.seq_len * (rows.seq_len - first);
        let output = |inputs| Linear { tokens: queries, inputs, outputs: dim };

        self.see(LinearInput::Attention(index), &normed);
        let ([q, key, value], normed) = self.qkv(recipe, w, normed, values, (rows, first));
        let (keeps, is_parallel) = (keep && k.keeps(), recipe.residual == Residual::OneLane);
        // Attention alone has read the norm of one stream or of the first lane, and its gate.
        let normed = Some(normed).filter(|_| is_parallel || keeps || w.attn_gate.is_some());
        let Attention { mixed: average, excluded, lse, rotated } =
            self.attend(recipe, w, [&q, &key, &value], (rows, first));
        let rotated = keeps.then_some(rotated);
        let attended = excluded.as_ref().unwrap_or(&average);
        let gated = self.gated(w, normed.as_ref(), attended);
        let (normed, attention_normed) = if is_parallel { (normed, None) } else { (None, normed.filter(|_| keeps)) };
        let attended = gated.as_ref().unwrap_or(attended);
        self.see(LinearInput::AttentionProjection(index), attended);
        let mut x = self.tails(mixed, (rows, first));
        let mut lane = lane.map(|lane| self.tails(lane, (rows, first)));

        let normed = match (normed, &lane) {
            (Some(normed), _) => {
                k.project_into_residual(output(dim), attended, &w.attn_proj, &w.attn_scale, &mut x);
                normed
            }
            (None, Some(lane)) => {
                k.project_into_residual(output(dim), attended, &w.attn_proj, &w.attn_scale, &mut x);
                k.rms_norm(lane, norm)
            }
            (None, None) => {
                let product = k.residual_projection(output(dim), attended, &w.attn_proj, &w.attn_scale, &mut x);
                let residual = PendingResidual::of(&product, &w.attn_scale, dim);
                k.add_residual_rms_norm(residual, norm, &mut x)
            }
        };
        drop((gated, excluded));
        self.see(LinearInput::Mlp(index), &normed);
        let (squared, hidden) = self.hidden(recipe, w, &normed, queries, keep);
        let mlp_normed = keeps.then_some(normed);
        self.see(LinearInput::MlpProjection(index), &squared);
        let (outputs, scale) = (output(self.config.mlp_hidden()), &w.mlp_scale);
        let mut residual = None;
        // The backward pass needs what the MLP's norm has read, before the MLP's output is added.
        let kept_stream = match (recipe.residual, &mut lane) {
            (Residual::OneLane, _) => {
                k.project_into_residual(outputs, &squared, &w.mlp_proj, scale, &mut x);
                None
            }
            (_, Some(lane)) => {
                let kept_stream = keep.then(|| k.copy(lane));
                k.project_into_residual(outputs, &squared, &w.mlp_proj, scale, lane);
                kept_stream
            }
            (_, None) => {
                let kept_stream = (keep && k.projection_adds_residual()).then(|| k.copy(&x));
                residual = k.residual_projection(outputs, &squared, &w.mlp_proj, scale, &mut x);
                kept_stream
            }
        };
        let record = |hidden| VisitRecord {
            x: None,
            before_skip: None,
            q,
            k: key,
            v: value,
            mixed: average,
            lse,
            attended: kept_stream,
            hidden,
            squared: keeps.then_some(squared),
            rotated,
            normed: attention_normed,
            mlp_normed,
        };
        BlockOutput { x, lane, residual, kept: hidden.map(record) }
    }

    /// What a block mixes into its input.
    pub(super) fn mix_of<'a>(&self, w: &'a Block<K::Buffer>, x0: &'a K::Buffer) -> Option<Mix<'a, K>> {
        w.resid_mix.as_ref().map(|weights| Mix { x0, weights })
    }

    /// The positions from `first` on of every row.
    pub(super) fn tails(&self, x: K::Buffer, (rows, first): (&Rows<K>, usize)) -> K::Buffer {
        let dim = self.config.model_dim;
        if first > 0 { self.k.tails(&x, rows.seq_len * dim, (rows.seq_len - first) * dim) } else { x }
    }
}
