//! An independent count of who scores what.
//!
//! [`WindowPlan`](super::WindowPlan) promises that every prediction is scored exactly once. Nothing here knows
//! how it does so: every window is walked, and a tally is kept for every prediction.

use super::WindowSpan;

/// How often predictions were scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Predictions scored exactly once.
    pub once: u64,
    /// Predictions never scored.
    pub never: u64,
    /// Predictions scored twice or more.
    pub repeatedly: u64,
    /// Scored predictions that the split does not have.
    pub outside: u64,
    /// The first prediction that was not scored exactly once.
    pub first_fault: Option<u64>,
}

impl Coverage {
    /// Walks windows over a split of `predictions` predictions. Takes one byte of memory per prediction.
    pub fn of(windows: impl IntoIterator<Item = WindowSpan>, predictions: u64) -> Self {
        let mut times = vec![0u8; predictions as usize];
        let mut coverage = Coverage::default();
        for window in windows {
            for prediction in window.scored() {
                match times.get_mut(prediction as usize) {
                    Some(times) => *times = times.saturating_add(1),
                    None => coverage.outside += 1,
                }
            }
        }
        for (prediction, times) in times.into_iter().enumerate() {
            match times {
                0 => coverage.never += 1,
                1 => coverage.once += 1,
                _ => coverage.repeatedly += 1,
            }
            if times != 1 && coverage.first_fault.is_none() {
                coverage.first_fault = Some(prediction as u64);
            }
        }
        coverage
    }
}

#[cfg(test)]
mod tests {
    use super::super::WindowPlan;
    use super::*;

    #[test]
    fn sliding_windows_leave_nothing_out_and_non_overlapping_ones_only_the_tail() {
        for (tokens, seq_len, stride) in [(2, 8, 3), (9, 8, 3), (10, 8, 3), (101, 8, 8), (333, 16, 1), (1000, 64, 63)] {
            let plan = WindowPlan::sliding(tokens, seq_len, stride).unwrap();
            let coverage = Coverage::of(plan.iter(0..plan.windows()), tokens - 1);
            assert_eq!(coverage, Coverage { once: tokens - 1, ..Default::default() }, "{plan:?}");

            let plan = WindowPlan::non_overlapping(tokens, seq_len).unwrap();
            let coverage = Coverage::of(plan.iter(0..plan.windows()), tokens - 1);
            let tail = (tokens - 1) % seq_len;
            let first_fault = (tail > 0).then_some(tokens - 1 - tail);
            assert_eq!(coverage, Coverage { once: tokens - 1 - tail, never: tail, first_fault, ..Default::default() });
        }
    }

    #[test]
    fn faults_are_counted() {
        let window = |start, first_scored, end| WindowSpan { start, first_scored, end };
        let coverage = Coverage::of([window(0, 0, 4), window(2, 3, 6), window(4, 7, 11)], 10);
        assert_eq!(coverage, Coverage { once: 8, never: 1, repeatedly: 1, outside: 1, first_fault: Some(3) });
    }
}
