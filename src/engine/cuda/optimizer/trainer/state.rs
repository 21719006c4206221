//! The training state copied to the host.

use super::CudaTrainer;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::memory::Buffer;
use crate::engine::{EngineError, TrainerState};
use crate::model::ParamRole;
use crate::optim::{FIRST_MOMENT, MOMENTUM_BUFFER, Optimizer, SECOND_MOMENT, SwaSum};

impl<'a, D: Device + 'a> CudaTrainer<'a, D> {
    pub(super) fn copy_to_host(&self) -> Result<TrainerState, EngineError> {
        let matrices = self.arena.role(ParamRole::Matrix).end;
        let (first, mut second) = (self.read(&self.first)?, vec![0.0; matrices]);
        second.extend(self.read(&self.second)?);
        let mut optimizer = Optimizer::new(&self.recipe, &self.config);
        optimizer.restore(self.steps, |name| {
            let of = |values: &[f32], prefix| self.arena.tensor(values, name.strip_prefix(prefix)?).ok();
            of(&first, FIRST_MOMENT).or_else(|| of(&first, MOMENTUM_BUFFER)).or_else(|| of(&second, SECOND_MOMENT))
        })?;
        let sum = match &self.snapshots {
            None => None,
            Some(sum) => Some(self.arena.params(&self.read(sum)?)?),
        };
        let swa = SwaSum::from_parts(sum, self.snapshot_count);
        let weights = self.arena.params(&self.read(&self.weights)?)?;
        Ok(TrainerState { weights, optimizer, swa, ema: None })
    }

    fn read(&self, values: &Buffer<D>) -> Result<Vec<f32>, EngineError> {
        let _stream = self.kernels.shared.lock_stream();
        let values = self.kernels.read(values);
        self.kernels.check()?;
        Ok(values)
    }
}
