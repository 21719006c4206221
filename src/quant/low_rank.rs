//! The matrix of a given rank that is nearest to another: its largest singular values and their vectors.

use rayon::prelude::*;

use crate::random::RandomStream;

/// Directions iterated beyond those asked for: they make the last ones wanted settle sooner.
const SPARE: usize = 8;
/// Most iterations. Residuals of rounding have singular values close to one another, whose vectors hardly settle; any of
/// them lowers the error by as much.
const MAX_ITERATIONS: usize = 300;
/// Iteration ends where no squared singular value that is wanted moves by more than this share of the largest.
const SETTLED: f64 = 1e-14;
/// Sweeps over all pairs of the small eigenproblem; ten are usual.
const MAX_SWEEPS: usize = 60;

/// Two factors of `[rank, rows]` and `[rank, columns]`, row-major: `left^T right` is the matrix of that rank nearest to the
/// one given (Eckart and Young). A singular value goes to equal parts into both.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// Rank; at most the shorter side.
    pub rank: usize,
    /// `[rank, rows]`.
    pub left: Vec<f64>,
    /// `[rank, columns]`.
    pub right: Vec<f64>,
}

/// The factors of a row-major matrix, by iteration of a subspace with the Gram matrix of its shorter side.
///
/// The same bits for any number of threads. The sign of each pair is such that the largest entry of `left` is positive.
pub fn leading_factors(matrix: &[f64], columns: usize, rank: usize) -> Factors {
    let rows = matrix.len().checked_div(columns).unwrap_or(0);
    if rows.min(columns) == 0 {
        return Factors { rank: 0, left: Vec::new(), right: Vec::new() };
    }
    let transposed;
    // Rows are the shorter side here.
    let (short, side, long) = if rows <= columns {
        (matrix, rows, columns)
    } else {
        transposed = transpose(matrix, columns);
        (transposed.as_slice(), columns, rows)
    };
    let rank = rank.min(side);
    let basis = leading_basis(&gram(short, long), side, rank);
    // Each vector of the basis times the matrix is its partner, a singular value long.
    let partners: Vec<Vec<f64>> = basis
        .par_iter()
        .map(|vector| {
            let mut partner = vec![0.0; long];
            for (weight, row) in vector.iter().zip(short.chunks(long)) {
                partner.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
            }
            partner
        })
        .collect();
    let (mut of_short, mut of_long) = (Vec::new(), Vec::new());
    for (vector, partner) in basis.iter().zip(&partners) {
        let value = dot(partner, partner).sqrt();
        let (root, inverse) = if value > 0.0 { (value.sqrt(), 1.0 / value.sqrt()) } else { (0.0, 0.0) };
        of_short.push(vector.iter().map(|x| x * root).collect::<Vec<f64>>());
        of_long.push(partner.iter().map(|x| x * inverse).collect::<Vec<f64>>());
    }
    let (mut left, mut right) = if rows <= columns { (of_short, of_long) } else { (of_long, of_short) };
    for (left, right) in left.iter_mut().zip(&mut right) {
        let largest = left.iter().fold(0.0f64, |best, &x| if x.abs() > best.abs() { x } else { best });
        if largest < 0.0 {
            left.iter_mut().chain(right).for_each(|x| *x = -*x);
        }
    }
    Factors { rank, left: left.concat(), right: right.concat() }
}

fn transpose(matrix: &[f64], columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns).copied()).collect()
}

/// `A A^T` of `[side, long]`, row-major.
fn gram(matrix: &[f64], long: usize) -> Vec<f64> {
    let rows: Vec<&[f64]> = matrix.chunks(long).collect();
    rows.par_iter().flat_map_iter(|a| rows.iter().map(|b| dot(a, b))).collect()
}

/// Orthonormal vectors of the largest eigenvalues of a symmetric matrix without negative ones, largest first.
fn leading_basis(gram: &[f64], side: usize, rank: usize) -> Vec<Vec<f64>> {
    let mut stream = RandomStream::new(0, "low rank");
    let width = (rank + SPARE).min(side);
    let mut basis: Vec<Vec<f64>> =
        (0..width).map(|_| (0..side).map(|_| 2.0 * stream.uniform() - 1.0).collect()).collect();
    orthonormalize(&mut basis);
    let mut before = vec![0.0; rank];
    for _ in 0..MAX_ITERATIONS {
        let mut images: Vec<Vec<f64>> =
            basis.par_iter().map(|vector| gram.chunks(side).map(|row| dot(row, vector)).collect()).collect();
        // The best approximations inside the space (Rayleigh and Ritz).
        let small: Vec<Vec<f64>> =
            basis.iter().map(|vector| images.iter().map(|image| dot(vector, image)).collect()).collect();
        let (values, turns) = eigen(small);
        let turned = |vectors: &[Vec<f64>]| -> Vec<Vec<f64>> {
            let combine = |turn: &Vec<f64>| {
                let mut sum = vec![0.0; side];
                for (weight, vector) in turn.iter().zip(vectors) {
                    sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += weight * x);
                }
                sum
            };
            turns.iter().map(combine).collect()
        };
        let largest = values.first().copied().unwrap_or(0.0).max(0.0);
        let moved = values.iter().zip(&before).fold(0.0f64, |max, (now, before)| max.max((now - before).abs()));
        if moved <= SETTLED * largest {
            basis = turned(&basis);
            break;
        }
        before.copy_from_slice(values.get(..rank).unwrap_or(&[]));
        images = turned(&images);
        orthonormalize(&mut images);
        basis = images;
    }
    basis.truncate(rank);
    basis
}

/// Gram and Schmidt, twice; what depends on those before becomes zero.
fn orthonormalize(vectors: &mut [Vec<f64>]) {
    /// What is left of a vector that depends on those before: rounding.
    const DEPENDENT: f64 = 1e-13;
    for index in 0..vectors.len() {
        let (before, from) = vectors.split_at_mut(index);
        let Some(vector) = from.first_mut() else { return };
        let length = dot(vector, vector).sqrt();
        for _ in 0..2 {
            for other in before.iter() {
                let along = dot(vector, other);
                vector.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let left = dot(vector, vector).sqrt();
        let scale = if left > DEPENDENT * length { 1.0 / left } else { 0.0 };
        vector.iter_mut().for_each(|x| *x *= scale);
    }
}

/// Eigenvalues of a small symmetric matrix, largest first, and their vectors, by Jacobi's rotations (Golub and Van Loan,
/// section 8.5).
fn eigen(mut matrix: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = matrix.len();
    let mut vectors: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| if i == j { 1.0 } else { 0.0 }).collect()).collect();
    for _ in 0..MAX_SWEEPS {
        let mut is_diagonal = true;
        for p in 0..n {
            for q in p + 1..n {
                let (pp, qq, pq) = (matrix[p][p], matrix[q][q], (matrix[p][q] + matrix[q][p]) / 2.0);
                if pq.abs() <= f64::EPSILON * (pp.abs() * qq.abs()).sqrt() || pq.abs() < f64::MIN_POSITIVE {
                    continue;
                }
                is_diagonal = false;
                let tau = (qq - pp) / (2.0 * pq);
                let tangent = 1f64.copysign(tau) / (tau.abs() + (1.0 + tau * tau).sqrt());
                let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
                let sine = cosine * tangent;
                for row in &mut matrix {
                    (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
                }
                for k in 0..n {
                    let (a, b) = (matrix[p][k], matrix[q][k]);
                    (matrix[p][k], matrix[q][k]) = (cosine * a - sine * b, sine * a + cosine * b);
                    let (a, b) = (vectors[p][k], vectors[q][k]);
                    (vectors[p][k], vectors[q][k]) = (cosine * a - sine * b, sine * a + cosine * b);
                }
            }
        }
        if is_diagonal {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| matrix[b][b].total_cmp(&matrix[a][a]));
    (order.iter().map(|&i| matrix[i][i]).collect(), order.iter().map(|&i| vectors[i].clone()).collect())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(factors: &Factors, rows: usize, columns: usize) -> Vec<f64> {
        let mut product = vec![0.0; rows * columns];
        for k in 0..factors.rank {
            for r in 0..rows {
                for c in 0..columns {
                    product[r * columns + c] += factors.left[k * rows + r] * factors.right[k * columns + c];
                }
            }
        }
        product
    }

    fn distance(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
    }

    fn random(n: usize, name: &str) -> Vec<f64> {
        let mut stream = RandomStream::new(9, name);
        (0..n).map(|_| stream.normal()).collect()
    }

    /// `rank` orthonormal vectors.
    fn frame(rank: usize, side: usize, name: &str) -> Vec<Vec<f64>> {
        let mut vectors: Vec<Vec<f64>> = random(rank * side, name).chunks(side).map(Vec::from).collect();
        orthonormalize(&mut vectors);
        vectors
    }

    /// `sum_k values[k] u_k v_k^T`: a matrix whose singular values are known.
    fn with_values(values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        let (u, v) = (frame(values.len(), rows, "u"), frame(values.len(), columns, "v"));
        let mut matrix = vec![0.0; rows * columns];
        for ((value, u), v) in values.iter().zip(&u).zip(&v) {
            for (row, u) in matrix.chunks_mut(columns).zip(u) {
                row.iter_mut().zip(v).for_each(|(x, v)| *x += value * u * v);
            }
        }
        matrix
    }

    #[test]
    fn a_matrix_of_that_rank_is_recovered() {
        for (rows, columns) in [(40, 90), (90, 40), (33, 33)] {
            let matrix = with_values(&[5.0, 3.0, 3.0, 0.25], rows, columns);
            let factors = leading_factors(&matrix, columns, 4);
            assert!(distance(&product(&factors, rows, columns), &matrix) < 1e-24, "{rows} x {columns}");
            // Equal parts: each pair of rows is as long as the root of its singular value.
            for (k, value) in [5.0f64, 3.0, 3.0, 0.25].iter().enumerate() {
                let left = &factors.left[k * rows..(k + 1) * rows];
                let right = &factors.right[k * columns..(k + 1) * columns];
                assert!((dot(left, left) - value).abs() < 1e-10 && (dot(right, right) - value).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn the_error_is_that_of_eckart_and_young() {
        // What is left of rank r are the squares of the smaller singular values, and no factors do better.
        let values: Vec<f64> = (0..30).map(|k| 10.0 * 0.8f64.powi(k)).collect();
        let matrix = with_values(&values, 64, 50);
        for rank in [1, 2, 4, 16, 30] {
            let factors = leading_factors(&matrix, 50, rank);
            let left: f64 = values[rank..].iter().map(|value| value * value).sum();
            let error = distance(&product(&factors, 64, 50), &matrix);
            assert!((error - left).abs() < 1e-9 * values[0] * values[0], "rank {rank}: {error} instead of {left}");
        }
        // Values close to one another, as those of what rounding misses: within a thousandth of the bound.
        let noise = random(80 * 120, "noise");
        let error = |rank| distance(&product(&leading_factors(&noise, 120, rank), 80, 120), &noise);
        let whole = error(0);
        let all = leading_factors(&noise, 120, 80);
        let squares: Vec<f64> = all.left.chunks(80).map(|row| dot(row, row).powi(2)).collect();
        assert!(distance(&product(&all, 80, 120), &noise) < 1e-18 * whole);
        for rank in [1, 4, 12] {
            let bound: f64 = squares[rank..].iter().sum();
            assert!(error(rank) > bound * (1.0 - 1e-9) && error(rank) < bound * (1.0 + 1e-3), "rank {rank}");
        }
    }

    #[test]
    fn nothing_and_little_have_factors() {
        let zero = leading_factors(&[0.0; 12], 4, 2);
        assert_eq!((zero.rank, product(&zero, 3, 4)), (2, vec![0.0; 12]));
        assert_eq!(leading_factors(&[], 4, 2).rank, 0);
        let row = leading_factors(&[3.0, -4.0], 2, 8);
        assert_eq!(row.rank, 1);
        assert!(distance(&product(&row, 1, 2), &[3.0, -4.0]) < 1e-28);
    }
}
