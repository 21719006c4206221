//! Gradients of a micro-batch, and what is done with them.

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::{BEFORE_LOSSES, CudaTrainer, DOUBLE};
use crate::data::TokenBatch;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::device_batch::DeviceBatch;
use crate::engine::cuda::optimizer::arena::Members;
use crate::engine::cuda::optimizer::effective::flat_network;
use crate::engine::cuda::optimizer::ranks::BucketReducer;
use crate::engine::cuda::optimizer::sums::Summed;
use crate::engine::network::{Finished, Forward, Kernels};
use crate::engine::{EngineError, check};
use crate::optim::FakeQuant;

impl<'a, D: Device + 'a> CudaTrainer<'a, D> {
    pub(super) fn run_micro_batch(&mut self, batch: &TokenBatch, fake_quant: FakeQuant) -> Result<(), EngineError> {
        check::batch(&self.config, batch)?;
        let shared = Arc::clone(&self.kernels.shared);
        let _stream = shared.lock_stream();
        self.refresh_effective(fake_quant);
        self.tokens.push(batch.inputs.len());
        self.make_room_for_losses();
        shared.clear(self.gradients.view());
        let count = self.tokens.len();
        let is_last = self.ranks.as_ref().is_some_and(|ranks| ranks.is_complete_with(count));
        if is_last {
            self.reduce_last(batch, fake_quant)?
        } else {
            self.add_gradients(batch, fake_quant)?
        }
        Ok(self.kernels.check()?)
    }

    /// Makes the weights in the form the network uses, unless they are there.
    fn refresh_effective(&mut self, fake_quant: FakeQuant) {
        if self.effective_for != Some(fake_quant) {
            self.kernels.make_effective(&self.arena, &self.weights, &self.effective, fake_quant);
            self.effective_for = Some(fake_quant);
        }
    }

    /// Enlarges `sums` until it holds a summed loss for each micro-batch.
    fn make_room_for_losses(&mut self) {
        let needed = DOUBLE * (BEFORE_LOSSES + self.tokens.len());
        if needed > self.sums.len() {
            let larger = self.kernels.doubles(self.sums.len().max(DOUBLE));
            let sums = std::mem::replace(&mut self.sums, larger);
            let shared = &self.kernels.shared;
            if let Some(begin) = shared.keep(self.sums.view().slice(0..sums.len())) {
                shared.copy(sums.view(), begin);
            }
        }
    }

    /// A micro-batch after which others follow, or one without other ranks.
    fn add_gradients(&mut self, batch: &TokenBatch, fake_quant: FakeQuant) -> Result<(), EngineError> {
        self.differentiate(batch, None)?;
        let k = &self.kernels;
        let gradients = Arc::new(k.copy(&self.gradients));
        k.unfold(&self.arena.transformed(&Members::ALL), &self.weights, &gradients, fake_quant);
        self.sum.push(gradients, |sum, other| k.add_views(other.view(), sum.view()));
        Ok(())
    }

    /// A rank's last micro-batch: its gradients go to the other ranks while the backward pass is still running.
    fn reduce_last(&mut self, batch: &TokenBatch, fake_quant: FakeQuant) -> Result<(), EngineError> {
        let Some(mut ranks) = self.ranks.take() else { return Ok(()) };
        let before = std::mem::take(&mut self.sum).before_last();
        let (kernels, weights) = (self.kernels.clone(), Arc::clone(&self.weights));
        let gradients = Arc::clone(&self.gradients);
        let mut reducer = BucketReducer::new(&kernels, &mut ranks, &weights, fake_quant, gradients, before);
        let total = self.differentiate(batch, Some(&mut reducer)).and_then(|()| {
            let [bad, _] = self.verdict()?;
            kernels.count_bad(self.losses()?, bad);
            let total = reducer.finish(bad);
            kernels.check()?;
            total
        });
        self.ranks = Some(ranks);
        self.total = Some(total?);
        Ok(())
    }

    /// Adds a micro-batch's gradients to `gradients` and sums its loss, group by group. The reducer is told what the last
    /// group finishes: every group adds to all gradients, so that is final.
    fn differentiate(
        &mut self,
        batch: &TokenBatch,
        mut reducer: Option<&mut BucketReducer<'_, 'a, D>>,
    ) -> Result<(), EngineError> {
        let (k, config) = (&self.kernels, &self.config);
        let shared = &k.shared;
        let grads = RefCell::new(flat_network(config, &self.arena, &self.gradients)?);
        let weight = 1.0 / batch.inputs.len() as f32;
        let group = (self.group_tokens / batch.seq_len).max(1) * batch.seq_len;
        let groups = batch.inputs.len().div_ceil(group);
        let own_loss = DOUBLE * (self.tokens.len() - 1)..DOUBLE * self.tokens.len();
        let start = DOUBLE * BEFORE_LOSSES;
        let loss = self.sums.view().slice(start + own_loss.start..start + own_loss.end)?;
        for (i, (inputs, targets)) in batch.inputs.chunks(group).zip(batch.targets.chunks(group)).enumerate() {
            let tokens = [inputs, targets];
            let DeviceBatch { rows, targets, tables, likelihoods } =
                match self.groups.entry((inputs.len(), batch.seq_len, weight.to_bits())) {
                    Entry::Occupied(known) => {
                        known.get().replace(k, config, tokens);
                        known.into_mut()
                    }
                    Entry::Vacant(unknown) => unknown.insert(DeviceBatch::new(k, config, tokens, batch.seq_len)),
                };
            let (graph, network) = (&self.graph, &self.network);
            let forward = Forward {
                k,
                config,
                graph,
                network,
                scaled: self.scaled.as_ref(),
                tables,
                observer: None,
                memory: None,
            };
            let work = |on_finished: &mut dyn FnMut(Finished)| {
                let record = forward.record(rows);
                forward.backward(rows, targets, weight, record, &mut grads.borrow_mut(), on_finished)
            };
            match &mut reducer {
                Some(reducer) if i + 1 == groups => {
                    let last = || {
                        let nll = work(&mut |finished| reducer.on_finished(finished));
                        k.sum_to(nll.view(), Summed::Values, loss, i > 0);
                    };
                    // SAFETY: the likelihoods are dropped in `last`, and the reducer allocates nothing that it keeps.
                    unsafe { likelihoods.run_unrecorded(shared, last) };
                }
                _ => {
                    // SAFETY: the work is the same for every batch of a shape; rows, targets and tables are kept beside the
                    // runner, weights and gradients in the trainer, which replaces none of them.
                    if let Some(nll) = unsafe { likelihoods.run(shared, || work(&mut |_| ())) } {
                        k.sum_to(nll.view(), Summed::Values, loss, i > 0);
                    }
                }
            }
        }
        Ok(())
    }
}
