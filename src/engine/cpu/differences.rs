//! Gradients of a formula by differences in double precision, for the kernels' tests.

use crate::random::RandomStream;

/// Half the distance between the two values of an argument.
const STEP: f64 = 1e-5;

/// Normally distributed values.
pub(super) fn noise(len: usize, name: &str) -> Vec<f32> {
    let mut stream = RandomStream::new(8, name);
    (0..len).map(|_| stream.normal() as f32).collect()
}

/// Of each argument, the gradient of `grad . formula(arguments)`.
pub(super) fn gradients(
    arguments: &[&Vec<f32>],
    grad: &[f32],
    formula: impl Fn(&[Vec<f64>]) -> Vec<f64>,
) -> Vec<Vec<f64>> {
    let exact: Vec<Vec<f64>> =
        arguments.iter().map(|values| values.iter().map(|&value| f64::from(value)).collect()).collect();
    let value_at = |argument: usize, index: usize, by: f64| -> f64 {
        let mut moved = exact.clone();
        moved[argument][index] += by;
        formula(&moved).iter().zip(grad).map(|(y, &grad)| y * f64::from(grad)).sum()
    };
    let slope = |argument, index| (value_at(argument, index, STEP) - value_at(argument, index, -STEP)) / (2.0 * STEP);
    (0..exact.len()).map(|argument| (0..exact[argument].len()).map(|index| slope(argument, index)).collect()).collect()
}

/// Fails where values are further apart than `tolerance`, relative to max(1, value).
pub(super) fn close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs() / expected.abs().max(1.0);
        assert!(error < tolerance, "value {i}: {found} where {expected} is expected");
    }
}
