//! Heads weighed by a gate over the first channels of attention's input.

use super::CudaKernels;
use super::launch::{Operand, len32, values};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{GateShape, Kernels};

const F32: DType = DType::F32;

/// Keeps an error unless the window lies within the inputs.
fn check_window<D: Device>(k: &CudaKernels<D>, shape: GateShape) {
    k.check_at_most("gate_heads", "window", shape.window, shape.inputs);
}

/// Sizes and constants, as both kernels of outputs take them.
fn of_outputs<'a>(GateShape { inputs, window, heads, width, factor, slope }: GateShape) -> [Operand<'a>; 6] {
    let [inputs, window, heads, width] = [inputs, window, heads, width].map(len32);
    [inputs, window, heads, width, Operand::F32(factor), Operand::F32(slope)]
}

pub(super) fn gate<D: Device>(k: &CudaKernels<D>, shape: GateShape, [x, weights, mixed]: [&Buffer<D>; 3]) -> Buffer<D> {
    check_window(k, shape);
    let (y, dtype, rows) = (k.like(mixed), mixed.dtype(), mixed.len() / shape.width);
    let (tokens, n) = (rows / shape.heads, rows * shape.width);
    let tensors = [
        values(x, dtype, tokens * shape.inputs),
        values(weights, F32, shape.heads * shape.window),
        values(mixed, dtype, n),
        values(&y, dtype, n),
    ];
    let operands = [&tensors[..], &of_outputs(shape)].concat();
    // SAFETY: the kernel reads the first channels of each token's input (checked above), a row of weights for each head,
    // and reads and writes whole heads; a row is a head of a token.
    unsafe { k.rows(dtype.select(["gate_heads", "gate_heads_bf16"]), rows, &operands) };
    y
}

pub(super) fn gate_grad<D: Device>(
    k: &CudaKernels<D>,
    shape: GateShape,
    [x, weights, mixed]: [&Buffer<D>; 3],
    grad: &Buffer<D>,
) -> Buffer<D> {
    check_window(k, shape);
    let (dtype, rows) = (mixed.dtype(), mixed.len() / shape.width);
    let (tokens, n) = (rows / shape.heads, rows * shape.width);
    let along = k.gradients(rows);
    let tensors = [
        values(x, dtype, tokens * shape.inputs),
        values(weights, F32, shape.heads * shape.window),
        values(mixed, dtype, n),
        values(grad, dtype, n),
        values(&along, F32, rows),
    ];
    let operands = [&tensors[..], &of_outputs(shape)].concat();
    // SAFETY: as in `gate`, and the kernel writes a value for each head of a token.
    unsafe { k.rows(dtype.select(["gate_heads_grad", "gate_heads_grad_bf16"]), rows, &operands) };
    along
}

pub(super) fn gate_input_grad<D: Device>(
    k: &CudaKernels<D>,
    shape: GateShape,
    [along, x, weights]: [&Buffer<D>; 3],
    grad_x: &Buffer<D>,
    grad_weights: &Buffer<D>,
) {
    check_window(k, shape);
    let GateShape { inputs, window, heads, .. } = shape;
    let (dtype, tokens, in_weights) = (x.dtype(), along.len() / heads, heads * window);
    let along = values(along, F32, tokens * heads);
    let sizes = [inputs, window, heads].map(len32);
    let of_inputs = [along, values(weights, F32, in_weights), values(grad_x, dtype, tokens * inputs)];
    let of_inputs = [&of_inputs[..], &sizes].concat();
    let of_weights = [along, values(x, dtype, tokens * inputs), values(grad_weights, F32, in_weights)];
    let of_weights = [&of_weights[..], &sizes, &[len32(tokens)]].concat();
    // SAFETY: `gate_input_grad` reads a value for each head of a token and all weights, and reads and writes the first
    // channels of each token (checked above); `gate_weight_grad` reads the same of tokens and writes all weights.
    unsafe {
        k.each(dtype.select(["gate_input_grad", "gate_input_grad_bf16"]), tokens * window, &of_inputs);
        k.rows(dtype.select(["gate_weight_grad", "gate_weight_grad_bf16"]), in_weights, &of_weights);
    }
}
