//! A step of a model that stays where the engine runs.

use super::TrainError;
use crate::collective::reading_order;
use crate::data::TokenBatch;
use crate::engine::{DeviceTrainer, EngineError, TrainerStep};
use crate::optim::StepPlan;

/// Hands over this rank's micro-batches, then the update. Nothing waits before that has been handed over, but for the
/// other ranks to do the same. Losses of this rank come back in stream order.
pub(super) fn take(
    resident: &mut dyn DeviceTrainer,
    batches: &[TokenBatch],
    plan: &StepPlan,
    share: f32,
) -> Result<TrainerStep, TrainError> {
    resident.set_phase(plan.phase);
    let order: Vec<usize> = reading_order(batches.len()).into_iter().filter(|&index| index < batches.len()).collect();
    for batch in order.iter().filter_map(|&index| batches.get(index)) {
        resident.micro_batch(batch, plan.fake_quant).map_err(of_ranks)?;
    }
    let mut found = resident.step(plan, share).map_err(of_ranks)?;
    let mut losses = vec![f32::NAN; batches.len()];
    for (index, loss) in order.into_iter().zip(found.losses) {
        losses[index] = loss;
    }
    found.losses = losses;
    Ok(found)
}

/// The end of a rank is no failure of the engine that met it.
fn of_ranks(error: EngineError) -> TrainError {
    match error {
        EngineError::Ranks(error) => error.into(),
        error => error.into(),
    }
}
