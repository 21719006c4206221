//! Random numbers by name.
//!
//! Every stream is keyed by a seed and a name, so that adding one consumer changes no other, and is computed
//! from a counter with integer arithmetic and `libm`, so that it is the same bits on every machine.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Domain of the key derivation; part of what every stream's numbers depend on.
const KEY_CONTEXT: &str = "golf-harness 2026-01 named random stream";

/// A stream of random numbers: ChaCha8 keyed from a seed and a name.
#[derive(Clone, Debug)]
pub struct RandomStream {
    generator: ChaCha8Rng,
    /// Second value of the last Box-Muller pair.
    spare: Option<f64>,
}

impl RandomStream {
    /// The stream of that name under that seed.
    pub fn new(seed: u64, name: &str) -> Self {
        let material = [&seed.to_le_bytes(), name.as_bytes()].concat();
        let key = blake3::derive_key(KEY_CONTEXT, &material);
        RandomStream { generator: ChaCha8Rng::from_seed(key), spare: None }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// Uniform in [0, 1), on a grid of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        const GRID: f64 = 1.0 / (1u64 << 53) as f64;
        (self.bits() >> 11) as f64 * GRID
    }

    /// Uniform in `0..bound`, without bias; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Bits below this would make small values likelier (2^64 mod bound of them).
        let biased = bound.wrapping_neg().checked_rem(bound).unwrap_or(0);
        loop {
            let bits = self.bits();
            if bits >= biased {
                return bits.checked_rem(bound).unwrap_or(0);
            }
        }
    }

    /// Standard normal, by Box and Muller's transform.
    pub fn normal(&mut self) -> f64 {
        if let Some(value) = self.spare.take() {
            return value;
        }
        // 1 - u is in (0, 1], where the logarithm is finite.
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * self.uniform());
        self.spare = Some(radius * sin);
        radius * cos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_seed_and_name_alone() {
        let first = |seed, name| RandomStream::new(seed, name).bits();
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(2, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
    }

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        let mut stream = RandomStream::new(7, "moments");
        let n = 200_000;
        let draws: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let moment = |power: i32| draws.iter().map(|x| x.powi(power)).sum::<f64>() / f64::from(n);
        // Standard errors: sqrt(1, 2, 15, 96) / sqrt(n); five of them each.
        for (power, expected, variance) in [(1, 0.0, 1.0f64), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let bound = 5.0 * (variance / f64::from(n)).sqrt();
            assert!((moment(power) - expected).abs() < bound, "moment {power}: {}", moment(power));
        }
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut stream = RandomStream::new(7, "range");
        let mut counts = [0u32; 6];
        (0..60_000).for_each(|_| counts[stream.below(6) as usize] += 1);
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 500), "{counts:?}");
        assert_eq!((stream.below(1), stream.below(0)), (0, 0));
    }
}
