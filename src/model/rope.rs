//! Rotary position tables.

use half::bf16;

use super::{ModelConfig, RopePrecision};

/// Cosines and sines by position, row-major `[positions, head_dim / 2]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeTables {
    /// Cosine of each angle.
    pub cos: Vec<f32>,
    /// Sine of each angle.
    pub sin: Vec<f32>,
    /// Angles in a row: half the head width.
    pub half: usize,
}

impl RopeTables {
    /// Tables for positions `0..positions` in the precision the configuration asks for.
    ///
    /// Frequencies are `base^(-2i/d)`, single precision at every step as PyTorch computes them. The
    /// transcendental functions are taken in double precision and rounded once, so that the tables are
    /// the same bits on every machine.
    pub fn new(config: &ModelConfig, positions: usize) -> Self {
        let half = config.head_dim() / 2;
        let frequencies = inverse_frequencies(config.rope_base as f32, config.head_dim());
        let (mut cos, mut sin) = (Vec::with_capacity(positions * half), Vec::with_capacity(positions * half));
        for position in 0..positions {
            for &frequency in &frequencies {
                let (c, s) = match config.rope_tables {
                    RopePrecision::F32 => {
                        let angle = f64::from(position as f32 * frequency);
                        (libm::cos(angle) as f32, libm::sin(angle) as f32)
                    }
                    RopePrecision::Bf16 => {
                        let angle = round_bf16(round_bf16(position as f32) * round_bf16(frequency));
                        let angle = f64::from(angle);
                        (round_bf16(libm::cos(angle) as f32), round_bf16(libm::sin(angle) as f32))
                    }
                };
                cos.push(c);
                sin.push(s);
            }
        }
        RopeTables { cos, sin, half }
    }
}

/// `1 / base^(2i / d)` for `i < d / 2`, in the order of roundings of the PR's script.
fn inverse_frequencies(base: f32, head_dim: usize) -> Vec<f32> {
    let power = |i: usize| libm::pow(f64::from(base), f64::from((2 * i) as f32 / head_dim as f32)) as f32;
    (0..head_dim / 2).map(|i| 1.0 / power(i)).collect()
}

fn round_bf16(value: f32) -> f32 {
    bf16::from_f32(value).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_positions_collapse_to_641() {
        // 0..=256 are exact, then 128 values per doubling: 257 + 3 * 128.
        let distinct: std::collections::BTreeSet<u32> = (0..2048).map(|t| round_bf16(t as f32) as u32).collect();
        assert_eq!(distinct.len(), 641);
    }

    #[test]
    fn tables_are_rotations() {
        let config = ModelConfig::default();
        let tables = RopeTables::new(&config, 100);
        assert_eq!(tables.half, 32);
        for (c, s) in tables.cos.iter().zip(&tables.sin) {
            assert!((c * c + s * s - 1.0).abs() < 1e-6);
        }
        // Angle of position 7 in the slowest pair, from the closed form.
        let angle = 7.0 * 10_000f64.powf(-62.0 / 64.0);
        assert!((f64::from(tables.sin[7 * 32 + 31]) - angle.sin()).abs() < 1e-9);
    }
}
