//! How the windows of an evaluation are divided before some of them are drawn.
//!
//! A window that scores more than the others (the first of sliding ones scores its whole length) is always taken:
//! drawing it or not would be most of the variance. All others lie in strata: runs of neighboring windows, of sizes
//! that differ by at most one, from which the same number is drawn, give or take one.

use std::ops::Range;

use crate::eval::WindowPlan;

/// Windows drawn from a stratum by the first batch. More strata follow the text more closely; fewer windows in each
/// leave less to estimate its spread from.
const PER_STRATUM: u64 = 4;

/// A division of the windows of one evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strata {
    windows: u64,
    certain: u64,
    count: u64,
}

impl Strata {
    /// Strata for a sample whose first batch has `first` windows.
    pub fn new(plan: &WindowPlan, first: u64) -> Self {
        let windows = plan.windows();
        let scored = |index| plan.window(index).map_or(0, |window| window.end - window.first_scored);
        let certain = u64::from(windows > 1 && scored(0) > plan.stride());
        let drawn = first.clamp(certain, windows.max(certain)) - certain;
        Strata { windows, certain, count: (drawn / PER_STRATUM).max(1) }
    }

    /// Windows of the evaluation.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// Windows at the start that are always taken: none or one.
    pub fn certain(&self) -> u64 {
        self.certain
    }

    /// Number of strata.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Windows of stratum `index`, counted from 0; empty past the last.
    pub fn range(&self, index: u64) -> Range<u64> {
        let open = self.windows.saturating_sub(self.certain);
        let cut = |i: u64| self.certain + (u128::from(open) * u128::from(i) / u128::from(self.count)) as u64;
        if index >= self.count { self.windows..self.windows } else { cut(index)..cut(index + 1) }
    }

    /// The stratum a window lies in; `None` for one that is always taken, and past the last.
    pub fn of(&self, window: u64) -> Option<u64> {
        if window < self.certain || window >= self.windows {
            return None;
        }
        let open = self.windows - self.certain;
        // The last stratum whose first window is not behind this one.
        let index = ((u128::from(window - self.certain) + 1) * u128::from(self.count) - 1) / u128::from(open);
        Some(index as u64)
    }

    /// How many windows of each stratum a sample of `size` holds, those always taken aside. Grows with `size` in every
    /// stratum, so that a larger sample contains the smaller one; never more than there are.
    pub fn quotas(&self, size: u64) -> Vec<u64> {
        let drawn = size.min(self.windows).saturating_sub(self.certain);
        let (each, mut rest) = (drawn / self.count, drawn % self.count);
        let largest = self.windows.saturating_sub(self.certain).div_ceil(self.count);
        let length = |index| {
            let range = self.range(index);
            range.end - range.start
        };
        let mut quotas = vec![each; self.count as usize];
        // The larger strata have room for one more also where the others are taken whole.
        for is_larger in [true, false] {
            for (index, quota) in (0..).zip(&mut quotas) {
                if rest > 0 && (length(index) == largest) == is_larger {
                    *quota += 1;
                    rest -= 1;
                }
            }
        }
        quotas
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_long_first_window_is_always_taken() {
        let strata = Strata::new(&WindowPlan::sliding(62_021_846, 2048, 64).unwrap(), 513);
        assert_eq!((strata.windows(), strata.certain(), strata.count()), (969_061, 1, 128));
        assert_eq!((strata.range(0).start, strata.range(127).end, strata.range(128)), (1, 969_061, 969_061..969_061));
        assert_eq!(
            (strata.of(0), strata.of(1), strata.of(969_060), strata.of(969_061)),
            (None, Some(0), Some(127), None)
        );
        // Side by side all windows score the same.
        let strata = Strata::new(&WindowPlan::non_overlapping(1000, 10).unwrap(), 40);
        assert_eq!((strata.windows(), strata.certain(), strata.count()), (99, 0, 10));
    }

    #[test]
    fn splits_of_no_or_one_window_have_strata_too() {
        for tokens in [0, 1, 2, 8] {
            let strata = Strata::new(&WindowPlan::sliding(tokens, 8, 2).unwrap(), 1000);
            assert_eq!((strata.certain(), strata.count()), (0, 1));
            assert_eq!(strata.quotas(1000), [strata.windows()]);
        }
    }

    proptest! {
        #[test]
        fn strata_cover_every_window_once_and_quotas_fit(tokens in 2u64..3000, stride in 1u64..20, first in 0u64..200, more in 0u64..400) {
            let plan = WindowPlan::sliding(tokens, 20, stride).unwrap();
            let strata = Strata::new(&plan, first);
            let mut next = strata.certain();
            for index in 0..strata.count() {
                let range = strata.range(index);
                prop_assert_eq!(range.start, next);
                prop_assert!(range.clone().all(|window| strata.of(window) == Some(index)));
                next = range.end;
            }
            prop_assert_eq!(next, plan.windows());
            let (small, large) = (strata.quotas(first), strata.quotas(first + more));
            prop_assert_eq!(large.iter().sum::<u64>() + strata.certain(), (first + more).clamp(strata.certain(), plan.windows()));
            for (index, (small, large)) in (0..).zip(small.iter().zip(&large)) {
                let range = strata.range(index);
                prop_assert!(small <= large && *large <= range.end - range.start);
            }
        }
    }
}
