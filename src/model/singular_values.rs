//! Singular values by rotations.

use super::orthogonal::dot;

/// Sweeps over all pairs of columns; a random matrix needs about ten.
const MAX_SWEEPS: usize = 60;
/// Columns count as orthogonal where their cosine is below this.
const TOLERANCE: f64 = 1e-14;

/// Replaces the singular values of a row-major `[rows, columns]` matrix, `rows >= columns`, and keeps its vectors: the
/// k-th largest, from 1, becomes `S_1 / sqrt(k)` (PR 60, "overtone").
///
/// One-sided Jacobi: rotations `V` make the columns of `A V` orthogonal; those are `U S`, and `U S' V^T` is the result.
pub(super) fn overtone(matrix: &mut [f64], columns: usize) {
    let rows = matrix.len() / columns.max(1);
    let column = |c: usize| (0..rows).map(|r| matrix[r * columns + c]).collect();
    let mut scaled: Vec<Vec<f64>> = (0..columns).map(column).collect();
    let unit = |c: usize| (0..columns).map(|r| if r == c { 1.0 } else { 0.0 }).collect();
    let mut rotation: Vec<Vec<f64>> = (0..columns).map(unit).collect();
    for _ in 0..MAX_SWEEPS {
        if !sweep(&mut scaled, &mut rotation) {
            break;
        }
    }
    let values: Vec<f64> = scaled.iter().map(|column| dot(column, column).sqrt()).collect();
    let mut order: Vec<usize> = (0..columns).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let largest = order.first().map_or(0.0, |&first| values[first]);
    matrix.fill(0.0);
    for (k, &c) in order.iter().enumerate().filter(|&(_, &c)| values[c] > 0.0) {
        let factor = largest / ((k + 1) as f64).sqrt() / values[c];
        for (row, u) in matrix.chunks_mut(columns).zip(&scaled[c]) {
            row.iter_mut().zip(&rotation[c]).for_each(|(value, v)| *value += factor * u * v);
        }
    }
}

/// Rotates every pair of columns to be orthogonal; says whether any was not.
fn sweep(scaled: &mut [Vec<f64>], rotation: &mut [Vec<f64>]) -> bool {
    let mut rotated = false;
    for j in 1..scaled.len() {
        for i in 0..j {
            let [a, b] = pair(scaled, i, j);
            let (aa, bb, ab) = (dot(a, a), dot(b, b), dot(a, b));
            if ab.abs() <= TOLERANCE * (aa * bb).sqrt() {
                continue;
            }
            rotated = true;
            // The smaller of the two angles that make them orthogonal (Golub and Van Loan, section 8.6.3).
            let tau = (bb - aa) / (2.0 * ab);
            let tangent = 1f64.copysign(tau) / (tau.abs() + (1.0 + tau * tau).sqrt());
            let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
            turn([a, b], cosine, cosine * tangent);
            turn(pair(rotation, i, j), cosine, cosine * tangent);
        }
    }
    rotated
}

fn turn([a, b]: [&mut Vec<f64>; 2], cosine: f64, sine: f64) {
    for (a, b) in a.iter_mut().zip(b) {
        (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
    }
}

/// Two of the columns, `i < j`.
fn pair(columns: &mut [Vec<f64>], i: usize, j: usize) -> [&mut Vec<f64>; 2] {
    let (before, from) = columns.split_at_mut(j);
    [&mut before[i], &mut from[0]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::RandomStream;

    #[test]
    fn values_fall_with_the_root_and_vectors_stay() {
        let (rows, columns) = (40, 12);
        let mut stream = RandomStream::new(5, "table");
        let before: Vec<f64> = (0..rows * columns).map(|_| stream.normal()).collect();
        let mut after = before.clone();
        overtone(&mut after, columns);
        // A^T A of the result has the eigenvalues S_1^2 / k: their sum, and the sum of their squares.
        let gram = |matrix: &[f64], i: usize, j: usize| -> f64 {
            (0..rows).map(|r| matrix[r * columns + i] * matrix[r * columns + j]).sum()
        };
        let sums = |matrix: &[f64]| -> (f64, f64) {
            let pairs = (0..columns).flat_map(|i| (0..columns).map(move |j| (i, j)));
            let trace = (0..columns).map(|i| gram(matrix, i, i)).sum();
            (trace, pairs.map(|(i, j)| gram(matrix, i, j).powi(2)).sum())
        };
        let (trace, squares) = sums(&after);
        let harmonic: f64 = (1..=columns).map(|k| 1.0 / k as f64).sum();
        let harmonic_squares: f64 = (1..=columns).map(|k| 1.0 / (k * k) as f64).sum();
        let largest = trace / harmonic;
        assert!((squares / (largest * largest * harmonic_squares) - 1.0).abs() < 1e-10);
        // Equal vectors: the Gram matrices commute.
        for i in 0..columns {
            for j in 0..columns {
                let product =
                    |a: &[f64], b: &[f64]| -> f64 { (0..columns).map(|k| gram(a, i, k) * gram(b, k, j)).sum() };
                assert!((product(&before, &after) - product(&after, &before)).abs() < 1e-8 * largest * largest);
            }
        }
        // Doing it again changes nothing.
        let mut again = after.clone();
        overtone(&mut again, columns);
        assert!(after.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-10 * largest.sqrt()));
    }
}
