//! The gradient of one visit of a block.

use super::forward::Forward;
use super::lanes::StreamGrad;
use super::operands::{MixGrads, Norm, WriteMode};
use super::parameters::Network;
use super::record::{Record, VisitRecord};
use super::rows::Rows;
use super::traits::Kernels;
use crate::model::{Residual, Visit};

/// Gradients of what every visit reads: the first activations, and the value embedding where there is one.
pub(super) struct SourceGrad<B> {
    pub x0: B,
    pub values: Option<B>,
}

impl<K: Kernels> Forward<'_, K> {
    /// Turns `grad`, the gradient of what a visit has written to, into that of its input.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn block_grad(
        &self,
        (at, visit): (usize, &Visit),
        kept: &mut VisitRecord<K::Buffer>,
        record: &Record<K::Buffer>,
        rows: &Rows<K>,
        grad: &mut StreamGrad<K::Buffer>,
        source: &mut SourceGrad<K::Buffer>,
        grads: &mut Network<K::Buffer>,
    ) {
        let (k, recipe) = (self.k, &visit.recipe);
        let norm = Norm { width: self.config.model_dim, factor: recipe.norm_scale };
        let Network { blocks, value_table, .. } = grads;
        let (Some(w), Some(grads)) = (self.network.blocks.get(visit.block), blocks.get_mut(visit.block)) else {
            return;
        };
        let scaled = self.scaled.and_then(|scaled| scaled.blocks.get(visit.block));
        let [attn_proj, mlp_proj] = scaled.map_or([&w.attn_proj, &w.mlp_proj], |[attn, mlp]| [attn, mlp]);
        let (own, squared, mlp_normed) = (kept.x.take(), kept.squared.take(), kept.mlp_normed.take());
        let (x, x0) = (record.input(at, own.as_ref()), &record.x0);
        // What attention reads is made again where it is not kept.
        let mixture = || match self.mix_of(w, x0) {
            Some(mix) => {
                let [mixed, normed] = k.mix_rms_norm(x, mix, norm);
                (Some(mixed), normed)
            }
            None => (None, k.rms_norm(x, norm)),
        };

        let mlp = (w, mlp_proj);
        let hidden = (&kept.hidden, squared);
        let from_mlp = if recipe.residual == Residual::OneLane {
            let normed = || mlp_normed.unwrap_or_else(|| mixture().1);
            Some(self.mlp_grad(recipe, mlp, hidden, rows, (&grad.x, normed), grads))
        } else {
            let attended = kept.attended.as_ref().unwrap_or(x0);
            let stream = grad.lane.as_mut().unwrap_or(&mut grad.x);
            let normed = || mlp_normed.unwrap_or_else(|| k.rms_norm(attended, norm));
            let grad_normed = self.mlp_grad(recipe, mlp, hidden, rows, (stream, normed), grads);
            k.rms_norm_grad(attended, &grad_normed, norm, WriteMode::Accumulate, stream);
            None
        };

        let made = |normed: Option<K::Buffer>| normed.map_or_else(&mixture, |normed| (None, normed));
        let mut kept_normed = kept.normed.take();
        // A gate reads it, too.
        let early = w.attn_gate.is_some().then(|| made(kept_normed.take()));
        let gate_reads = early.as_ref().map(|(_, normed)| normed);
        let (qkv, memory, along) = self.attend_grad(recipe, (w, attn_proj), kept, gate_reads, (rows, &grad.x), grads);
        if let Some(layer) = recipe.value_embedding {
            self.add_values_grad(layer, record.values.as_ref(), &qkv[2], &mut source.values, value_table);
        }
        let (mixed, normed) = early.unwrap_or_else(|| made(kept_normed));
        let (mode, mut grad_normed) = match from_mlp {
            Some(from_mlp) => (WriteMode::Accumulate, from_mlp),
            None => (WriteMode::Overwrite, memory),
        };
        self.qkv_grad(w, &qkv, &normed, (mode, &mut grad_normed), rows, grads);
        if let (Some(along), Some((shape, weights)), Some(grad_weights)) = (along, self.gate(w), &mut grads.attn_gate) {
            k.gate_input_grad(shape, [&along, &normed, weights], &mut grad_normed, grad_weights);
        }
        if let (Some(mix), Some(weights)) = (self.mix_of(w, x0), &mut grads.resid_mix) {
            let grads = MixGrads { mixed: &mut grad.x, x0: &mut source.x0, weights };
            k.mix_rms_norm_grad((x, mixed.as_ref()), mix, (norm, &grad_normed), grads);
        } else {
            k.rms_norm_grad(mixed.as_ref().unwrap_or(x), &grad_normed, norm, WriteMode::Accumulate, &mut grad.x);
        }
    }
}
