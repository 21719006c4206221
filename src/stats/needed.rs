//! How many seeds a claim still needs.

use super::{Summary, t_test};

/// Median standard deviation of the final bpb between seeds, over 185 submissions with three or more seeds.
///
/// Used to plan when a claim has a single run and so no spread of its own.
pub const TYPICAL_SEED_SD: f64 = 0.000_63;

/// Beyond this many runs (about 40 dollars each) "more seeds" is no practical advice.
pub const MAX_SEEDS_CONSIDERED: usize = 50;

/// Smallest number of runs at which this mean and spread would be significant, if both stay as they are.
///
/// `candidate_mean` and `candidate_sd` in bits per byte, `reference` as in the test, `margin` in bits per byte.
/// `None` when the mean does not beat the margin, or when [`MAX_SEEDS_CONSIDERED`] runs would not do.
pub fn seeds_needed(
    candidate_mean: f64,
    candidate_sd: f64,
    reference: Result<&Summary, f64>,
    margin: f64,
    alpha: f64,
) -> Option<usize> {
    (2..=MAX_SEEDS_CONSIDERED).find(|&n| {
        let Ok(candidate) = Summary::published(n, candidate_mean, candidate_sd) else { return false };
        let test = match reference {
            Ok(reference) => t_test::welch(&candidate, reference, margin),
            Err(published) => t_test::one_sample(&candidate, published, margin),
        };
        test.is_ok_and(|test| test.p.0 < alpha)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::RECORD_ALPHA;

    #[test]
    fn three_against_three_need_nineteen_ten_thousandths_beyond_the_margin() {
        // With sd 0.00063 on both sides: 3.747 x 0.00063 x sqrt(2/3) = 0.00193 bpb for n = 3.
        let reference = Summary::published(3, 1.1, TYPICAL_SEED_SD).unwrap();
        let needed = |beyond: f64| seeds_needed(1.1 - beyond, TYPICAL_SEED_SD, Ok(&reference), 0.0, RECORD_ALPHA);
        assert_eq!(needed(0.001_94), Some(3));
        assert!(needed(0.001_92).unwrap() > 3);
    }

    /// Against an exact mean one standard deviation away: t = sqrt(n), and t(0.01, df 8) = 2.896 < 3, t(0.01, df 7) =
    /// 2.998 > sqrt(8).
    #[test]
    fn against_a_published_mean_nine_runs_show_one_standard_deviation() {
        assert_eq!(seeds_needed(1.0, 0.1, Err(1.1), 0.0, 0.01), Some(9));
        assert_eq!(seeds_needed(1.0, 0.1, Err(1.2), 0.1, 0.01), Some(9));
        // A third of one needs 50 and a few; two are enough for a giant step.
        assert_eq!(seeds_needed(1.0, 0.1, Err(1.033), 0.0, 0.01), None);
        assert_eq!(seeds_needed(1.0, 0.1, Err(1.036), 0.0, 0.01), Some(45));
        assert_eq!(seeds_needed(1.0, 0.1, Err(9.0), 0.0, 0.01), Some(2));
        assert_eq!(seeds_needed(1.0, f64::NAN, Err(9.0), 0.0, 0.01), None);
    }

    #[test]
    fn no_number_of_seeds_makes_a_worse_mean_better() {
        let reference = Summary::published(3, 1.1, TYPICAL_SEED_SD).unwrap();
        assert_eq!(seeds_needed(1.1, TYPICAL_SEED_SD, Ok(&reference), 0.0, RECORD_ALPHA), None);
        assert_eq!(seeds_needed(1.1628, TYPICAL_SEED_SD, Err(1.1598), 0.0, RECORD_ALPHA), None);
    }
}
