//! The course of a value in a line of text.

/// Columns drawn.
const WIDTH: usize = 16;
/// From the least to the greatest value.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// One part in so many of the course is its steep beginning, which decides nothing about the height.
const FALL: usize = 8;

/// All values so far, averaged to a bounded number of means.
#[derive(Clone, Debug, Default)]
pub(super) struct Spark {
    /// Each of `1 << doublings` values.
    means: Vec<f64>,
    doublings: u32,
    sum: f64,
    count: u64,
}

impl Spark {
    /// One more value; what is no finite number is left out.
    pub fn push(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.sum += value;
        self.count += 1;
        if self.count < 1 << self.doublings.min(63) {
            return;
        }
        self.means.push(self.sum / self.count as f64);
        (self.sum, self.count) = (0.0, 0);
        if self.means.len() == 2 * WIDTH {
            self.means = self.means.chunks(2).map(|pair| pair.iter().sum::<f64>() / pair.len() as f64).collect();
            self.doublings += 1;
        }
    }

    /// The course; nothing before there are two values.
    pub fn text(&self) -> String {
        if self.means.len() < 2 {
            return String::new();
        }
        let (count, width) = (self.means.len(), self.means.len().min(WIDTH));
        // As wide however many means there are, so that the line does not jump about.
        let mean = |column: usize| {
            let part = &self.means[column * count / width..(column + 1) * count / width];
            part.iter().sum::<f64>() / part.len() as f64
        };
        let columns: Vec<f64> = (0..width).map(mean).collect();
        let settled = &columns[columns.len() / FALL..];
        let low = settled.iter().copied().fold(f64::INFINITY, f64::min);
        let high = settled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let bar = |value: f64| {
            let height = if high > low { (value - low) / (high - low) } else { 0.0 };
            let at = (height * (BARS.len() - 1) as f64).round().clamp(0.0, (BARS.len() - 1) as f64);
            BARS[at as usize]
        };
        columns.into_iter().map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spark(values: impl IntoIterator<Item = f64>) -> Spark {
        let mut spark = Spark::default();
        values.into_iter().for_each(|value| spark.push(value));
        spark
    }

    #[test]
    fn values_rise_and_fall_as_they_do() {
        assert_eq!(spark([0.0, 7.0, 3.0]).text(), "▁█▄");
        assert_eq!(spark([2.0, 2.0]).text(), "▁▁");
        assert_eq!(spark([f64::NAN, 1.0, f64::INFINITY]).text(), "");
    }

    #[test]
    fn a_long_course_is_averaged_and_bounded() {
        let long = spark((0..100_000).map(|i| 100_000.0 - f64::from(i)));
        assert!(long.means.len() < 2 * WIDTH);
        let text = long.text();
        assert!(text.chars().count() == WIDTH && text.starts_with('█') && text.ends_with('▁'), "{text}");
        // It falls evenly: no column is higher than the one before.
        let at = |c: char| BARS.iter().position(|bar| *bar == c).unwrap();
        assert!(text.chars().zip(text.chars().skip(1)).all(|(a, b)| at(a) >= at(b)), "{text}");
    }
}
