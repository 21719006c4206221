//! The triangular factor of a matrix's inverse, in double precision on all cores.

use std::ops::{Add, Mul};

use rayon::prelude::*;

/// Columns factored at a time, and columns of the inverse a task computes: 64 rows of 2,048 doubles are 1 MiB.
const BLOCK: usize = 64;
/// Entries that are smaller than this share of their row's diagonal, 2^-60, count as zero: they change no weight, and
/// sums with numbers near the smallest of single precision take ten times as long.
const NEGLIGIBLE: f64 = 1.0 / (1u64 << 60) as f64;

/// A pivot that is not positive: the matrix is not positive definite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BadPivot {
    /// Its row and column.
    pub at: usize,
    /// What is left of the diagonal there.
    pub value: f64,
}

/// Upper U with `U^T U = H^-1`, `[n, n]`, for the symmetric positive definite H that `lower(row, column)` gives where
/// `row >= column`.
///
/// With the order of rows and columns turned around (J), `J H J = L L^T` and `U = J L^-1 J`: one Cholesky factor and one
/// triangular inverse instead of two factors and a whole inverse. Sums run in one order, whatever the threads.
pub(super) fn inverse_factor(n: usize, lower: impl Fn(usize, usize) -> f64 + Sync) -> Result<Vec<f32>, BadPivot> {
    if n == 0 {
        return Ok(Vec::new());
    }
    let mut turned = vec![0.0; n * n];
    turned.par_chunks_mut(n).enumerate().for_each(|(row, values)| {
        for (column, value) in values.iter_mut().enumerate().take(row + 1) {
            *value = lower(n - 1 - column, n - 1 - row);
        }
    });
    cholesky(&mut turned, n).map_err(|bad| BadPivot { at: n - 1 - bad.at, ..bad })?;
    let starts: Vec<usize> = (0..n).step_by(BLOCK).collect();
    let tiles: Vec<Vec<f32>> = starts.par_iter().map(|&start| inverse_columns(&turned, n, start)).collect();
    drop(turned);
    let mut factor = vec![0.0; n * n];
    for (start, tile) in starts.into_iter().zip(tiles) {
        let width = BLOCK.min(n - start);
        for (row, values) in (start..n).zip(tile.chunks(width)) {
            let from = (n - 1 - row) * n + n - start - width;
            for (to, value) in factor.iter_mut().skip(from).take(width).zip(values.iter().rev()) {
                *to = *value;
            }
        }
    }
    Ok(factor)
}

/// The lower Cholesky factor of the lower half of `a`, in its place.
fn cholesky(a: &mut [f64], n: usize) -> Result<(), BadPivot> {
    for start in (0..n).step_by(BLOCK) {
        let width = BLOCK.min(n - start);
        let end = start + width;
        let (above, below) = a.split_at_mut(end * n);
        // The block on the diagonal, row by row.
        let mut block = vec![0.0; width * width];
        for (row, values) in above.chunks_mut(n).skip(start).enumerate() {
            let (done, rest) = block.split_at_mut(row * width);
            let values = &mut values[start..end];
            solve_row(&mut values[..row], done, width);
            let squares: f64 = values[..row].iter().map(|value| value * value).sum();
            let pivot = values[row] - squares;
            if !(pivot > 0.0 && pivot.is_finite()) {
                return Err(BadPivot { at: start + row, value: pivot });
            }
            values[row] = pivot.sqrt();
            rest[..=row].copy_from_slice(&values[..=row]);
        }
        // The rows below it, then what they take off the rest.
        below.par_chunks_mut(n).for_each(|row| solve_row(&mut row[start..end], &block, width));
        let rows = n - end;
        let mut panel = vec![0.0; width * rows];
        for (row, values) in below.chunks(n).enumerate() {
            for (column, value) in values[start..end].iter().enumerate() {
                panel[column * rows + row] = *value;
            }
        }
        below.par_chunks_mut(n).enumerate().for_each(|(row, values)| {
            let (done, rest) = values.split_at_mut(end);
            let taken: Vec<f64> = done[start..].iter().map(|value| -value).collect();
            for (tile, from) in rest[..=row].chunks_mut(4 * BLOCK).zip((0..).step_by(4 * BLOCK)) {
                let width = tile.len();
                add_products(tile, &taken, |k| &panel[k * rows + from..][..width]);
            }
        });
    }
    Ok(())
}

/// `row` times the inverse of the transposed lower triangle `block`, which has `width` columns.
fn solve_row(row: &mut [f64], block: &[f64], width: usize) {
    for column in 0..row.len() {
        let factors = &block[column * width..][..=column];
        let sum: f64 = row.iter().zip(&factors[..column]).map(|(a, b)| a * b).sum();
        row[column] = (row[column] - sum) / factors[column];
    }
}

/// Columns `start..start + BLOCK` of the inverse of the lower triangle `l`, from row `start` down.
fn inverse_columns(l: &[f64], n: usize, start: usize) -> Vec<f32> {
    let width = BLOCK.min(n - start);
    let mut columns = vec![0.0; (n - start) * width];
    for row in start..n {
        let (done, rest) = columns.split_at_mut((row - start) * width);
        let out = &mut rest[..width];
        if let Some(one) = out.get_mut(row - start) {
            *one = 1.0;
        }
        let taken: Vec<f64> = l[row * n + start..row * n + row].iter().map(|value| -value).collect();
        add_products(out, &taken, |k| &done[k * width..][..width]);
        let pivot = l[row * n + row];
        out.iter_mut().for_each(|value| *value /= pivot);
    }
    let rows = columns.chunks(width).zip((start..n).map(|row| NEGLIGIBLE / l[row * n + row]));
    let rounded = |(values, least): (&[f64], f64)| -> Vec<f32> {
        values.iter().map(|&value| if value.abs() < least { 0.0 } else { value as f32 }).collect()
    };
    rows.flat_map(rounded).collect()
}

/// Adds `factors[k] * row(k)` to `out` for each k in turn. Each row is as long as `out`.
///
/// Products and sums are rounded each.
pub(super) fn add_products<'a, T>(out: &mut [T], factors: &[T], row: impl Fn(usize) -> &'a [T])
where
    T: Copy + Add<Output = T> + Mul<Output = T> + 'a,
{
    wide(
        #[inline(always)]
        || add_in_turn(out, factors, row),
    );
}

/// Does what is inlined into it with the widest vectors of the processor, which changes no bit. Without the engine, which
/// is what large matrices need to come about, with those that any processor has.
#[inline(always)]
pub(super) fn wide<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(feature = "engine")]
    return pulp::Arch::new().dispatch(work);
    #[cfg(not(feature = "engine"))]
    work()
}

/// Four at a time so that `out` is loaded less often.
#[inline(always)]
fn add_in_turn<'a, T>(out: &mut [T], factors: &[T], row: impl Fn(usize) -> &'a [T])
where
    T: Copy + Add<Output = T> + Mul<Output = T> + 'a,
{
    let (fours, rest) = factors.as_chunks::<4>();
    for (four, &[a, b, c, d]) in fours.iter().enumerate() {
        let [p, q, r, s] = [0, 1, 2, 3].map(|k| row(4 * four + k));
        for ((((out, &p), &q), &r), &s) in out.iter_mut().zip(p).zip(q).zip(r).zip(s) {
            *out = *out + a * p + b * q + c * r + d * s;
        }
    }
    for (k, &factor) in rest.iter().enumerate() {
        for (out, &value) in out.iter_mut().zip(row(4 * fours.len() + k)) {
            *out = *out + factor * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::RandomStream;

    #[test]
    fn products_are_added_in_turn() {
        let rows: Vec<Vec<f32>> = (0..7).map(|k| (0..5).map(|c| (k * 5 + c) as f32).collect()).collect();
        let factors = [1.0, -2.0, 3.0, 0.5, 4.0, -1.0, 2.0];
        let mut out = [10.0, 20.0, 30.0, 40.0, 50.0];
        add_products(&mut out, &factors, |k| &rows[k]);
        for (c, found) in out.iter().enumerate() {
            let sum: f32 = (0..7).map(|k| factors[k] * (k * 5 + c) as f32).sum();
            assert_eq!(*found, 10.0 * (c + 1) as f32 + sum);
        }
    }

    #[test]
    fn vector_width_does_not_show() {
        let mut random = RandomStream::new(1, "products");
        let mut values = |n: usize| (0..n).map(|_| random.normal()).collect::<Vec<f64>>();
        let (width, count) = (1003, 37);
        let (rows, factors, out) = (values(width * count), values(count), values(width));
        let mut wide = out.clone();
        add_products(&mut wide, &factors, |k| &rows[k * width..][..width]);
        let one_by_one = |c: usize| (0..count).fold(out[c], |sum, k| sum + factors[k] * rows[k * width + c]);
        assert!(wide.iter().enumerate().all(|(c, &found)| found == one_by_one(c)));
        let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let (rows, factors, out) = (single(&rows), single(&factors), single(&out));
        let mut wide = out.clone();
        add_products(&mut wide, &factors, |k| &rows[k * width..][..width]);
        let one_by_one = |c: usize| (0..count).fold(out[c], |sum, k| sum + factors[k] * rows[k * width + c]);
        assert!(wide.iter().enumerate().all(|(c, &found)| found == one_by_one(c)));
    }

    /// `r^|i - j|` has the inverse with `1 + r^2` inside, 1 at both ends, and `-r` beside the diagonal, over `1 - r^2`.
    #[test]
    fn the_factor_of_the_inverse_is_the_known_one() {
        for n in [1, 2, 63, 64, 65, 150, 300] {
            let r = 0.75f64;
            let factor = inverse_factor(n, |i, j| r.powi((i - j) as i32)).unwrap();
            // U^T U is that inverse for U with 1 / d on the diagonal and -r / d right of it, d = sqrt(1 - r^2), and 1 in
            // the last place.
            let d = (1.0 - r * r).sqrt();
            for i in 0..n {
                for j in 0..n {
                    let expected = match (i, j) {
                        (i, j) if i == j && i + 1 == n => 1.0,
                        (i, j) if i == j => 1.0 / d,
                        (i, j) if i + 1 == j => -r / d,
                        _ => 0.0,
                    };
                    let found = f64::from(factor[i * n + j]);
                    assert!((found - expected).abs() < 1e-6, "{n}: {i}, {j}: {found} instead of {expected}");
                }
            }
        }
        assert_eq!(inverse_factor(0, |_, _| 1.0), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        // From the last column up: 1, then 1 - 4.
        assert_eq!(inverse_factor(2, |i, j| if i == j { 1.0 } else { 2.0 }), Err(BadPivot { at: 0, value: -3.0 }));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let found = inverse_factor(200, |i, j| {
                if i != j {
                    0.0
                } else if i == 70 {
                    bad
                } else {
                    1.0
                }
            });
            assert_eq!(found.map_err(|bad| bad.at), Err(70), "{bad}");
        }
    }
}
