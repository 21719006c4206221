//! When a test looks at its sample, and with which interval.

use super::boundaries::{alpha_of, critical_values, information, looks};
use super::settings::ALPHA;

/// The looks of one test: sizes of the sample, and how often an interval at that look would miss if it were the only
/// one.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Windows scored by each look, and the alpha of its interval.
    pub looks: Vec<(u64, f64)>,
}

impl Schedule {
    /// Samples that double from `first` on until all of `windows` are scored.
    pub fn new(first: u64, windows: u64) -> Self {
        let sizes = looks(first, windows);
        let critical = critical_values(&information(&sizes, windows), ALPHA);
        // The last look is at all windows, and leaves nothing to chance.
        let alphas = critical.into_iter().map(alpha_of).chain([ALPHA]);
        Schedule { looks: sizes.into_iter().zip(alphas).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_a_test_are_wider_than_that_of_one_look() {
        let schedule = Schedule::new(64, 2103);
        let sizes: Vec<u64> = schedule.looks.iter().map(|look| look.0).collect();
        assert_eq!(sizes, [64, 128, 256, 512, 1024, 2048, 2103]);
        let (last, before) = schedule.looks.split_last().unwrap();
        assert_eq!(*last, (2103, ALPHA));
        assert!(before.iter().all(|(_, alpha)| *alpha < ALPHA && *alpha >= ALPHA / 6.0 - 1e-12), "{schedule:?}");
        assert_eq!(Schedule::new(64, 10).looks, [(10, ALPHA)]);
    }
}
