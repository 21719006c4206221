//! The backward pass: the forward pass read from its end.

use super::block_grad::SourceGrad;
use super::forward::Forward;
use super::operands::{Linear, Norm, WriteMode};
use super::parameters::Network;
use super::record::Record;
use super::rows::Rows;
use super::traits::Kernels;

/// A part of the network whose gradients a backward pass has added all it will add to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Finished {
    /// The output head, where it is not the embedding table.
    Head,
    /// All parameters of a block.
    Block(usize),
}

impl<K: Kernels> Forward<'_, K> {
    /// Adds the gradients of `weight` times the summed negative log-likelihood; returns the likelihoods.
    ///
    /// `finished` is told what is final while the pass goes on: the head, then the blocks from the last to the first.
    /// The rest (embeddings, gate, skip weights) is final when the pass returns.
    pub fn backward(
        &self,
        rows: &Rows<K>,
        targets: &K::Ids,
        weight: f32,
        mut record: Record<K::Buffer>,
        grads: &mut Network<K::Buffer>,
        finished: &mut dyn FnMut(Finished),
    ) -> K::Buffer {
        let (k, c) = (self.k, self.config);
        let (dim, tokens) = (c.model_dim, rows.count);

        let dims = Linear { tokens, inputs: dim, outputs: c.vocab_size };
        let cap = c.logit_softcap as f32;
        let (mut grad_normed, mut grad) = (k.unset(tokens * dim), k.unset(tokens * dim));
        let head = self.network.head();
        let nll = k.nll_grad(dims, &record.normed, head, cap, targets, weight, &mut grad_normed, grads.head_mut());
        k.rms_norm_grad(&record.last, &grad_normed, Norm::of(dim), WriteMode::Overwrite, &mut grad);
        drop(grad_normed);
        if grads.lm_head.is_some() {
            finished(Finished::Head);
        }

        let mut grad = self.merge_grad(record.lanes.as_ref(), grad, grads);
        let values = record.values.as_ref().map(|_| k.zeros(tokens * c.kv_dim()));
        let mut source = SourceGrad { x0: k.zeros(tokens * dim), values };
        let mut grad_outputs: Vec<Option<K::Buffer>> = record.outputs.iter().map(|_| None).collect();
        for (at, mut kept) in std::mem::take(&mut record.visits).into_iter().enumerate().rev() {
            let Some(visit) = self.graph.visits.get(at) else { continue };
            // An encoder block's output went on to the next block and into a skip.
            if let Some(grad_output) = grad_outputs.get_mut(at).and_then(Option::take) {
                k.add(&grad_output, &mut grad.x);
            }
            let before_skip = kept.before_skip.take();
            self.block_grad((at, visit), &mut kept, &record, rows, &mut grad, &mut source, grads);
            drop(kept);
            if self.graph.visits[..at].iter().all(|earlier| earlier.block != visit.block) {
                finished(Finished::Block(visit.block));
            }
            if self.graph.split() == Some(at)
                && let Some(lane) = grad.lane.take()
            {
                k.add(&lane, &mut grad.x);
            }
            if let Some(skip) = visit.skip {
                let from = (&record, before_skip.as_ref());
                let grad_skip = self.skip_grad(skip, rows, from, &mut grad.x, &mut grads.skips);
                if let Some(place) = grad_outputs.get_mut(skip.from) {
                    *place = grad_skip;
                }
            }
        }
        k.add(&grad.x, &mut source.x0);
        self.embed_grad(rows, &record, source.x0, grad.x, grads);
        if let (Some(values), Some(grad_values), Some(grads)) = (&record.values, &source.values, &mut grads.value_table)
        {
            self.values_grad(rows, values, grad_values, grads);
        }
        nll
    }
}
