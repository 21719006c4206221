//! RMSNorm of rows, and QK norm with RoPE of heads.

use super::CudaKernels;
use super::attention_bf16::QueryGrads;
use super::elementwise::begins;
use super::launch::{Operand, SPAN, WARP, in_rows, len32, optional, values};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{Norm, QkNormRope, Smear, WriteMode};

const F32: DType = DType::F32;

pub(super) fn rms_norm<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, Norm { width, factor }: Norm) -> Buffer<D> {
    let (y, dtype, rows) = (k.like(x), x.dtype(), x.len() / width);
    let n = rows * width;
    let operands = [values(x, dtype, n), values(&y, dtype, n), len32(width), Operand::F32(factor)];
    // SAFETY: `rms_norm` reads and writes whole rows.
    unsafe { k.rows(dtype.select(["rms_norm", "rms_norm_bf16"]), rows, &operands) };
    y
}

pub(super) fn rms_norm_grad<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    grad_y: &Buffer<D>,
    Norm { width, factor }: Norm,
    mode: WriteMode,
    grad_x: &Buffer<D>,
) {
    let (dtype, rows) = (x.dtype(), x.len() / width);
    let n = rows * width;
    let accumulate = Operand::Flag(mode == WriteMode::Accumulate);
    let operands = [
        values(x, dtype, n),
        values(grad_y, dtype, n),
        values(grad_x, dtype, n),
        len32(width),
        Operand::F32(factor),
        accumulate,
    ];
    // SAFETY: `rms_norm_grad` reads and writes whole rows.
    unsafe { k.rows(dtype.select(["rms_norm_grad", "rms_norm_grad_bf16"]), rows, &operands) };
}

/// The smear of normalized rows.
pub(super) fn norm_smear<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    smear: Smear<'_, CudaKernels<D>>,
    width: usize,
) -> Buffer<D> {
    let (y, dtype, rows) = (k.like(x), x.dtype(), x.len() / width);
    let n = rows * width;
    let tensors = [values(x, dtype, n), values(smear.gate, F32, width), begins(smear, rows), values(&y, dtype, n)];
    let operands = [&tensors[..], &[len32(width), len32(smear.seq_len)]].concat();
    // SAFETY: `norm_smear` reads whole rows and the ones before them, but for a first row, an id for each row if there are
    // any, and writes as many rows.
    unsafe { k.rows(dtype.select(["norm_smear", "norm_smear_bf16"]), rows, &operands) };
    y
}

/// `dots[row] = a . b` over rows of `width` values.
pub(super) fn row_dots<D: Device>(k: &CudaKernels<D>, a: &Buffer<D>, b: &Buffer<D>, width: usize) -> Buffer<D> {
    let (dtype, rows) = (a.dtype(), a.len() / width);
    let (dots, n) = (Buffer::unset(&k.shared, rows), rows * width);
    let operands = [values(a, dtype, n), values(b, dtype, n), values(&dots, F32, rows), len32(width)];
    // SAFETY: `row_dots` reads whole rows and writes a value for each.
    unsafe { k.rows(dtype.select(["row_dots", "row_dots_bf16"]), rows, &operands) };
    dots
}

/// Lanes that share a head of which so many pairs of channels are rotated (`lanes_of` in `heads.cu`).
fn lanes_of(width: usize, half: usize) -> usize {
    let is_shared = 2 * half == width && width.is_power_of_two() && (2 * SPAN..=WARP * SPAN).contains(&width);
    if is_shared { width / SPAN } else { WARP }
}

/// Tables, gain and dimensions, as the kernels take them: what is constant, and what describes `x`.
fn shape_of<'a, D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    shape: QkNormRope<'a, CudaKernels<D>>,
) -> ([Operand<'a>; 3], [Operand<'a>; 6]) {
    let QkNormRope { heads, width, tokens_per_row, first, gain, tables } = shape;
    // The tables may have more positions than these rows.
    let half = tables.half;
    let positions = tables.cos.len().max((first + tokens_per_row) * half);
    k.check_at_most("qk_norm_rope", "positions", tokens_per_row + first, tables.cos.len() / half.max(1));
    k.check_at_most("qk_norm_rope", "rotated coordinates", 2 * half, width);
    let constants = [
        values(&tables.cos, F32, positions),
        values(&tables.sin, F32, positions),
        optional(gain.map(Buffer::view), F32, heads),
    ];
    let stride = k.row_stride("qk_norm_rope", x.view(), heads * width);
    (constants, [heads, width, half, tokens_per_row, first, stride].map(len32))
}

pub(super) fn qk_norm_rope<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    shape: QkNormRope<'_, CudaKernels<D>>,
) -> Buffer<D> {
    let (y, dtype, rows) = (k.like(x), x.dtype(), x.len() / shape.width);
    let n = rows * shape.width;
    let (constants, dims) = shape_of(k, x, shape);
    let operands = [&[in_rows(x.view(), dtype, n), values(&y, dtype, n)], &constants[..], &dims].concat();
    let kernel = dtype.select(["qk_norm_rope", "qk_norm_rope_bf16"]);
    // SAFETY: `qk_norm_rope` reads and writes whole heads, a gain for each head of a token, and the angles of positions
    // that the tables have.
    unsafe { k.lanes(kernel, rows, lanes_of(shape.width, shape.tables.half), &operands) };
    y
}

pub(super) fn qk_norm_rope_grad<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    shape: QkNormRope<'_, CudaKernels<D>>,
    grad_y: &Buffer<D>,
    grad_x: &Buffer<D>,
    grad_gain: Option<&Buffer<D>>,
) {
    let dtype = x.dtype();
    let kernel = dtype.select(["qk_norm_rope_grad", "qk_norm_rope_grad_bf16"]);
    let grads = values(grad_y, dtype, x.len() / shape.width * shape.width);
    norm_rope_grad(k, kernel, x, shape, (grads, &[], &[]), grad_x, grad_gain);
}

/// The same of queries, whose gradients lie as attention adds them up.
pub(super) fn query_norm_rope_grad<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    shape: QkNormRope<'_, CudaKernels<D>>,
    grads: &QueryGrads<D>,
    grad_x: &Buffer<D>,
    grad_gain: Option<&Buffer<D>>,
) {
    let (sums, dims, scale) = grads.operands();
    norm_rope_grad(k, "tensor_qk_norm_rope_grad", x, shape, (sums, &dims, &[scale]), grad_x, grad_gain);
}

/// Both: the gradients of the heads as `kernel` takes them, with what it takes before and behind the shape.
fn norm_rope_grad<D: Device>(
    k: &CudaKernels<D>,
    kernel: &'static str,
    x: &Buffer<D>,
    shape: QkNormRope<'_, CudaKernels<D>>,
    (grads, before, behind): (Operand<'_>, &[Operand<'_>], &[Operand<'_>]),
    grad_x: &Buffer<D>,
    grad_gain: Option<&Buffer<D>>,
) {
    let (dtype, heads, rows) = (x.dtype(), shape.heads, x.len() / shape.width);
    let n = rows * shape.width;
    let terms = grad_gain.is_some().then(|| Buffer::unset(&k.shared, rows));
    let gain_terms = optional(terms.as_ref().map(Buffer::view), F32, rows);
    let [x_stride, grad_stride] = [x, grad_x].map(|x| k.row_stride(kernel, x.view(), heads * shape.width));
    k.check_width(kernel, grad_stride, x_stride);
    let tensors = [in_rows(x.view(), dtype, n), grads, in_rows(grad_x.view(), dtype, n), gain_terms];
    let (constants, dims) = shape_of(k, x, shape);
    let operands = [&tensors[..], &constants, before, &dims, behind].concat();
    // SAFETY: as in `qk_norm_rope`, where rows of `grad_x` are as far apart as those of `x` (checked above); a gain's term is
    // a value for each head.
    unsafe { k.lanes(kernel, rows, lanes_of(shape.width, shape.tables.half), &operands) };
    if let (Some(terms), Some(grad_gain)) = (terms, grad_gain) {
        let tokens = rows / heads;
        let before = [values(&terms, F32, tokens * heads)];
        // SAFETY: `column_partials` reads whole rows of a term for each head, and makes a sum for each head.
        unsafe { k.columns("column_partials", tokens, heads, heads, &before, &[len32(heads)], grad_gain.view()) };
    }
}
