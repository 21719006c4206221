//! What pictures made here share: text that is markup, scales, round values.

/// SVG made here, every foreign word in it escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Svg(pub String);

impl std::fmt::Display for Svg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Svg {}

/// A linear scale from values to places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub low: f64,
    pub high: f64,
    pub from: f64,
    pub to: f64,
}

impl Scale {
    pub fn at(&self, value: f64) -> f64 {
        let span = if self.high > self.low { self.high - self.low } else { 1.0 };
        self.from + (value - self.low) / span * (self.to - self.from)
    }
}

/// Most ticks of an axis.
const MAX_TICKS: usize = 12;

/// Round values between two, about so many.
pub(super) fn ticks(low: f64, high: f64, count: u32) -> Vec<f64> {
    let rough = (high - low) / f64::from(count.max(1));
    if !rough.is_finite() || rough <= 0.0 {
        return vec![low];
    }
    let power = 10f64.powi(rough.log10().floor() as i32);
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let first = (low / step).ceil();
    let places = (0..MAX_TICKS).map(|index| (first + index as f64) * step);
    places.take_while(|tick| *tick <= high + step * 1e-9).collect()
}

/// A value of an axis without zeros at its end.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_string() } else { short.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(ticks(0.0, 1000.0, 5), [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]);
        let texts: Vec<String> = ticks(1.123, 1.171, 5).into_iter().map(short).collect();
        assert_eq!(texts, ["1.13", "1.14", "1.15", "1.16", "1.17"]);
        assert_eq!(ticks(2.0, 2.0, 5), [2.0]);
        assert_eq!(short(-0.000_001), "0");
    }
}
