//! The update: clipping, AdamW, Muon, snapshots.

use std::ops::Range;
use std::sync::Arc;

use super::{BEFORE_LOSSES, CudaTrainer};
use crate::engine::cuda::backend::{Operand, in_view};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::optimizer::arena::Matrices;
use crate::engine::cuda::optimizer::effective::Flat;
use crate::engine::cuda::optimizer::muon::{MuonTensors, stored};
use crate::engine::cuda::optimizer::ranks::Ranks;
use crate::engine::cuda::optimizer::sums::Summed;
use crate::engine::cuda::view::View;
use crate::engine::network::Kernels;
use crate::engine::{EngineError, TrainerStep};
use crate::model::ParamRole;
use crate::optim::{AdamStep, Method, MuonStep, STEP_ORDER, StepPlan};

impl<'a, D: Device + 'a> CudaTrainer<'a, D> {
    pub(super) fn take_step(&mut self, plan: &StepPlan, share: f32) -> Result<TrainerStep, EngineError> {
        let shared = Arc::clone(&self.kernels.shared);
        let stream = shared.lock_stream();
        let gradients = self.take_gradients()?;
        drop(stream);
        self.stream_wait()?;
        let stream = shared.lock_stream();
        self.clip(&gradients, share)?;
        // First what others wait for. Parameters are independent of one another, so any order gives the same bits.
        let step = self.muon_step(plan);
        let updates = self.muon_updates(&step, &gradients)?;
        for role in STEP_ORDER.into_iter().filter(|role| self.group(*role).method == Method::AdamW) {
            self.adam(role, plan, &gradients)?;
        }
        drop(stream);
        self.stream_wait()?;
        let stream = shared.lock_stream();
        for batch in self.arena.batches() {
            let tensors = self.muon_tensors(batch, &gradients)?;
            self.kernels.muon_descend(batch, &step, tensors, &batch.part(&updates)?);
        }
        drop(stream);
        self.effective_for = None;
        self.kernels.check()?;
        if let Some(ranks) = &mut self.ranks {
            ranks.synchronize()?;
        }
        let _stream = shared.lock_stream();
        self.finish_step(plan)
    }

    /// The gradients of the coming step, summed over the ranks once the stream has waited for them; it then has none.
    fn take_gradients(&mut self) -> Result<Flat<D>, EngineError> {
        if let Some(total) = self.total.take() {
            return Ok(total);
        }
        let sum = std::mem::take(&mut self.sum).finish();
        let total = sum.unwrap_or_else(|| Arc::new(self.kernels.gradients(self.arena.len())));
        let mut ranks = self.ranks.take();
        let queued = self.verdict().map_err(EngineError::from).and_then(|[bad, _]| {
            self.kernels.count_bad(self.losses()?, bad);
            ranks.as_mut().map_or(Ok(()), |ranks| ranks.sum_all(&total, bad))
        });
        self.ranks = ranks;
        queued.map(|()| total)
    }

    /// Lets what is launched from now on see what the other ranks have done. Without the stream lock: they may be threads
    /// that wait for it.
    fn stream_wait(&mut self) -> Result<(), EngineError> {
        Ok(self.ranks.as_mut().map_or(Ok(()), Ranks::stream_wait)?)
    }

    /// Multiplies the gradients by their share and finds the factor that clips them.
    fn clip(&self, gradients: &Buffer<D>, share: f32) -> Result<(), EngineError> {
        let (k, n) = (&self.kernels, gradients.len());
        let [bad, factor] = self.verdict()?;
        // SAFETY: `scale` reads and writes n values.
        unsafe { k.each("scale", n, &[in_view(gradients.view(), DType::F32, n), Operand::F32(share)]) };
        k.sum_to(gradients.view(), Summed::Squares, self.square()?, false);
        k.clip_factor(self.square()?, bad, self.recipe.grad_clip_norm, factor);
        Ok(())
    }

    fn adam(&self, role: ParamRole, plan: &StepPlan, gradients: &Buffer<D>) -> Result<(), EngineError> {
        let Range { start, end } = self.arena.role(role);
        let group = self.group(role);
        let rate = group.learning_rate * plan.lr_multiplier;
        let scalars = AdamStep::new(&self.recipe.adam, rate, group.weight_decay, self.steps + 1).scalars();
        let matrices = self.arena.role(ParamRole::Matrix).end;
        let (n, [_, factor]) = (end - start, self.verdict()?);
        let operands = [
            in_view(self.weights.view().slice(start..end)?, DType::F32, n),
            in_view(self.first.view().slice(start..end)?, DType::F32, n),
            in_view(self.second.view().slice(start - matrices..end - matrices)?, DType::F32, n),
            in_view(gradients.view().slice(start..end)?, DType::F32, n),
            in_view(factor, DType::F32, 1),
            Operand::F32(scalars.keep),
            Operand::F32(scalars.step_size),
            Operand::F32(scalars.mix1),
            Operand::F32(scalars.beta2),
            Operand::F32(scalars.mix2),
            Operand::F32(scalars.second_root),
            Operand::F32(scalars.eps),
        ];
        // SAFETY: `adamw` reads and writes n values of each array, and reads one factor.
        unsafe { self.kernels.each("adamw", n, &operands) };
        Ok(())
    }

    fn muon_step(&self, plan: &StepPlan) -> MuonStep {
        let rate = self.group(ParamRole::Matrix).learning_rate * plan.lr_multiplier;
        MuonStep::new(&self.recipe.muon, rate, plan.muon_momentum)
    }

    /// The finished updates of all matrices, in the arena's order. Those of other ranks are there once the stream has waited
    /// for them.
    fn muon_updates(&mut self, step: &MuonStep, gradients: &Flat<D>) -> Result<Flat<D>, EngineError> {
        let mut ranks = self.ranks.take();
        let updates = self.share_muon_updates(step, gradients, ranks.as_mut());
        self.ranks = ranks;
        updates
    }

    fn share_muon_updates(
        &self,
        step: &MuonStep,
        gradients: &Flat<D>,
        mut ranks: Option<&mut Ranks<'a>>,
    ) -> Result<Flat<D>, EngineError> {
        let k = &self.kernels;
        let updates = Arc::new(k.buffer_of(stored(step), self.arena.role(ParamRole::Matrix).end));
        for (i, batch) in self.arena.batches().into_iter().enumerate() {
            k.muon_momentum(step, self.muon_tensors(batch, gradients)?, &batch.part(&updates)?);
            let own = ranks.as_ref().map_or(Ok(batch), |ranks| ranks.own_share(i))?;
            k.orthogonalize(own, &own.part(&updates)?, step.newton_schulz_steps);
            if let Some(ranks) = &mut ranks {
                ranks.share_updates(&updates, i)?;
            }
        }
        Ok(updates)
    }

    fn muon_tensors<'b>(&'b self, batch: Matrices, gradients: &'b Buffer<D>) -> Result<MuonTensors<'b>, EngineError> {
        let [_, factor] = self.verdict()?;
        let of_batch = |flat: &'b Buffer<D>| -> Result<View<'b>, DeviceError> { Self::matrices_of(flat, batch) };
        let (weight, buffer, gradient) = (of_batch(&self.weights)?, of_batch(&self.first)?, of_batch(gradients)?);
        Ok(MuonTensors { weight, buffer, gradient, factor })
    }

    /// What the step gave, read from the device; takes a snapshot where the plan says so.
    fn finish_step(&mut self, plan: &StepPlan) -> Result<TrainerStep, EngineError> {
        let sums = self.kernels.read_doubles(&self.sums)?;
        let missing = || DeviceError::Missing { name: "the sums of a step".into() };
        let [square, verdict, sums @ ..] = &sums[..] else { return Err(missing().into()) };
        const { assert!(BEFORE_LOSSES == 2, "the square and the verdict") };
        let sums = sums.get(..self.tokens.len()).ok_or_else(missing)?;
        let loss = |(sum, &tokens): (&f64, &usize)| (sum / tokens as f64) as f32;
        let losses: Vec<f32> = sums.iter().zip(&self.tokens).map(loss).collect();
        self.tokens.clear();
        // The device's own verdict, which is that of all ranks.
        let factor = f32::from_bits((verdict.to_bits() >> 32) as u32);
        if factor >= 0.0 {
            self.steps += 1;
            if plan.swa_pick {
                self.add_snapshot();
            }
        }
        Ok(TrainerStep { losses, gradient_norm: square.sqrt() })
    }

    fn add_snapshot(&mut self) {
        let k = &self.kernels;
        match &self.snapshots {
            None => self.snapshots = Some(Arc::new(k.copy(&self.weights))),
            Some(sum) => k.add_views(self.weights.view(), sum.view()),
        }
        self.snapshot_count += 1;
    }
}
