//! A step of a model that stays where the engine runs.

use super::buckets::sum_over_ranks;
use super::{StepPlan, TrainError};
use crate::collective::{Collective, reading_order};
use crate::data::TokenBatch;
use crate::engine::{Resident, ResidentStep};

/// Hands over this rank's micro-batches, sums gradients over the ranks, clips and updates.
///
/// Nothing waits before the update has been handed over, unless there are other ranks: their sums are made on the
/// host. Losses of this rank come back in stream order.
pub(super) fn take(
    resident: &mut dyn Resident,
    batches: &[TokenBatch],
    plan: &StepPlan,
    share: f32,
    ranks: &dyn Collective,
) -> Result<ResidentStep, TrainError> {
    let order: Vec<usize> = reading_order(batches.len()).into_iter().filter(|&index| index < batches.len()).collect();
    for batch in order.iter().filter_map(|&index| batches.get(index)) {
        resident.micro_batch(batch, plan.fake_quant)?;
    }
    if ranks.place().world() > 1 {
        let mut gradients = resident.gradients()?;
        let own: Vec<Vec<f32>> = gradients.iter().map(|(_, tensor)| tensor.data().to_vec()).collect();
        let summed = sum_over_ranks(ranks, own.into_iter())?;
        for ((_, tensor), values) in gradients.iter_mut().zip(&summed) {
            tensor.data_mut().copy_from_slice(values);
        }
        resident.set_gradients(&gradients)?;
    }
    let mut found = resident.step(plan, share)?;
    let mut losses = vec![f32::NAN; batches.len()];
    for (index, loss) in order.into_iter().zip(found.losses) {
        losses[index] = loss;
    }
    found.losses = losses;
    Ok(found)
}
