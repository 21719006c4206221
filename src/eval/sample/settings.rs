//! Which sample of which windows: what makes two samples the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Strata, draw};
use crate::eval::{Shard, WindowPlan};

/// Smallest sample: below it Student's interval is no longer near 95 % for losses, which are skewed.
pub const MIN_SAMPLE: u64 = 30;
/// First batch of a test whose size is not said.
pub const DEFAULT_FIRST_BATCH: u64 = 128;
/// How often an interval may miss the true value.
pub const ALPHA: f64 = 0.05;

/// A sample by what it was drawn with. Equal settings give equal windows of one plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleSettings {
    /// Seed of the draw.
    pub seed: u64,
    /// Windows of the first batch, which decides on the strata.
    pub first_batch: u64,
    /// Windows asked for.
    pub size: u64,
}

impl SampleSettings {
    /// A sample in one piece.
    pub fn new(seed: u64, size: u64) -> Self {
        SampleSettings { seed, first_batch: size, size }
    }

    /// The strata of its windows.
    pub fn strata(&self, plan: &WindowPlan) -> Strata {
        Strata::new(plan, self.first_batch)
    }

    /// Its windows, ascending.
    pub fn windows(&self, plan: &WindowPlan) -> Vec<u64> {
        draw(&self.strata(plan), self.seed, self.size)
    }

    /// How many windows it has.
    pub fn len(&self, plan: &WindowPlan) -> u64 {
        self.size.min(plan.windows())
    }

    /// Whether it is of no windows.
    pub fn is_empty(&self, plan: &WindowPlan) -> bool {
        self.len(plan) == 0
    }

    /// Whether it is no sample, but every window.
    pub fn is_complete(&self, plan: &WindowPlan) -> bool {
        self.size >= plan.windows()
    }
}

/// The windows of one of several parts of a sample: a run of them.
pub(super) fn part(windows: &[u64], shard: Shard) -> &[u64] {
    let cut = |i: u64| (windows.len() as u128 * u128::from(i) / u128::from(shard.of.max(1))) as usize;
    windows.get(cut(shard.index.saturating_sub(1))..cut(shard.index)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another() {
        let windows: Vec<u64> = (0..47).collect();
        for of in [1, 2, 5, 47, 100] {
            let parts: Vec<u64> = (1..=of).flat_map(|index| part(&windows, Shard { index, of }).to_vec()).collect();
            assert_eq!(parts, windows);
        }
        assert!(part(&windows, Shard { index: 9, of: 3 }).is_empty());
        assert!(part(&windows, Shard { index: 0, of: 0 }).is_empty());
    }

    #[test]
    fn a_sample_of_all_windows_is_none() {
        let plan = WindowPlan::sliding(1000, 64, 16).unwrap();
        let sample = SampleSettings::new(1, 40);
        assert_eq!((sample.len(&plan), sample.is_complete(&plan), sample.is_empty(&plan)), (40, false, false));
        let all = SampleSettings::new(1, u64::MAX);
        assert_eq!((all.len(&plan), all.is_complete(&plan)), (plan.windows(), true));
        assert!(all.is_empty(&WindowPlan::sliding(1, 64, 16).unwrap()));
    }
}
