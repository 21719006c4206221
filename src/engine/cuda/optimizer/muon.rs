//! Muon's update of all matrices of one shape at once.

use super::arena::{ALIGNMENT, Matrices};
use super::sums::{DOUBLE, Summed};
use crate::engine::cuda::backend::{CudaKernels, Operand, in_view, len64, values};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::gemm::{Batch, GemmDesc};
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;
use crate::manifest::OrthogonalizerPrecision;
use crate::optim::{COEFFICIENTS, MuonStep};

/// A batch of matrices in the arenas, and the step's clipping factor.
#[derive(Clone, Copy)]
pub(super) struct MuonTensors<'a> {
    pub weight: View<'a>,
    /// Momentum buffers.
    pub buffer: View<'a>,
    pub gradient: View<'a>,
    pub factor: View<'a>,
}

/// How updates are stored.
pub(super) fn stored(step: &MuonStep) -> DType {
    match step.precision {
        OrthogonalizerPrecision::F32 => DType::F32,
        OrthogonalizerPrecision::Bf16 => DType::Bf16,
    }
}

impl<D: Device> CudaKernels<D> {
    /// Moves momentum buffers on and writes Nesterov's direction to `update`, as [`MuonStep::momentum`] does.
    pub(super) fn muon_momentum(&self, step: &MuonStep, tensors: MuonTensors<'_>, update: &Buffer<D>) {
        let (dtype, n) = (update.dtype(), update.len());
        let operands = [
            in_view(tensors.buffer, DType::F32, n),
            in_view(tensors.gradient, DType::F32, n),
            values(update, dtype, n),
            in_view(tensors.factor, DType::F32, 1),
            Operand::F32(step.momentum as f32),
        ];
        // SAFETY: `muon_momentum` reads and writes n values of each array, and reads one factor.
        unsafe { self.each(dtype.select(["muon_momentum", "muon_momentum_bf16"]), n, &operands) };
    }

    /// Updates weights by the orthogonalized `update`: the end of [`MuonStep::update`], and [`MuonStep::descend`].
    pub(super) fn muon_descend(&self, batch: Matrices, step: &MuonStep, tensors: MuonTensors<'_>, update: &Buffer<D>) {
        let (dtype, n) = (update.dtype(), update.len());
        let operands = [
            in_view(tensors.weight, DType::F32, n),
            values(update, dtype, n),
            in_view(tensors.factor, DType::F32, 1),
            Operand::F32(step.keep()),
            Operand::F32(MuonStep::aspect((batch.rows, batch.columns))),
            Operand::F32(step.rate()),
        ];
        // SAFETY: `muon_update` reads and writes n values of each array, and reads one factor.
        unsafe { self.each(dtype.select(["muon_update", "muon_update_bf16"]), n, &operands) };
    }

    /// Divides each matrix by its Frobenius norm.
    fn unit_norm(&self, batch: Matrices, matrices: &Buffer<D>) {
        let Matrices { count, stride, rows, columns, .. } = batch;
        let (dtype, n) = (matrices.dtype(), matrices.len());
        let squares = self.sums(matrices, Summed::Squares, count, stride, rows * columns);
        let operands =
            [values(matrices, dtype, count * stride), values(&squares, DType::F32, DOUBLE * count), len64(stride)];
        // SAFETY: `unit_norm` reads and writes all values, and reads a sum for each matrix.
        unsafe { self.each(dtype.select(["unit_norm", "unit_norm_bf16"]), n, &operands) };
    }

    /// Newton-Schulz iteration in place; three products a step, each with the addition that follows it: `A = X X^T`,
    /// `P = c A A + b A`, `X = P X + a X`. In bfloat16 each of the three is rounded once, where PyTorch's eager kernels
    /// round the parts of a sum first.
    ///
    /// The Gram matrix is taken over the shorter side. Where that is the columns, `X^T X` and `X P^T` are asked for
    /// instead of transposing: the same sums.
    pub(super) fn orthogonalize(&self, batch: Matrices, matrices: &Buffer<D>, steps: u32) {
        let Matrices { count, stride, rows, columns, .. } = batch;
        if count == 0 {
            return;
        }
        self.unit_norm(batch, matrices);
        let (dtype, short) = (matrices.dtype(), rows.min(columns));
        let square_stride = (short * short).next_multiple_of(ALIGNMENT);
        let [gram, polynomial] = [(); 2].map(|()| self.buffer_of(dtype, count * square_stride));
        // Zeros: the padding between matrices is read with them.
        let others = self.cleared(self.buffer_of(dtype, count * stride));
        let (mut x, mut next) = (matrices, &others);
        for _ in 0..steps {
            let squares = [gram.view(), polynomial.view()];
            for gemm in iteration(batch, square_stride, x.view(), squares, next.view()) {
                self.gemm(&gemm);
            }
            std::mem::swap(&mut x, &mut next);
        }
        if steps % 2 == 1 {
            self.shared.copy(x.view(), matrices.view());
        }
    }
}

/// The products of one iteration, from `x` to `next`.
fn iteration<'a>(
    batch: Matrices,
    square_stride: usize,
    x: View<'a>,
    [gram, polynomial]: [View<'a>; 2],
    next: View<'a>,
) -> [GemmDesc<'a>; 3] {
    let Matrices { count, stride, rows, columns, .. } = batch;
    let (is_tall, short) = (rows > columns, rows.min(columns));
    let [a, b, c] = COEFFICIENTS;
    let plain = GemmDesc {
        m: short,
        n: short,
        k: rows.max(columns),
        a_transposed: is_tall,
        b_transposed: !is_tall,
        alpha: 1.0,
        beta: 0.0,
        a: x,
        b: x,
        c: gram,
        out: gram,
        batch: Batch { count, strides: [stride, stride, square_stride] },
    };
    let square = GemmDesc {
        k: short,
        a_transposed: false,
        b_transposed: false,
        alpha: c,
        beta: b,
        a: gram,
        b: gram,
        out: polynomial,
        batch: Batch { count, strides: [square_stride; 3] },
        ..plain
    };
    let step = GemmDesc { m: rows, n: columns, alpha: 1.0, beta: a, c: x, out: next, ..square };
    let step = if is_tall {
        let strides = [stride, square_stride, stride];
        GemmDesc { b_transposed: true, a: x, b: polynomial, batch: Batch { count, strides }, ..step }
    } else {
        let strides = [square_stride, stride, stride];
        GemmDesc { a: polynomial, b: x, batch: Batch { count, strides }, ..step }
    };
    [plain, square, step]
}
