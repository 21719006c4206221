//! Critical values for looking at growing samples without being wrong more often for it.
//!
//! A group sequential design (C. Jennison, B. W. Turnbull, *Group Sequential Methods with Applications to Clinical
//! Trials*, 2000) with the error spent in equal parts over the planned looks (K. K. G. Lan, D. L. DeMets, "Discrete
//! sequential boundaries for clinical trials", Biometrika 70, 1983). At look `k` the interval is
//! `estimate ± c_k standard errors`; all intervals together hold the true value with probability `1 - alpha` (repeated
//! confidence intervals, Jennison and Turnbull 1989), whatever the rule for stopping.
//!
//! The standardized estimates of nested samples have the correlations of a Gaussian walk in information time, where the
//! information of `n` of `N` windows is in proportion to `1 / (1 / n - 1 / N)`. A sample of all windows is exact and
//! needs no share of the error.

use libm::{erfc, exp};

/// Points over the interval of continuation: Simpson's rule on a smooth function, accurate far beyond what is asked for.
const POINTS: usize = 401;
/// No critical value is sought beyond this many standard errors.
const LARGEST: f64 = 12.0;
/// Halvings of the interval a critical value is sought in.
const HALVINGS: usize = 60;

/// Sizes of the samples at the looks: `first`, twice that, and so on, until all `windows` are scored.
pub fn looks(first: u64, windows: u64) -> Vec<u64> {
    let first = first.max(1);
    let mut sizes: Vec<u64> =
        std::iter::successors(Some(first), |size| size.checked_mul(2)).take_while(|&size| size < windows).collect();
    sizes.push(windows);
    sizes
}

/// Information at every look of those sizes but a last one of all `windows`.
pub fn information(sizes: &[u64], windows: u64) -> Vec<f64> {
    let partial = sizes.iter().take_while(|&&size| size < windows);
    partial.map(|&size| 1.0 / (1.0 / size as f64 - 1.0 / windows as f64)).collect()
}

/// Critical values of standard normal statistics with that information, each of which spends the same part of `alpha`.
pub fn critical_values(information: &[f64], alpha: f64) -> Vec<f64> {
    let share = alpha / information.len().max(1) as f64;
    let mut walk = Walk::default();
    let find = |&information: &f64| {
        let (mut low, mut high) = (0.0, LARGEST);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if walk.crossing(information, middle) > share { low = middle } else { high = middle }
        }
        walk.go_on(information, high);
        high
    };
    information.iter().map(find).collect()
}

/// How often a standard normal value lies beyond ±`critical`: what an interval of Student's distribution with as many
/// standard errors would have to miss with (Jennison and Turnbull 2000, section 3.8).
pub fn alpha_of(critical: f64) -> f64 {
    2.0 * upper_tail(critical)
}

/// Density of the standardized estimate of runs that have not crossed so far.
#[derive(Default)]
struct Walk {
    information: f64,
    /// Points of the last interval of continuation with density times Simpson's weight; empty before the first look.
    points: Vec<(f64, f64)>,
}

impl Walk {
    /// Probability of not crossing before and of lying beyond ±`critical` at a look with `information`.
    fn crossing(&self, information: f64, critical: f64) -> f64 {
        if self.points.is_empty() {
            return 2.0 * upper_tail(critical);
        }
        // Given the last value u, the next is normal around u sqrt(I / J) with variance 1 - I / J.
        let (scale, spread) = self.step(information);
        let beyond = |u: f64| upper_tail((critical - u * scale) / spread) + upper_tail((critical + u * scale) / spread);
        self.points.iter().map(|&(u, weight)| weight * beyond(u)).sum()
    }

    /// Goes on inside ±`critical`.
    fn go_on(&mut self, information: f64, critical: f64) {
        let (scale, spread) = self.step(information);
        let density = |z: f64| match self.points.is_empty() {
            true => normal(z),
            false => self.points.iter().map(|&(u, weight)| weight * normal((z - u * scale) / spread) / spread).sum(),
        };
        let step = 2.0 * critical / (POINTS - 1) as f64;
        let point = |i: usize| {
            let simpson = match i {
                0 => 1.0,
                i if i == POINTS - 1 => 1.0,
                i if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            let z = -critical + step * i as f64;
            (z, density(z) * simpson * step / 3.0)
        };
        self.points = (0..POINTS).map(point).collect();
        self.information = information;
    }

    fn step(&self, information: f64) -> (f64, f64) {
        let share = self.information / information;
        (share.sqrt(), (1.0 - share).max(f64::EPSILON).sqrt())
    }
}

fn normal(z: f64) -> f64 {
    exp(-0.5 * z * z) / std::f64::consts::TAU.sqrt()
}

/// Probability of a standard normal value above `z`.
fn upper_tail(z: f64) -> f64 {
    0.5 * erfc(z * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::RandomStream;

    /// Probability of crossing at all with given critical values.
    fn total(information: &[f64], critical: impl Fn(usize) -> f64) -> f64 {
        let mut walk = Walk::default();
        let mut sum = 0.0;
        for (k, &information) in information.iter().enumerate() {
            sum += walk.crossing(information, critical(k));
            walk.go_on(information, critical(k));
        }
        sum
    }

    /// Constants of Pocock and of O'Brien and Fleming for alpha 0.05, from Jennison and Turnbull 2000, tables 2.1 and 2.3.
    #[test]
    fn probabilities_agree_with_published_tables() {
        for (looks, pocock, obrien_fleming) in
            [(1, 1.960, 1.960), (2, 2.178, 1.977), (5, 2.413, 2.040), (10, 2.555, 2.087)]
        {
            let equal: Vec<f64> = (1..=looks).map(f64::from).collect();
            let spent = total(&equal, |_| pocock);
            assert!((spent - 0.05).abs() < 1e-4, "Pocock, {looks} looks: {spent}");
            let spent = total(&equal, |k| obrien_fleming * (f64::from(looks) / (k + 1) as f64).sqrt());
            assert!((spent - 0.05).abs() < 1e-4, "O'Brien and Fleming, {looks} looks: {spent}");
        }
    }

    #[test]
    fn every_look_spends_the_same() {
        let information = information(&looks(100, 100_000), 100_000);
        let critical = critical_values(&information, 0.05);
        assert_eq!(critical.len(), 10);
        assert!((total(&information, |k| critical[k]) - 0.05).abs() < 1e-9);
        // The first is the normal quantile of its share: 2.807034 for 0.005 (two-sided).
        assert!((critical[0] - 2.807_034).abs() < 1e-6, "{critical:?}");
        // Later looks repeat some of what earlier ones said, and Bonferroni's correction would take 2.807 for all.
        assert!(critical[1..].iter().all(|&c| (2.4..critical[0]).contains(&c)), "{critical:?}");
        // One look: the ordinary interval.
        assert!((critical_values(&[3.0], 0.05)[0] - 1.959_964).abs() < 1e-6);
        assert!(critical_values(&[], 0.05).is_empty());
    }

    /// Against a walk of independent steps, simulated.
    #[test]
    fn a_simulated_walk_crosses_as_often() {
        let information = [1.0, 2.5, 4.0, 9.0];
        let critical = critical_values(&information, 0.2);
        let (walks, mut stream, mut crossed) = (40_000, RandomStream::new(4, "walk"), [0u32; 4]);
        for _ in 0..walks {
            let (mut score, mut before) = (0.0, 0.0);
            for (k, &now) in information.iter().enumerate() {
                score += stream.normal() * f64::sqrt(now - before);
                before = now;
                if (score / now.sqrt()).abs() > critical[k] {
                    crossed[k] += 1;
                    break;
                }
            }
        }
        // Five standard deviations of a count with p = 0.05.
        let bound = 5.0 * (f64::from(walks) * 0.05 * 0.95).sqrt();
        assert!(crossed.iter().all(|&count| (f64::from(count) - 0.05 * f64::from(walks)).abs() < bound), "{crossed:?}");
    }

    #[test]
    fn looks_double_until_everything_is_scored() {
        assert_eq!(looks(100, 1000), [100, 200, 400, 800, 1000]);
        assert_eq!(looks(100, 400), [100, 200, 400]);
        assert_eq!((looks(100, 50), looks(0, 3), looks(5, 0)), (vec![50], vec![1, 2, 3], vec![0]));
        assert_eq!(looks(u64::MAX, u64::MAX), [u64::MAX]);
        assert_eq!(information(&[10, 20, 40], 40), [1.0 / (0.1 - 0.025), 1.0 / (0.05 - 0.025)]);
    }
}
