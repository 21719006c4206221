//! In which order blocks are run.

use crate::model::{ModelConfig, Recurrence};

/// Blocks in the order they are run in a phase of the recurrence: `0..L` in phase 0 and without one.
pub(super) fn order(config: &ModelConfig, phase: usize) -> Vec<usize> {
    let all = 0..config.num_layers;
    match &config.recurrence {
        Some(Recurrence::Loop { first, last, repeats, from_fraction }) => {
            let repeats = if phase >= from_fraction.len() { *repeats } else { phase };
            let repeats = if phase == 0 { 0 } else { repeats };
            let looped = (0..=repeats).flat_map(|_| *first..=*last);
            (0..*first).chain(looped).chain(last + 1..config.num_layers).collect()
        }
        Some(Recurrence::Insert { blocks, .. }) if phase > 0 => {
            let after = blocks.iter().max().copied();
            let again = |block| if Some(block) == after { blocks.as_slice() } else { &[] };
            all.flat_map(|block| std::iter::once(block).chain(again(block).iter().copied())).collect()
        }
        _ => all.collect(),
    }
}

/// Rows of the skip weights: what the last phase of a loop needs, or the plain order.
pub(super) fn skip_rows(config: &ModelConfig) -> usize {
    let visits = match &config.recurrence {
        Some(Recurrence::Loop { first, last, repeats, .. }) => {
            config.num_layers + repeats * (last + 1).saturating_sub(*first)
        }
        _ => config.num_layers,
    };
    visits / 2
}
