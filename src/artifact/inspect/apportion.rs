//! Whole bytes divided in proportion to weights.

/// Divides `total` in proportion to the weights; the parts add up to it exactly, each within a byte of its share.
///
/// Where all weights are zero the parts are equal. `None` without weights and something to divide.
pub(super) fn apportion(total: u64, weights: &[f64]) -> Option<Vec<u64>> {
    if weights.is_empty() {
        return (total == 0).then(Vec::new);
    }
    let sum: f64 = weights.iter().sum();
    let equal = !(sum.is_finite() && sum > 0.0);
    let (mut parts, mut before, mut given) = (Vec::with_capacity(weights.len()), 0.0, 0u64);
    for (i, weight) in weights.iter().enumerate() {
        before += if equal { 1.0 } else { weight.max(0.0) };
        let share = before / if equal { weights.len() as f64 } else { sum };
        // Rounding where one part ends and the next begins keeps the sum; the last one ends at the total.
        let is_last = i + 1 == weights.len();
        let end = if is_last { total } else { ((total as f64 * share).round() as u64).clamp(given, total) };
        parts.push(end - given);
        given = end;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_known_weights() {
        assert_eq!(apportion(100, &[1.0, 3.0]), Some(vec![25, 75]));
        assert_eq!(apportion(7, &[0.0, 0.0]), Some(vec![4, 3]));
        assert_eq!(apportion(9, &[0.0, 5.0, 0.0]), Some(vec![0, 9, 0]));
        assert_eq!(apportion(0, &[]), Some(vec![]));
        assert_eq!(apportion(5, &[]), None);
        assert_eq!(apportion(10, &[f64::INFINITY, 1.0]), Some(vec![5, 5]));
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost_and_nobody_is_off_by_more_than_a_byte(
            total in 0u64..1 << 30,
            weights in proptest::collection::vec(0f64..1e9, 1..40),
        ) {
            let parts = apportion(total, &weights).unwrap();
            proptest::prop_assert_eq!(parts.iter().sum::<u64>(), total);
            let sum: f64 = weights.iter().sum();
            if sum > 0.0 {
                for (part, weight) in parts.iter().zip(&weights) {
                    proptest::prop_assert!((*part as f64 - total as f64 * weight / sum).abs() <= 1.0 + 1e-4);
                }
            }
        }
    }
}
