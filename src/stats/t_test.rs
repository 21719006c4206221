//! Student's t, one-sided: is the candidate better (lower) than the reference by more than a margin?
//!
//! * B. L. Welch, "The generalization of Student's problem when several different population variances are
//!   involved", Biometrika 34 (1947): unequal variances, Welch-Satterthwaite degrees of freedom.
//! * The challenge's maintainers used exactly this, with margin 0, from PR #1902 on.

use std::fmt;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{SampleError, Summary};

/// Probability, under "no better than the margin", of a result at least as good as the one seen.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct PValue(pub f64);

impl fmt::Display for PValue {
    /// Four decimals, and `< 0.0001` below them: more digits say nothing with three runs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1e-4 { f.pad("< 0.0001") } else { f.pad(&format!("{:.4}", self.0)) }
    }
}

/// Outcome of a one-sided test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TTest {
    /// (reference - margin - candidate) / standard error: positive where the candidate beats the margin.
    pub t: f64,
    /// Degrees of freedom; fractional for Welch's test.
    pub df: f64,
    /// Upper tail beyond `t`.
    pub p: PValue,
}

/// Welch's two-sample test of "candidate mean < reference mean - margin".
///
/// # Errors
/// [`SampleError::NoSpread`] when neither side varies: no standard error, no test.
pub fn welch(candidate: &Summary, reference: &Summary, margin: f64) -> Result<TTest, SampleError> {
    let (ours, theirs) = (candidate.mean_variance(), reference.mean_variance());
    let variance = ours + theirs;
    if variance <= 0.0 {
        return Err(SampleError::NoSpread);
    }
    // Shares instead of squares of tiny variances: no underflow for spreads of 1e-100.
    let (our_share, their_share) = (ours / variance, theirs / variance);
    let df = 1.0
        / (our_share * our_share / (candidate.n() - 1) as f64 + their_share * their_share / (reference.n() - 1) as f64);
    Ok(tail((reference.mean() - margin - candidate.mean()) / variance.sqrt(), df))
}

/// One-sample test of "candidate mean < published - margin", for a reference known by its mean alone.
///
/// It treats the published mean as exact, so it is more generous than [`welch`] with the reference's own runs.
///
/// # Errors
/// [`SampleError::NoSpread`] when the candidate does not vary, [`SampleError::NotFinite`] for a mean that is no number.
pub fn one_sample(candidate: &Summary, published: f64, margin: f64) -> Result<TTest, SampleError> {
    if !published.is_finite() {
        return Err(SampleError::NotFinite(published));
    }
    let variance = candidate.mean_variance();
    if variance <= 0.0 {
        return Err(SampleError::NoSpread);
    }
    Ok(tail((published - margin - candidate.mean()) / variance.sqrt(), (candidate.n() - 1) as f64))
}

/// Upper tail of Student's t at `t` with `df` degrees of freedom (`df` > 0, finite).
pub fn upper_tail(t: f64, df: f64) -> PValue {
    // `df` comes from sample sizes >= 2, so it is >= 1; a distribution that cannot be made says nothing in favor.
    StudentsT::new(0.0, 1.0, df).map_or(PValue(1.0), |distribution| PValue(distribution.sf(t)))
}

fn tail(t: f64, df: f64) -> TTest {
    TTest { t, df, p: upper_tail(t, df) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Closed forms of the upper tail for 1, 2 and 4 degrees of freedom.
    fn closed_form(t: f64, df: u32) -> f64 {
        match df {
            1 => 0.5 - t.atan() / std::f64::consts::PI,
            2 => 0.5 - t / (2.0 * (2.0 + t * t).sqrt()),
            _ => {
                let s = t / (4.0 + t * t).sqrt();
                0.5 - 0.75 * s + 0.25 * s * s * s
            }
        }
    }

    #[test]
    fn tails_match_closed_forms() {
        for df in [1, 2, 4] {
            for t in [-7.0, -1.0, -0.1, 0.0, 0.1, 1.0, 2.0, 3.747, 6.965, 20.0] {
                let (ours, exact) = (upper_tail(t, f64::from(df)).0, closed_form(t, df));
                assert!((ours - exact).abs() < 1e-12, "t {t} df {df}: {ours} {exact}");
            }
        }
    }

    #[test]
    fn critical_values_quoted_in_the_challenge() {
        // PR 1909 compares with t(0.01, df 2) = 6.965; three against three runs have 3.747 (df 4).
        for (critical, df) in [(6.965, 2.0), (3.747, 4.0)] {
            assert!((upper_tail(critical, df).0 - 0.01).abs() < 5e-6);
        }
    }

    /// Spreads of 0.3 and 0.4 over 9 and 16 runs: variances of the means 0.01 and 0.01.
    #[test]
    fn the_statistic_and_its_degrees_of_freedom() {
        let (ours, theirs) = (Summary::published(9, 1.0, 0.3).unwrap(), Summary::published(16, 1.5, 0.4).unwrap());
        let welch = welch(&ours, &theirs, 0.1).unwrap();
        // 0.4 / sqrt(0.02); 0.02^2 / (0.01^2 / 8 + 0.01^2 / 15) = 4 x 120 / 23.
        assert!((welch.t - 0.4 / 0.02f64.sqrt()).abs() < 1e-12 && (welch.df - 480.0 / 23.0).abs() < 1e-12);
        let alone = one_sample(&ours, 1.5, 0.1).unwrap();
        assert!((alone.t - 4.0).abs() < 1e-12 && alone.df == 8.0);
        assert!(matches!(one_sample(&ours, f64::NAN, 0.0), Err(SampleError::NotFinite(_))));
        // One side without spread is a sample still.
        let flat = Summary::published(16, 1.5, 0.0).unwrap();
        assert!((super::welch(&ours, &flat, 0.0).unwrap().df - 8.0).abs() < 1e-12);
        assert!((super::welch(&flat, &ours, 0.0).unwrap().df - 8.0).abs() < 1e-12);
        assert_eq!((PValue(1e-4).to_string(), PValue(0.99e-4).to_string()), ("0.0001".into(), "< 0.0001".into()));
        assert_eq!(upper_tail(1.0, f64::NAN), PValue(1.0));
    }

    #[test]
    fn identical_runs_are_refused() {
        let flat = Summary::of(&[1.1, 1.1, 1.1]).unwrap();
        let other = Summary::published(3, 1.2, 0.0).unwrap();
        assert_eq!(welch(&flat, &other, 0.0), Err(SampleError::NoSpread));
        assert_eq!(one_sample(&flat, 1.2, 0.0), Err(SampleError::NoSpread));
    }

    #[test]
    fn p_prints_as_people_write_it() {
        for (p, text) in [(0.062_49, "0.0625"), (0.5, "0.5000"), (0.000_42, "0.0004"), (1e-9, "< 0.0001")] {
            assert_eq!(PValue(p).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn p_is_a_probability_and_falls_as_the_margin_shrinks(
            ours in proptest::collection::vec(0.5f64..2.0, 2..8),
            theirs in proptest::collection::vec(0.5f64..2.0, 2..8),
            margin in 0.0f64..0.1,
        ) {
            let (ours, theirs) = (Summary::of(&ours).unwrap(), Summary::of(&theirs).unwrap());
            prop_assume!(ours.sd() > 0.0 || theirs.sd() > 0.0);
            let plain = welch(&ours, &theirs, 0.0).unwrap();
            let strict = welch(&ours, &theirs, margin).unwrap();
            prop_assert!((0.0..=1.0).contains(&plain.p.0));
            prop_assert!(strict.p >= plain.p);
            prop_assert!(plain.df >= 1.0 - 1e-9 && plain.df <= (ours.n() + theirs.n() - 2) as f64 + 1e-9);
            // Swapping the sides mirrors the tail.
            let mirrored = welch(&theirs, &ours, 0.0).unwrap();
            prop_assert!((mirrored.p.0 + plain.p.0 - 1.0).abs() < 1e-9);
        }
    }
}
