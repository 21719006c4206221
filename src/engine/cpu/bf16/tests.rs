//! Rounding beside another crate's; AMX beside its emulation, bit for bit; both beside double precision.

use super::tiles::{Block, DEPTH, PANEL, Right, Rows, Tile, pack_left, zeros};
use super::{Unit, amx, emulated, nearest};
use crate::engine::network::Linear;
use crate::random::RandomStream;

#[test]
fn agrees_with_the_half_crate() {
    let mut values: Vec<f32> = (0..=u16::MAX).map(|high| f32::from_bits(u32::from(high) << 16 | 0x8000)).collect();
    values.extend((0..200_000u32).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761))));
    let expected: Vec<f32> = values.iter().map(|&value| half::bf16::from_f32(value).to_f32()).collect();
    super::round(&mut values);
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    assert!(values.iter().zip(&expected).all(same));
}

/// Kinds of operands: exponents from, how many, and how many of ten are zero.
const KINDS: [(&str, u32, u32, u64); 6] = [
    ("of one size", 126, 3, 0),
    ("of many sizes, some zero", 100, 50, 3),
    ("whose products are subnormal", 30, 40, 0),
    ("subnormal ones among them", 0, 140, 1),
    ("at the limit of what counts", 68, 8, 0),
    ("that overflow", 180, 12, 0),
];

/// Random bfloat16 values.
fn random(kind: (&str, u32, u32, u64), len: usize, name: &str) -> Vec<f32> {
    let (_, exponent, exponents, zeros) = kind;
    let mut stream = RandomStream::new(5, name);
    let mut value = || {
        let bits = (stream.below(2) << 31 | stream.below(128) << 16) as u32;
        let exponent = exponent + stream.below(u64::from(exponents)) as u32;
        if stream.below(10) < zeros { 0.0 } else { f32::from_bits(bits | exponent << 23) }
    };
    (0..len).map(|_| value()).collect()
}

/// One panel of rows times one of columns.
fn operands(x: &[f32], w: &[f32], inner: usize) -> (Vec<Tile>, Right) {
    let mut left = zeros(2 * inner.div_ceil(DEPTH));
    pack_left(Rows::dense(x, PANEL, inner), 0, &mut left);
    (left, Right::of(w, PANEL, inner))
}

mod needs_amx {
    use super::*;

    #[test]
    #[ignore = "needs AMX"]
    fn amx_computes_what_the_emulation_computes() {
        let unit = amx::Tiles::configure().expect("a processor with AMX");
        for kind in KINDS {
            for inner in [1, 2, 31, 32, 33, 96, 130] {
                let (mut x, w) = (random(kind, PANEL * inner, "x"), random(kind, PANEL * inner, "w"));
                // Sums that cancel to nothing, or nearly.
                for (x, w) in x.chunks_exact_mut(inner).zip(w.chunks_exact(inner)).step_by(3) {
                    (0..inner / 2).for_each(|k| x[inner - 1 - k] = -x[k] * (w[k] / w[inner - 1 - k]).signum());
                }
                x.iter_mut().for_each(|x| *x = nearest(*x));
                let (left, right) = operands(&x, &w, inner);
                let (top, bottom) = left.split_at(left.len() / 2);
                let (mut found, mut expected) = (Block::zeros(), Block::zeros());
                unit.block([top, bottom], right.panel(0), &mut found);
                emulated::block([top, bottom], right.panel(0), &mut expected);
                for (i, (found, expected)) in found.0.iter().zip(&expected.0).enumerate() {
                    let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                    assert!(same, "operands {}, inner {inner}, value {i}: {found:e}, not {expected:e}", kind.0);
                }
            }
        }
    }
}

/// The definition again, one value at a time, with subnormals made zero as the instruction makes them.
fn defined(x: &[f32], w: &[f32]) -> f32 {
    let flushed = |x: f32| if x.is_subnormal() { 0.0f32.copysign(x) } else { x };
    let mut sum = 0.0f32;
    for (x, w) in x.chunks(DEPTH).zip(w.chunks(DEPTH)) {
        let mut chains = [0.0f32; 2];
        for (k, (&x, &w)) in x.iter().zip(w).enumerate() {
            let small = |x: f32| if x.abs() < 2f32.powi(-56) { 0.0 } else { x };
            chains[k % 2] = flushed(small(x).mul_add(small(w), chains[k % 2]));
        }
        sum = flushed(sum + flushed(chains[0] + chains[1]));
    }
    sum
}

#[test]
fn the_emulation_follows_the_definition() {
    for kind in KINDS {
        for inner in [1, 2, 31, 32, 33, 96, 130] {
            let (x, w) = (random(kind, PANEL * inner, "x"), random(kind, PANEL * inner, "w"));
            let (left, right) = operands(&x, &w, inner);
            let mut found = Block::zeros();
            emulated::block([&left[..left.len() / 2], &left[left.len() / 2..]], right.panel(0), &mut found);
            for (x, found) in x.chunks_exact(inner).zip(found.rows()) {
                for (w, found) in w.chunks_exact(inner).zip(found) {
                    let expected = defined(x, w);
                    let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                    assert!(same, "operands {}, inner {inner}: {found:e}, not {expected:e}", kind.0);
                }
            }
        }
    }
}

/// Sides that fill no tile; and a row's sums are the same in any company.
#[test]
fn products_are_rounded_sums_whatever_rows_share_a_call() {
    for (tokens, inputs, outputs) in [(1, 1, 1), (3, 17, 5), (33, 32, 31), (65, 100, 66), (32, 64, 96)] {
        let s = Linear { tokens, inputs, outputs };
        let (x, w) = (random(KINDS[0], tokens * inputs, "x"), random(KINDS[0], outputs * inputs, "w"));
        let (w_packed, scale) = (Right::of(&w, outputs, inputs), random(KINDS[0], outputs, "scale"));
        let (mut y, mut sum) = (vec![0.0; tokens * outputs], random(KINDS[0], tokens * outputs, "sum"));
        let before = sum.clone();
        super::linear(s, &x, &w_packed, 1.0, &mut y);
        super::add_linear(s, &x, &w_packed, &scale, &mut sum);
        for (i, (&y, &sum)) in y.iter().zip(&sum).enumerate() {
            let (row, column) = (&x[i / outputs * inputs..][..inputs], &w[i % outputs * inputs..][..inputs]);
            assert_eq!(y, nearest(defined(row, column)), "{s:?}, value {i}");
            assert_eq!(sum, nearest(before[i] + scale[i % outputs] * y), "{s:?}, value {i}");
            let pairs = row.iter().zip(column).map(|(&a, &b)| f64::from(a) * f64::from(b));
            let (exact, size) = pairs.fold((0.0, 0.0), |(sum, size), product| (sum + product, size + product.abs()));
            // Half a unit of bfloat16, and Higham's bound for the sum.
            let bound = exact.abs() / 256.0 + inputs as f64 * f64::from(f32::EPSILON) * size;
            assert!((f64::from(y) - exact).abs() <= bound, "{s:?}, value {i}");
        }
        let mut alone = vec![0.0; outputs];
        for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact(outputs)) {
            super::linear(Linear { tokens: 1, ..s }, x, &w_packed, 1.0, &mut alone);
            assert_eq!(alone, y, "{s:?}");
        }
    }
}

#[test]
fn a_transposed_operand_is_the_same_operand() {
    let (columns, inner) = (37, 45);
    let values = random(KINDS[1], columns * inner, "w");
    let transposed: Vec<f32> =
        (0..inner).flat_map(|k| values.iter().skip(k).step_by(inner).copied().collect::<Vec<_>>()).collect();
    let (straight, mut turned) = (Right::of(&values, columns, inner), Right::zeros(columns, inner));
    turned.fill_transposed(Rows::dense(&transposed, inner, columns));
    let (left, _) = operands(&random(KINDS[1], PANEL * inner, "x"), &random(KINDS[1], PANEL * inner, "w"), inner);
    let halves = [&left[..left.len() / 2], &left[left.len() / 2..]];
    for panel in 0..columns.div_ceil(PANEL) {
        let (mut found, mut expected) = (Block::zeros(), Block::zeros());
        Unit::new().block(halves, turned.panel(panel), &mut found);
        Unit::new().block(halves, straight.panel(panel), &mut expected);
        assert_eq!(found.0, expected.0);
    }
}
