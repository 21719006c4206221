//! bfloat16: rounding to it, and products of it.
//!
//! Values stay in single precision between operations. Products of matrices have one definition, AMX's: a sum in
//! single precision over 32 inner values at a time (`emulated`). Where the processor has AMX, it computes them
//! (`amx`); elsewhere the same sums are made by its vector units, to the same bits.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
#[path = "elsewhere.rs"]
mod amx;
mod attention;
mod emulated;
#[cfg(test)]
mod tests;
mod tiles;

pub(super) use self::attention::attention;
pub(in crate::engine) use self::tiles::Right;

use self::tiles::{Block, DEPTH, PANEL, Rows, Tile, pack_left};
use super::vectorized;
use crate::engine::isa;
use crate::engine::network::Linear;

/// To nearest, ties to even.
#[inline(always)]
pub(super) fn nearest(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = f32::from_bits(bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000);
    if x.is_nan() { x } else { rounded }
}

/// Rounds every value in place.
pub(super) fn round(values: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || values.iter_mut().for_each(|value| *value = nearest(*value)),
    );
}

/// What multiplies tiles.
struct Unit(Option<amx::Tiles>);

impl Unit {
    /// The fastest there is and `--isa` allows.
    fn new() -> Self {
        Unit(if isa::held_to_avx2() { None } else { amx::Tiles::configure() })
    }

    fn block(&self, left: [&[Tile]; 2], right: [&[Tile]; 2], out: &mut Block) {
        match &self.0 {
            Some(tiles) => tiles.block(left, right, out),
            None => emulated::block(left, right, out),
        }
    }
}

/// Computes `x W^T` and hands out its rows piece by piece: `each(row, first column, values)`.
fn products(s: Linear, x: &[f32], w: &Right, mut each: impl FnMut(usize, usize, &[f32])) {
    let x = Rows::dense(x, s.tokens, s.inputs);
    let steps = s.inputs.div_ceil(DEPTH);
    let (unit, mut left, mut block) = (Unit::new(), tiles::zeros(2 * steps), Block::zeros());
    for start in (0..s.tokens).step_by(PANEL) {
        pack_left(x, start, &mut left);
        let (top, bottom) = left.split_at(steps);
        for panel in 0..s.outputs.div_ceil(PANEL) {
            unit.block([top, bottom], w.panel(panel), &mut block);
            let columns = PANEL.min(s.outputs - panel * PANEL);
            vectorized(
                #[inline(always)]
                || {
                    for (i, row) in block.rows().take(s.tokens - start).enumerate() {
                        each(start + i, panel * PANEL, &row[..columns]);
                    }
                },
            );
        }
    }
}

/// `y = factor * x W^T`, rounded after the multiplication by the factor.
pub(super) fn linear(s: Linear, x: &[f32], w: &Right, factor: f32, y: &mut [f32]) {
    products(
        s,
        x,
        w,
        #[inline(always)]
        |row, column, values| {
            let y = &mut y[row * s.outputs + column..][..values.len()];
            y.iter_mut().zip(values).for_each(|(y, value)| *y = nearest(factor * value));
        },
    );
}

/// `y += scale * (x W^T)` by channel, the product rounded and the sum again.
pub(super) fn add_linear(s: Linear, x: &[f32], w: &Right, scale: &[f32], y: &mut [f32]) {
    products(
        s,
        x,
        w,
        #[inline(always)]
        |row, column, values| {
            let (y, scale) = (&mut y[row * s.outputs + column..][..values.len()], &scale[column..][..values.len()]);
            y.iter_mut()
                .zip(values)
                .zip(scale)
                .for_each(|((y, value), scale)| *y = nearest(*y + scale * nearest(*value)));
        },
    );
}
