//! From the windows of a sample to the total of all windows, and how far off it may be.
//!
//! What is estimated is a fixed number, the total of the split, and the only chance is that of the draw
//! (design-based inference). That neighboring windows and windows of one document resemble each other is no
//! error: windows are drawn singly and not in blocks, and the variance below is unbiased whatever they are.
//!
//! With `N` windows in stratum `h`, `n` drawn from it, `f = n / N`:
//!
//! * **Stratified** (W. G. Cochran, *Sampling Techniques*, 3rd ed. 1977, equations 5.1 and 5.7):
//!   `Y = sum_h N ȳ`, `v(Y) = sum_h N² (1 - f) s² / n`, with `s²` the sample variance in the stratum.
//! * **Regression** (Cochran 1977, section 7.10, combined; with several variables Särndal, Swensson, Wretman, *Model
//!   Assisted Survey Sampling*, 1992, section 6.6): `Y + b (X - X̂)`, where `X` is the total of the auxiliary
//!   variables, known because they are computed for all windows, and `X̂` its estimate from the sample. The slopes `b`
//!   are those with the least variance in the sample, and the variance is that of `y - b x`, multiplied with
//!   `d / (d - k)` for `d` degrees of freedom and `k` slopes, and with `1 + q / d`, where `q` is the square of `X - X̂` in
//!   units of its own covariance: what the slopes are uncertain by counts the more, the further the sample is from the
//!   whole (Cochran 1977, section 7.2, for one variable).
//!
//! Intervals are Student's, with `sum_h (n - 1)` degrees of freedom less the slopes (Cochran 1977, section 5.4).

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::Strata;
use crate::eval::ExactSum;

/// Auxiliary variables of a window: what models of single tokens, of pairs and of four in a row pay for it, nats, and the
/// bytes of text it scores.
pub const AUXILIARIES: usize = 4;
/// Variables of a window: its own nats, then the auxiliary ones.
const VARIABLES: usize = 1 + AUXILIARIES;
/// What must be left of an auxiliary variable's spread beside the others' to say anything.
const LEAST_PIVOT: f64 = 1e-9;

type Matrix = [[f64; VARIABLES]; VARIABLES];

/// What is known of a window once it is scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// Index of the window.
    pub window: u64,
    /// Sum of its negative log-likelihoods.
    pub nats: f64,
    /// Its auxiliary variables.
    pub auxiliary: [f64; AUXILIARIES],
}

/// An estimate of the nats of the whole split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Nats.
    pub total: f64,
    /// Estimated variance of `total`; 0 where every window was scored.
    pub variance: f64,
    /// Degrees of freedom of `variance`; infinite where every window was scored.
    pub df: f64,
}

impl Estimate {
    /// Half the width of the two-sided interval that misses with probability `alpha`.
    pub fn half_width(&self, alpha: f64) -> f64 {
        if self.variance == 0.0 { 0.0 } else { t_quantile(1.0 - alpha / 2.0, self.df) * self.variance.sqrt() }
    }
}

/// Quantile of Student's distribution.
pub(super) fn t_quantile(p: f64, df: f64) -> f64 {
    // Infinity where there is no such distribution: nothing is known then.
    StudentsT::new(0.0, 1.0, df).map_or(f64::INFINITY, |t| t.inverse_cdf(p))
}

/// The same sample, with and without its auxiliary variables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimates {
    /// From the scored windows alone.
    pub plain: Estimate,
    /// With the control variates.
    pub regression: Estimate,
    /// Slope of each auxiliary variable; 0 where it says nothing.
    pub slopes: [f64; AUXILIARIES],
}

impl Estimates {
    /// How many times as many windows would be needed without the control variates for an interval as narrow.
    pub fn gain(&self) -> f64 {
        let gain = self.plain.variance / self.regression.variance;
        if gain.is_finite() { gain } else { 1.0 }
    }
}

impl Estimates {
    /// Where every window was scored, the total without the rounding of each window.
    pub fn with_exact(mut self, total: ExactSum) -> Self {
        for estimate in [&mut self.plain, &mut self.regression] {
            if estimate.df.is_infinite() {
                estimate.total = total.to_f64();
            }
        }
        self
    }
}

/// Estimates from a whole sample: every window of it, ascending. `totals` are those of the auxiliary variables over all
/// windows.
///
/// `None` where a stratum that was not taken whole gave fewer than two windows: nothing then tells the spread.
pub fn estimate(strata: &Strata, sample: &[Observed], totals: &[f64; AUXILIARIES]) -> Option<Estimates> {
    let row = |observed: &Observed| {
        let mut row = [observed.nats; VARIABLES];
        row[1..].copy_from_slice(&observed.auxiliary);
        row
    };
    let (certain, drawn) = sample.split_at(sample.partition_point(|observed| observed.window < strata.certain()));
    let mut expanded = [0.0; VARIABLES];
    certain.iter().for_each(|observed| add(&mut expanded, &row(observed), 1.0));
    let (mut covariance, mut df, mut rest) = (Matrix::default(), 0.0, drawn);
    for index in 0..strata.count() {
        let range = strata.range(index);
        let (here, behind) = rest.split_at(rest.partition_point(|observed| observed.window < range.end));
        rest = behind;
        let (size, count) = ((range.end - range.start) as f64, here.len() as f64);
        if size == 0.0 {
            continue;
        }
        let mut mean = [0.0; VARIABLES];
        here.iter().for_each(|observed| add(&mut mean, &row(observed), 1.0 / count));
        add(&mut expanded, &mean, size);
        if count == size {
            continue;
        }
        if count < 2.0 {
            return None;
        }
        df += count - 1.0;
        let weight = size * size * (1.0 - count / size) / count / (count - 1.0);
        for observed in here {
            let mut deviation = row(observed);
            add(&mut deviation, &mean, -1.0);
            for (i, row) in covariance.iter_mut().enumerate() {
                add(row, &deviation, weight * deviation[i]);
            }
        }
    }
    if df == 0.0 {
        let exact = Estimate { total: expanded[0], variance: 0.0, df: f64::INFINITY };
        return Some(Estimates { plain: exact, regression: exact, slopes: [0.0; AUXILIARIES] });
    }
    let plain = Estimate { total: expanded[0], variance: covariance[0][0], df };
    // What the sample misses of each auxiliary total.
    let mut missing = [0.0; VARIABLES];
    for (missing, (total, found)) in missing[1..].iter_mut().zip(totals.iter().zip(&expanded[1..])) {
        *missing = total - found;
    }
    let Slopes { slopes, used, residual, distance } = fit(&covariance, &missing, df);
    let spread = residual * df / (df - used) * (1.0 + distance / df);
    let shift: f64 = slopes.iter().zip(&missing[1..]).map(|(slope, missing)| slope * missing).sum();
    let regression = Estimate { total: plain.total + shift, variance: spread, df: df - used };
    Some(Estimates { plain, regression, slopes })
}

/// `sum += factor * row`.
fn add(sum: &mut [f64; VARIABLES], row: &[f64; VARIABLES], factor: f64) {
    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
}

struct Slopes {
    slopes: [f64; AUXILIARIES],
    /// Slopes that are not left out.
    used: f64,
    /// Variance that they leave.
    residual: f64,
    /// Square of what is missing of the auxiliary totals, in units of its covariance.
    distance: f64,
}

/// Least squares from the covariances, by elimination. Variables that the ones before them determine are left out, as
/// is every slope for which there is no degree of freedom left.
fn fit(covariance: &Matrix, missing: &[f64; VARIABLES], df: f64) -> Slopes {
    let (mut left, mut solved) = (*covariance, *missing);
    let mut pivots = Vec::new();
    for k in 1..VARIABLES {
        let pivot = left[k][k];
        if pivot <= LEAST_PIVOT * covariance[k][k] || pivot.is_nan() || df - pivots.len() as f64 <= 1.0 {
            continue;
        }
        let row = left[k];
        let value = solved[k];
        for (i, other) in left.iter_mut().enumerate().filter(|(i, _)| *i != k) {
            let factor = -other[k] / pivot;
            add(other, &row, factor);
            solved[i] += factor * value;
        }
        pivots.push(k);
    }
    // Gauss and Jordan's elimination leaves [0][0] with the residual, and row k with its pivot and, times that, its slope.
    let mut slopes = [0.0; AUXILIARIES];
    pivots.iter().for_each(|&k| slopes[k - 1] = left[k][0] / left[k][k]);
    let distance = pivots.iter().map(|&k| missing[k] * solved[k] / left[k][k]).sum::<f64>().max(0.0);
    Slopes { slopes, used: pivots.len() as f64, residual: left[0][0].max(0.0), distance }
}

#[cfg(test)]
mod tests {
    use super::super::draw;
    use super::*;
    use crate::eval::WindowPlan;
    use crate::random::RandomStream;

    fn strata(windows: u64, first: u64) -> Strata {
        Strata::new(&WindowPlan::non_overlapping(windows * 4 + 1, 4).unwrap(), first)
    }

    /// Two auxiliary variables, and two that tell nothing.
    fn observed(window: u64, nats: f64, [first, second]: [f64; 2]) -> Observed {
        Observed { window, nats, auxiliary: [first, second, 0.0, 0.0] }
    }

    /// Two strata of 5 and 6 windows, worked by hand: means 2 and 5, variances 1 and 9;
    /// Y = 5 x 2 + 6 x 5 = 40, v = 25 x (1 - 3/5) x 1/3 + 36 x (1 - 3/6) x 9/3 = 3.3333 + 54.
    #[test]
    fn a_sample_worked_by_hand() {
        let strata = strata(11, 8);
        assert_eq!((strata.count(), strata.range(0), strata.range(1)), (2, 0..5, 5..11));
        let nats = [(0, 1.0), (2, 2.0), (4, 3.0), (5, 2.0), (7, 5.0), (10, 8.0)];
        let sample = nats.map(|(window, nats)| observed(window, nats, [1.0, 0.0]));
        let found = estimate(&strata, &sample, &[11.0, 0.0, 0.0, 0.0]).unwrap();
        assert!((found.plain.total - 40.0).abs() < 1e-12);
        assert!((found.plain.variance - (10.0 / 3.0 + 54.0)).abs() < 1e-12);
        assert_eq!(found.plain.df, 4.0);
        // Constants tell nothing.
        assert_eq!((found.slopes, found.regression, found.gain()), ([0.0; AUXILIARIES], found.plain, 1.0));
        // t(0.975, 4) = 2.776445 (tables).
        assert!((found.plain.half_width(0.05) - 2.776_445 * found.plain.variance.sqrt()).abs() < 1e-4);
    }

    /// Where nats are a linear function of the auxiliary variables, and these are known for all, nothing is left to chance.
    #[test]
    fn what_the_auxiliary_variables_determine_is_known() {
        let plan = WindowPlan::sliding(6000, 64, 8).unwrap();
        let strata = Strata::new(&plan, 40);
        let mut stream = RandomStream::new(1, "auxiliary");
        let all: Vec<Observed> = (0..plan.windows())
            .map(|window| {
                let x = [stream.normal(), stream.normal()];
                observed(window, 7.0 + 2.0 * x[0] - 3.0 * x[1], x)
            })
            .collect();
        let sum = |of: &dyn Fn(&Observed) -> f64| all.iter().map(of).sum::<f64>();
        let totals = [sum(&|o| o.auxiliary[0]), sum(&|o| o.auxiliary[1]), 0.0, 0.0];
        let sample: Vec<Observed> = draw(&strata, 9, 40).iter().map(|&window| all[window as usize]).collect();
        let found = estimate(&strata, &sample, &totals).unwrap();
        assert!((found.slopes[0] - 2.0).abs() < 1e-9 && (found.slopes[1] + 3.0).abs() < 1e-9, "{found:?}");
        assert!((found.regression.total - sum(&|o| o.nats)).abs() < 1e-6, "{found:?}");
        assert!(found.regression.variance < 1e-6 && found.plain.variance > 1.0);
        assert_eq!((found.plain.df, found.regression.df), (30.0, 28.0));
        // All of them: exact, and no interval.
        let found = estimate(&strata, &all, &totals).unwrap();
        assert!((found.plain.total - sum(&|o| o.nats)).abs() < 1e-8);
        assert_eq!((found.regression.variance, found.regression.half_width(0.05)), (0.0, 0.0));
    }

    /// The slopes are those of ordinary least squares, here by the closed form for one variable.
    #[test]
    fn one_stratum_gives_ordinary_least_squares() {
        let strata = strata(1000, 4);
        let mut stream = RandomStream::new(2, "line");
        let sample: Vec<Observed> = (0..50)
            .map(|i| {
                let x = stream.normal();
                observed(i * 20, 3.0 * x + stream.normal(), [x, 2.0 * x])
            })
            .collect();
        let mean = |of: &dyn Fn(&Observed) -> f64| sample.iter().map(of).sum::<f64>() / 50.0;
        let (x, y) = (mean(&|o| o.auxiliary[0]), mean(&|o| o.nats));
        let (sxy, sxx) = (mean(&|o| (o.auxiliary[0] - x) * (o.nats - y)), mean(&|o| (o.auxiliary[0] - x).powi(2)));
        let residual = sample.iter().map(|o| (o.nats - y - sxy / sxx * (o.auxiliary[0] - x)).powi(2)).sum::<f64>();
        let found = estimate(&strata, &sample, &[500.0, 1000.0, 0.0, 0.0]).unwrap();
        // The second variable is twice the first: it is left out.
        assert!((found.slopes[0] - sxy / sxx).abs() < 1e-12 && found.slopes[1] == 0.0, "{found:?}");
        let unit = 1000.0 * 1000.0 * 0.95 / 50.0;
        let distance = (500.0 - 1000.0 * x).powi(2) / (unit * sxx * 50.0 / 49.0);
        let variance = unit * residual / 48.0 * (1.0 + distance / 49.0);
        assert!((found.regression.variance / variance - 1.0).abs() < 1e-12);
        assert!((found.regression.total - (1000.0 * y + found.slopes[0] * (500.0 - 1000.0 * x))).abs() < 1e-9);
    }

    #[test]
    fn one_window_of_a_stratum_tells_no_spread() {
        let strata = strata(11, 8);
        let sample = [0, 2, 4, 7].map(|window| observed(window, 1.0, [0.0; 2]));
        assert_eq!(estimate(&strata, &sample, &[0.0; AUXILIARIES]), None);
        assert_eq!(estimate(&strata, &[], &[0.0; AUXILIARIES]), None);
    }

    /// Mean and variance over many draws are the finite population's, and the estimated variance is right on average.
    #[test]
    fn totals_and_variances_are_unbiased() {
        let strata = strata(60, 12);
        let mut stream = RandomStream::new(3, "population");
        let all: Vec<f64> = (0..60).map(|i| f64::from(i) * 0.1 + stream.normal().exp()).collect();
        let truth: f64 = all.iter().sum();
        let (draws, mut sum, mut squares, mut variances) = (20_000, 0.0, 0.0, 0.0);
        for seed in 0..draws {
            let sample: Vec<Observed> = draw(&strata, seed, 12)
                .iter()
                .map(|&window| observed(window, all[window as usize], [0.0; 2]))
                .collect();
            let found = estimate(&strata, &sample, &[0.0; AUXILIARIES]).unwrap().plain;
            sum += found.total - truth;
            squares += (found.total - truth).powi(2);
            variances += found.variance;
        }
        // The exact variance: sum_h N² (1 - f) S² / n, S² over the whole stratum.
        let exact: f64 = all
            .chunks(20)
            .map(|stratum| {
                let mean = stratum.iter().sum::<f64>() / 20.0;
                let spread = stratum.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / 19.0;
                400.0 * 0.8 * spread / 4.0
            })
            .sum();
        let n = draws as f64;
        assert!((sum / n).abs() < 5.0 * (exact / n).sqrt(), "bias {}", sum / n);
        // A variance estimated from as many draws is off by sqrt(2 / n) of itself, and more for skewed values.
        assert!((squares / n / exact - 1.0).abs() < 0.1, "{} {exact}", squares / n);
        assert!((variances / n / exact - 1.0).abs() < 0.1, "{} {exact}", variances / n);
    }
}
