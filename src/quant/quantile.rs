//! The quantile as `torch.quantile` computes it in single precision.

/// Quantile `q` in [0, 1] of ascending values, linear interpolation; 0 for no values.
///
/// Rank and interpolation are rounded to f32 exactly as `torch.quantile` rounds them for an f32 input:
/// the rank is `q * (n - 1)` in f32, and `lerp` starts from the nearer end with a fused multiply-add.
pub(crate) fn quantile_of_sorted(sorted: &[f32], q: f32) -> f32 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let rank = (q * last as f32).clamp(0.0, last as f32);
    let (below, above) = (rank.floor() as usize, rank.ceil() as usize);
    let weight = rank - rank.floor();
    match (sorted.get(below), sorted.get(above)) {
        (Some(&start), Some(&end)) => lerp(start, end, weight),
        // The f32 rank of more than 2^24 values can round past the end.
        _ => sorted.last().copied().unwrap_or(0.0),
    }
}

/// Magnitudes of values, ascending.
pub(crate) fn sorted_magnitudes(values: &[f32]) -> Vec<f32> {
    let mut magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
    magnitudes.sort_unstable_by(f32::total_cmp);
    magnitudes
}

/// `start + weight * (end - start)`, computed from the nearer end.
fn lerp(start: f32, end: f32, weight: f32) -> f32 {
    if weight < 0.5 { weight.mul_add(end - start, start) } else { (weight - 1.0).mul_add(end - start, end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_starts_from_the_nearer_end() {
        // With f32(0.1) = 0.1 + 1.49e-9: 1 + 16,777,215 x 0.1 = 1,677,722.525, rounded once, to an eighth.
        assert_eq!(lerp(1.0, 16_777_216.0, 0.1), 1_677_722.5);
        assert_eq!(lerp(0.0, 4.0, 0.25), 1.0);
        assert_eq!(lerp(0.0, 4.0, 0.75), 3.0);
        // At 1 - 2^-24 from the end: 1 - 2^-24, where 1e8 + w (1 - 1e8) would have lost it.
        assert_eq!(lerp(1e8, 1.0, 0.999_999_94), 1.0 + 5.960_464_5);
        assert_eq!(lerp(3.0, 5.0, 0.5), 4.0);
        assert_eq!(lerp(3.0, 5.0, 0.0), 3.0);
    }

    #[test]
    fn ranks_are_held_within_the_values() {
        assert_eq!(quantile_of_sorted(&[1.0, 2.0], 1.5), 2.0);
        assert_eq!(quantile_of_sorted(&[1.0, 2.0], -0.5), 1.0);
        let ten: Vec<f32> = (0..=10).map(|i| (i * i) as f32).collect();
        assert_eq!(quantile_of_sorted(&ten, 0.25), 6.5);
        assert_eq!(quantile_of_sorted(&ten, 0.75), 56.5);
    }

    #[test]
    fn ends_and_middle() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        for (q, expected) in [(0.0, 1.0), (0.5, 3.0), (1.0, 8.0), (1.0 / 3.0, 2.0)] {
            assert!((quantile_of_sorted(&sorted, q) - expected).abs() < 1e-6, "{q}");
        }
        assert_eq!(quantile_of_sorted(&[], 0.3), 0.0);
        assert_eq!(quantile_of_sorted(&[7.0], 0.3), 7.0);
    }
}
