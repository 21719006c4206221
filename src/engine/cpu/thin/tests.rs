//! Thin products, exact and in their rounding.

use super::super::matrix::{strided, strided_mut};
use super::*;
use crate::random::RandomStream;

/// A product's sides, strides beyond the width of its three matrices, and which factors are read transposed.
struct Case {
    sides: (usize, usize, usize),
    gaps: (usize, usize, usize),
    transposed: (bool, bool),
}

impl Case {
    /// Every thin shape and small ones, whole vectors and not, factors as they are and transposed.
    fn all() -> Vec<Case> {
        let sides =
            [(1, 70, 33), (33, 70, 1), (1, 9, 1), (17, 1, 40), (5, 3, 7), (8, 16, 16), (3, 100, 10), (9, 17, 20)];
        let kinds = (0..32).map(|i| (i % 2, (i / 2) % 2 * 3, (i / 4) % 2, i / 8 % 2 == 1, i / 16 == 1));
        let case = |sides, (a, b, out, left, right)| Case { sides, gaps: (a, b, out), transposed: (left, right) };
        sides.into_iter().flat_map(|sides| kinds.clone().map(move |kind| case(sides, kind))).collect()
    }

    /// What [`product`] makes of values, and what `expected` makes of element (i, j)'s two lines and what was there.
    fn run(
        &self,
        mode: WriteMode,
        factor: f32,
        mut value: impl FnMut() -> f32,
        expected: impl Fn(&[f32], &[f32], f32, bool) -> f32,
    ) -> Option<(Vec<f32>, Vec<f32>)> {
        let (m, k, n) = self.sides;
        let width = |columns: usize, rows: usize, gap, is_transposed| {
            if is_transposed { rows + gap } else { columns + gap }
        };
        let a_step = width(k, m, self.gaps.0, self.transposed.0);
        let b_step = width(n, k, self.gaps.1, self.transposed.1);
        let out_step = n + self.gaps.2;
        let a: Vec<f32> = (0..a_step * m.max(k)).map(|_| value()).collect();
        let b: Vec<f32> = (0..b_step * k.max(n)).map(|_| value()).collect();
        let before: Vec<f32> = (0..out_step * m).map(|_| value()).collect();
        let at = |values: &[f32], step, is_transposed, i, j| {
            if is_transposed { values[j * step + i] } else { values[i * step + j] }
        };
        let mut after = before.clone();
        for (i, row) in after.chunks_mut(out_step).enumerate() {
            let left: Vec<f32> = (0..k).map(|l| at(&a, a_step, self.transposed.0, i, l)).collect();
            for (j, value) in row[..n].iter_mut().enumerate() {
                let right: Vec<f32> = (0..k).map(|l| at(&b, b_step, self.transposed.1, l, j)).collect();
                *value = expected(&left, &right, *value, self.transposed.1);
            }
        }
        let left = if self.transposed.0 { strided(&a, k, m, a_step).transpose() } else { strided(&a, m, k, a_step) };
        let right = if self.transposed.1 { strided(&b, n, k, b_step).transpose() } else { strided(&b, k, n, b_step) };
        let mut found = before;
        product(left, right, mode, factor, &mut strided_mut(&mut found, m, n, out_step)).then_some((found, after))
    }
}

#[test]
fn products_of_small_integers_are_exact() {
    let mut done = 0;
    for case in Case::all() {
        for mode in [WriteMode::Overwrite, WriteMode::Accumulate] {
            let mut random = RandomStream::new(3, "thin");
            let exact = |a: &[f32], b: &[f32], before: f32, _| {
                let sum: i64 = a.iter().zip(b).map(|(a, b)| *a as i64 * *b as i64).sum();
                -2.0 * sum as f32 + if mode == WriteMode::Accumulate { before } else { 0.0 }
            };
            let Some((found, expected)) = case.run(mode, -2.0, || random.below(19) as f32 - 9.0, exact) else {
                continue;
            };
            assert_eq!(found, expected, "{:?} {:?} {:?} {mode:?}", case.sides, case.gaps, case.transposed);
            done += 1;
        }
    }
    // One row or one column with both factors' lines across what is summed is left to the blocked kernels.
    assert!(done > 400, "{done} products");
}

#[test]
fn a_small_product_is_a_chain_of_fused_multiply_adds() {
    if matches!(arch(), pulp::Arch::Scalar) {
        return eprintln!("skipped: this processor has no fused multiply-adds");
    }
    for case in Case::all().into_iter().filter(|case| case.sides.0.min(case.sides.1).min(case.sides.2) > 1) {
        for mode in [WriteMode::Overwrite, WriteMode::Accumulate] {
            let mut random = RandomStream::new(4, "thin");
            let chain = |a: &[f32], b: &[f32], before: f32, is_transposed: bool| {
                let depth = if is_transposed { DEPTH } else { a.len() };
                let mut value = if mode == WriteMode::Accumulate { Some(before) } else { None };
                for (a, b) in a.chunks(depth).zip(b.chunks(depth)) {
                    let sum = a.iter().zip(b).fold(0.0, |sum: f32, (a, b)| a.mul_add(*b, sum));
                    value = Some(value.map_or(0.3 * sum, |value| sum.mul_add(0.3, value)));
                }
                value.unwrap()
            };
            let (found, expected) = case.run(mode, 0.3, || random.normal() as f32, chain).unwrap();
            assert_eq!(found, expected, "{:?} {:?} {:?} {mode:?}", case.sides, case.gaps, case.transposed);
        }
    }
}
