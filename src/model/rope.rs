//! Rotary position tables.

use half::bf16;

use super::{ModelConfig, RopePrecision};

/// Cosines and sines by position, row-major `[positions, r / 2]` with r rotated coordinates of each head: pairs are
/// coordinates i and i + r/2.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeTables {
    /// Cosine of each angle.
    pub cos: Vec<f32>,
    /// Sine of each angle.
    pub sin: Vec<f32>,
    /// Angles in a row: half the rotated coordinates.
    pub half: usize,
}

impl RopeTables {
    /// Tables for positions `0..positions` in the precision the configuration asks for.
    ///
    /// Rows longer than the length trained at have a larger base ([`ModelConfig::rope_train_length`]) and exact tables;
    /// the row's length is that of [`RunAs`](super::RunAs), or else the number of positions. Frequencies are `base^(-2i/r)`, single precision at every step as PyTorch computes them. The
    /// transcendental functions are taken in double precision and rounded once, so that the tables are
    /// the same bits on every machine.
    pub fn new(config: &ModelConfig, positions: usize) -> Self {
        let half = config.rotated_dims() / 2;
        let extended = extended_base(config, config.run.row_length.unwrap_or(positions));
        let frequencies = inverse_frequencies(extended.unwrap_or(config.rope_base) as f32, config.rotated_dims());
        // Only the stored frequencies were cast with the module; those of a larger base are made in single precision.
        let precision = if extended.is_some() { RopePrecision::F32 } else { config.rope_tables };
        let (mut cos, mut sin) = (Vec::with_capacity(positions * half), Vec::with_capacity(positions * half));
        for position in 0..positions {
            for &frequency in &frequencies {
                let (c, s) = match precision {
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

/// The base for rows longer than the length trained at: `base (T / n)^(r / (r - 2))`, the scripts' NTK rule.
fn extended_base(config: &ModelConfig, row_length: usize) -> Option<f64> {
    let trained = config.rope_train_length.filter(|&trained| row_length > trained)?;
    let rotated = config.rotated_dims() as f64;
    Some(config.rope_base * libm::pow(row_length as f64 / trained as f64, rotated / (rotated - 2.0)))
}

/// `1 / base^(2i / r)` for `i < r / 2`, in the order of roundings of the PR's script.
fn inverse_frequencies(base: f32, rotated: usize) -> Vec<f32> {
    let power = |i: usize| libm::pow(f64::from(base), f64::from((2 * i) as f32 / rotated as f32)) as f32;
    (0..rotated / 2).map(|i| 1.0 / power(i)).collect()
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
    fn the_base_grows_with_the_row_as_in_the_scripts() {
        // Bases that the scripts compute for a head width of 64.
        for (rope_dims, trained, row, expected) in [
            (16, 1024, 2048, Some(22_081.790273476247)),
            (0, 1024, 2048, Some(20_452.228712025368)),
            (16, 1024, 1536, Some(15_894.510340005725)),
            (16, 2048, 4096, Some(22_081.790273476247)),
            (16, 2048, 2048, None),
        ] {
            let config = ModelConfig { rope_dims, rope_train_length: Some(trained), ..Default::default() };
            let base = extended_base(&config, row);
            match (base, expected) {
                (Some(base), Some(expected)) => assert!((base / expected - 1.0).abs() < 1e-12, "{base}"),
                (base, expected) => assert_eq!(base, expected),
            }
        }
        // A short row is scored as though padded.
        let config = ModelConfig { rope_train_length: Some(1024), ..Default::default() }.in_rows_of(2048);
        let long = RopeTables::new(&config, 2048);
        let short = RopeTables::new(&config, 10);
        assert_eq!(short.cos[..], long.cos[..short.cos.len()]);
        assert_ne!(short, RopeTables::new(&ModelConfig::default(), 10));
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
