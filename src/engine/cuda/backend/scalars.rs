//! Activations weighed by parameters of one value: the value embedding, and the merging of two lanes.

use super::CudaKernels;
use super::launch::{len32, values};
use super::norm::row_dots;
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::Kernels;

const F32: DType = DType::F32;

/// `x += a b y`.
pub(super) fn add_scaled<D: Device>(k: &CudaKernels<D>, y: &Buffer<D>, [a, b]: [&Buffer<D>; 2], x: &Buffer<D>) {
    let (dtype, n) = (x.dtype(), x.len());
    let operands = [values(y, dtype, n), values(a, F32, 1), values(b, F32, 1), values(x, dtype, n)];
    // SAFETY: `add_by_scalars` reads and writes n values, and reads two of one value.
    unsafe { k.spans(dtype.select(["add_by_scalars", "add_by_scalars_bf16"]), n, &operands) };
}

/// Adds up a value for each row.
fn add_up<D: Device>(k: &CudaKernels<D>, terms: &Buffer<D>, sum: &Buffer<D>) {
    let rows = terms.len();
    // SAFETY: `column_partials` reads rows of one value, and makes one sum.
    unsafe { k.columns("column_partials", rows, 1, 1, &[values(terms, F32, rows)], &[len32(1)], sum.view()) };
}

pub(super) fn add_scaled_grad<D: Device>(
    k: &CudaKernels<D>,
    [e, grad_v]: [&Buffer<D>; 2],
    [a, b]: [&Buffer<D>; 2],
    width: usize,
    grad_e: &Buffer<D>,
    [grad_a, grad_b]: [&Buffer<D>; 2],
) {
    add_scaled(k, grad_v, [a, b], grad_e);
    let along = k.gradients(1);
    add_up(k, &row_dots(k, e, grad_v, width), &along);
    let operands = [&along, a, b, grad_a, grad_b].map(|one| values(one, F32, 1));
    // SAFETY: `factor_gradients` reads and writes one value of each.
    unsafe { k.each("factor_gradients", 1, &operands) };
}

pub(super) fn merge<D: Device>(k: &CudaKernels<D>, [x, y]: [&Buffer<D>; 2], m: &Buffer<D>) -> Buffer<D> {
    let (merged, dtype, n) = (k.like(x), x.dtype(), x.len());
    let operands = [values(x, dtype, n), values(y, dtype, n), values(m, F32, 1), values(&merged, dtype, n)];
    // SAFETY: `merge_lanes` reads n values of both and one share, and writes n values.
    unsafe { k.spans(dtype.select(["merge_lanes", "merge_lanes_bf16"]), n, &operands) };
    merged
}

pub(super) fn merge_grad<D: Device>(
    k: &CudaKernels<D>,
    [x, y]: [&Buffer<D>; 2],
    m: &Buffer<D>,
    width: usize,
    grad: &Buffer<D>,
    grad_m: &Buffer<D>,
) -> [Buffer<D>; 2] {
    let (dtype, rows) = (grad.dtype(), grad.len() / width);
    let (n, grads) = (rows * width, [k.like(grad), k.like(grad)]);
    let [grad_x, grad_y] = grads.each_ref().map(|grad| values(grad, dtype, n));
    let written = [values(grad, dtype, n), values(m, F32, 1), grad_x, grad_y];
    let terms = Buffer::unset(&k.shared, rows);
    let of_rows = [x, y, grad].map(|values_of| values(values_of, dtype, n));
    let of_rows = [&of_rows[..], &[values(&terms, F32, rows), len32(width)]].concat();
    // SAFETY: `merge_lanes_grad` reads n values and one share, and writes n values twice; `difference_dots` reads whole rows
    // and writes a value for each.
    unsafe {
        k.spans(dtype.select(["merge_lanes_grad", "merge_lanes_grad_bf16"]), n, &written);
        k.rows(dtype.select(["difference_dots", "difference_dots_bf16"]), rows, &of_rows);
    }
    add_up(k, &terms, grad_m);
    grads
}
