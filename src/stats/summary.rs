//! What a test needs from a set of runs: how many, their mean, their spread.

/// Count, mean and sample standard deviation (n - 1) of at least two runs, in the unit of the values given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    n: usize,
    mean: f64,
    sd: f64,
}

/// Values that are no sample.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SampleError {
    /// One run has no spread, so nothing can be said about chance.
    #[error("{0} run(s) given, at least 2 are needed to estimate the spread between seeds; report 3 or more")]
    TooFewRuns(usize),
    /// A value that cannot be a loss.
    #[error("{0} is not a finite, non-negative number")]
    NotFinite(f64),
    /// All values the same to the last bit: the same run counted again.
    #[error("both sides have zero spread: identical values are one run repeated, not independent runs")]
    NoSpread,
}

impl Summary {
    /// Summarizes per-seed values. Two passes over the values in the order given, so the same values give the same
    /// bits.
    pub fn of(values: &[f64]) -> Result<Self, SampleError> {
        let n = values.len();
        if let Some(bad) = values.iter().find(|value| !value.is_finite() || **value < 0.0) {
            return Err(SampleError::NotFinite(*bad));
        }
        if n < 2 {
            return Err(SampleError::TooFewRuns(n));
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Self::published(n, mean, (squares / (n - 1) as f64).sqrt())
    }

    /// Takes count, mean and sample standard deviation as somebody published them.
    pub fn published(n: usize, mean: f64, sd: f64) -> Result<Self, SampleError> {
        if n < 2 {
            return Err(SampleError::TooFewRuns(n));
        }
        match [mean, sd].into_iter().find(|value| !value.is_finite() || *value < 0.0) {
            Some(bad) => Err(SampleError::NotFinite(bad)),
            None => Ok(Summary { n, mean, sd }),
        }
    }

    /// Number of runs, at least 2.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Arithmetic mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Sample standard deviation (denominator n - 1).
    pub fn sd(&self) -> f64 {
        self.sd
    }

    /// Squared standard error of the mean, sd² / n.
    pub fn mean_variance(&self) -> f64 {
        self.sd * self.sd / self.n as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_denominator_is_n_minus_one() {
        // 2, 4, 4, 4, 5, 5, 7, 9: population sd 2 exactly, sample sd sqrt(32 / 7).
        let summary = Summary::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((summary.n(), summary.mean()), (8, 5.0));
        assert!((summary.sd() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn pr_1868_has_the_spread_its_log_lines_give() {
        // Three seeds of PR 1868's rerun; 1.061409 and 0.00094 on paper.
        let summary = Summary::of(&[1.060_832_88, 1.060_907_48, 1.062_487_76]).unwrap();
        assert!((summary.mean() - 1.061_409_373).abs() < 1e-8, "{summary:?}");
        assert!((summary.sd() - 0.000_934_6).abs() < 1e-6, "{summary:?}");
    }

    #[test]
    fn the_variance_of_the_mean_is_the_runs_over_their_number() {
        let summary = Summary::published(4, 1.0, 0.2).unwrap();
        assert!((summary.mean_variance() - 0.01).abs() < 1e-17);
        assert_eq!((summary.n(), summary.mean(), summary.sd()), (4, 1.0, 0.2));
        // Zeros are values, of which two are enough.
        assert_eq!(Summary::of(&[0.0, 0.0]), Summary::published(2, 0.0, 0.0));
        assert!(Summary::published(2, 0.0, 0.0).is_ok());
        assert!(Summary::of(&[1.0, -0.1]).is_err() && Summary::published(2, f64::NAN, 0.0).is_err());
    }

    #[test]
    fn one_run_and_nonsense_are_refused() {
        assert_eq!(Summary::of(&[]), Err(SampleError::TooFewRuns(0)));
        assert_eq!(Summary::of(&[1.16]), Err(SampleError::TooFewRuns(1)));
        assert_eq!(Summary::published(1, 1.16, 0.001), Err(SampleError::TooFewRuns(1)));
        assert!(matches!(Summary::of(&[1.16, f64::NAN]), Err(SampleError::NotFinite(_))));
        assert!(matches!(Summary::of(&[1.16, f64::INFINITY]), Err(SampleError::NotFinite(_))));
        assert!(matches!(Summary::published(3, 1.16, -0.1), Err(SampleError::NotFinite(_))));
    }
}
