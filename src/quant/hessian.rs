//! The Hessian of a linear layer's loss in its weights, up to a factor: the sum of `x x^T` over what enters it.

use rayon::prelude::*;

use super::inverse_factor::{add_products, wide};

/// Tokens added at a time: 64 of 2,048 channels in double precision are 1 MiB.
const TOKENS_AT_A_TIME: usize = 64;
/// Rows of the sum a task adds to at a time, so that a token's values are loaded once for all of them.
const ROWS: usize = 4;
/// Columns of the sum a task adds to at a time.
const TILE: usize = 256;
/// Lower bound of the mean of the diagonal that [`HessianSum::damped_mean`] takes its share of (PR #1019).
const MIN_MEAN_DIAGONAL: f32 = 1e-6;

/// Why inputs cannot be added.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HessianError {
    /// The inputs are not whole tokens.
    #[error("{values} values are not whole tokens of {channels} channels")]
    Shape {
        /// Values given.
        values: usize,
        /// Channels of a token.
        channels: usize,
    },
    /// No batch has ended, so there is no mean.
    #[error("no batch of inputs was added")]
    NoBatch,
}

/// Sums `x x^T` over the tokens of batches, in double precision and in their order.
#[derive(Clone, Debug)]
pub struct HessianSum {
    channels: usize,
    /// `[channels, channels]`; only the lower half is kept up, and what lies right of it by less than [`ROWS`].
    sum: Vec<f64>,
    batches: u64,
}

impl HessianSum {
    /// Without any input. Takes 8 bytes times the square of `channels`.
    pub fn new(channels: usize) -> Self {
        HessianSum { channels, sum: vec![0.0; channels.saturating_mul(channels)], batches: 0 }
    }

    /// Values of a token.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Adds what enters the layer: tokens in any number, `[tokens, channels]`. A layer that is run several times in a
    /// batch adds every visit.
    pub fn add(&mut self, inputs: &[f32]) -> Result<(), HessianError> {
        let n = self.channels;
        if n == 0 || !inputs.len().is_multiple_of(n) {
            return Err(HessianError::Shape { values: inputs.len(), channels: n });
        }
        for tokens in inputs.chunks(TOKENS_AT_A_TIME * n) {
            let tokens: Vec<f64> = tokens.iter().map(|&value| f64::from(value)).collect();
            self.sum.par_chunks_mut(ROWS * n).enumerate().for_each(|(group, sums)| {
                let row = ROWS * group;
                let columns = n.min(row + ROWS);
                let tiles = (0..columns).step_by(TILE).map(|from| from..columns.min(from + TILE));
                let mut rows: Vec<&mut [f64]> = sums.chunks_mut(n).collect();
                let Ok(rows) = <&mut [&mut [f64]; ROWS]>::try_from(&mut rows[..]) else {
                    // The last rows, where they fill no group.
                    for (k, sums) in rows.into_iter().enumerate() {
                        let factors: Vec<f64> = tokens.iter().skip(row + k).step_by(n).copied().collect();
                        for tile in tiles.clone() {
                            add_products(&mut sums[tile.clone()], &factors, |token| &tokens[token * n..][tile.clone()]);
                        }
                    }
                    return;
                };
                let factors: Vec<[f64; ROWS]> =
                    tokens.chunks(n).map(|token| std::array::from_fn(|k| token[row + k])).collect();
                for tile in tiles {
                    let mut sums = rows.each_mut().map(|sums| &mut sums[tile.clone()]);
                    wide(
                        #[inline(always)]
                        || add_to_rows(&mut sums, &factors, |token| &tokens[token * n..][tile.clone()]),
                    );
                }
            });
        }
        Ok(())
    }

    /// Ends a batch: the mean is over batches, not tokens.
    pub fn end_batch(&mut self) {
        self.batches += 1;
    }

    /// `[channels, channels]`: the sum over the number of batches.
    pub fn mean(&self) -> Result<Vec<f32>, HessianError> {
        if self.batches == 0 {
            return Err(HessianError::NoBatch);
        }
        let (n, batches) = (self.channels, self.batches as f64);
        let at = |row: usize, column: usize| (self.sum[row.max(column) * n + row.min(column)] / batches) as f32;
        Ok((0..n * n).map(|k| at(k / n, k % n)).collect())
    }

    /// [`Self::mean`] with 1 % of the mean of its diagonal, at least 1e-6, added to the diagonal (PR #1019).
    pub fn damped_mean(&self) -> Result<Vec<f32>, HessianError> {
        let mut mean = self.mean()?;
        let diagonal = || mean.iter().step_by(self.channels + 1);
        let average = diagonal().map(|&h| f64::from(h)).sum::<f64>() / self.channels.max(1) as f64;
        let damping = super::gptq::DAMPING as f32 * (average as f32).max(MIN_MEAN_DIAGONAL);
        mean.iter_mut().step_by(self.channels + 1).for_each(|h| *h += damping);
        Ok(mean)
    }
}

/// Adds `factors[t][k] * token(t)` to row k for each token t in turn, as [`add_products`] does to one.
#[inline(always)]
fn add_to_rows<'a>(rows: &mut [&mut [f64]; ROWS], factors: &[[f64; ROWS]], token: impl Fn(usize) -> &'a [f64]) {
    let [one, two, three, four] = rows;
    let (fours, rest) = factors.as_chunks::<4>();
    for (index, [a, b, c, d]) in fours.iter().enumerate() {
        let [p, q, r, s] = [0, 1, 2, 3].map(|k| token(4 * index + k));
        let tokens = p.iter().zip(q).zip(r).zip(s);
        let sums = one.iter_mut().zip(two.iter_mut()).zip(three.iter_mut()).zip(four.iter_mut());
        for ((((one, two), three), four), (((&p, &q), &r), &s)) in sums.zip(tokens) {
            *one = *one + a[0] * p + b[0] * q + c[0] * r + d[0] * s;
            *two = *two + a[1] * p + b[1] * q + c[1] * r + d[1] * s;
            *three = *three + a[2] * p + b[2] * q + c[2] * r + d[2] * s;
            *four = *four + a[3] * p + b[3] * q + c[3] * r + d[3] * s;
        }
    }
    for (index, factors) in rest.iter().enumerate() {
        let values = token(4 * fours.len() + index);
        for (sums, factor) in [&mut *one, &mut *two, &mut *three, &mut *four].into_iter().zip(factors) {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_over_batches_and_not_tokens() {
        let mut sum = HessianSum::new(2);
        assert_eq!(sum.mean(), Err(HessianError::NoBatch));
        // (1, 2), (3, -1); then (0, 4): 10, -1 + 0, 5 + 16, over two batches.
        sum.add(&[1.0, 2.0, 3.0, -1.0]).unwrap();
        sum.end_batch();
        sum.add(&[0.0, 4.0]).unwrap();
        sum.end_batch();
        assert_eq!(sum.mean().unwrap(), [5.0, -0.5, -0.5, 10.5]);
        // 1 % of 7.75.
        assert_eq!(sum.damped_mean().unwrap(), [5.0775, -0.5, -0.5, 10.5775]);
        // Nothing ever entered: 1 % of 1e-6.
        let mut none = HessianSum::new(1);
        none.end_batch();
        assert_eq!(none.damped_mean().unwrap(), [1e-8]);
    }

    #[test]
    fn tokens_may_come_in_any_pieces_and_every_tile_is_summed() {
        // Small integers add up exactly: sum over t of (t + i mod 5) (t + j mod 5), in closed form by t and t^2.
        let (n, tokens) = (303, 150);
        let value = |token: usize, channel: usize| (token + channel % 5) as f32;
        let inputs: Vec<f32> = (0..tokens * n).map(|k| value(k / n, k % n)).collect();
        let mut whole = HessianSum::new(n);
        whole.add(&inputs).unwrap();
        whole.end_batch();
        let mut pieces = HessianSum::new(n);
        inputs.chunks(7 * n).for_each(|piece| pieces.add(piece).unwrap());
        pieces.end_batch();
        let found = whole.mean().unwrap();
        assert_eq!(found, pieces.mean().unwrap());
        let (first, second) = (150 * 149 / 2, 149 * 150 * 299 / 6);
        for (k, found) in found.iter().enumerate() {
            let (a, b) = (k / n % 5, k % n % 5);
            assert_eq!(*found, (second + (a + b) * first + a * b * tokens) as f32, "{k}");
        }
    }

    #[test]
    fn parts_of_tokens_are_refused() {
        assert_eq!(HessianSum::new(2).add(&[1.0; 3]), Err(HessianError::Shape { values: 3, channels: 2 }));
        assert_eq!(HessianSum::new(0).add(&[]), Err(HessianError::Shape { values: 0, channels: 0 }));
    }
}
