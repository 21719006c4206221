//! Random matrices with orthonormal rows or columns.

use crate::random::RandomStream;

/// A row-major `[rows, columns]` matrix whose shorter side is orthonormal, distributed uniformly.
///
/// The Gram-Schmidt factor of a Gaussian matrix. It is the Q of a QR factorization whose R has a positive
/// diagonal, which is what PyTorch's `orthogonal_` makes by flipping signs.
pub(super) fn orthogonal(stream: &mut RandomStream, rows: usize, columns: usize) -> Vec<f64> {
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = (0..count).map(|_| (0..length).map(|_| stream.normal()).collect()).collect();
    for i in 0..count {
        let (done, rest) = vectors.split_at_mut(i);
        let Some(vector) = rest.first_mut() else { break };
        // Twice is enough: the second pass removes what rounding left of the first.
        for _ in 0..2 {
            for other in done.iter() {
                let share = dot(other, vector);
                vector.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
            }
        }
        let norm = dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|value| *value /= norm);
    }
    match rows <= columns {
        true => vectors.concat(),
        false => (0..rows).flat_map(|r| vectors.iter().map(move |column| column[r])).collect(),
    }
}

/// Eight running sums in a fixed order.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_side_is_orthonormal() {
        for (rows, columns) in [(70, 70), (64, 100), (100, 64)] {
            let matrix = orthogonal(&mut RandomStream::new(3, "q"), rows, columns);
            let vector = |i: usize| -> Vec<f64> {
                match rows <= columns {
                    true => matrix[i * columns..(i + 1) * columns].to_vec(),
                    false => (0..rows).map(|r| matrix[r * columns + i]).collect(),
                }
            };
            for i in 0..rows.min(columns) {
                for j in 0..=i {
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((dot(&vector(i), &vector(j)) - expected).abs() < 1e-12, "{rows}x{columns} {i} {j}");
                }
            }
        }
    }
}
