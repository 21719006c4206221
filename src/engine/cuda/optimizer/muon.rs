//! Muon's update of all matrices of one shape at once.

use super::arena::{ALIGNMENT, Matrices};
use super::sums::Summed;
use crate::engine::cuda::backend::{CudaKernels, len64};
use crate::engine::cuda::device::{Argument, Batch, DType, Device, GemmDesc, Plus};
use crate::engine::cuda::memory::Buffer;
use crate::manifest::OrthogonaliserPrecision;
use crate::train::{COEFFICIENTS, MuonStep};

/// Addresses of the first matrix of a batch in the arenas, and of the step's factor.
#[derive(Clone, Copy)]
pub(super) struct MuonTensors {
    pub weight: u64,
    pub buffer: u64,
    pub gradient: u64,
    pub factor: u64,
}

/// How updates are stored.
pub(super) fn stored(step: &MuonStep) -> DType {
    match step.precision {
        OrthogonaliserPrecision::F32 => DType::F32,
        OrthogonaliserPrecision::Bf16 => DType::Bf16,
    }
}

impl<D: Device> CudaKernels<D> {
    /// Moves momentum buffers on and puts Nesterov's direction in `update`, as [`MuonStep::momentum`] does.
    pub(super) fn muon_momentum(&self, step: &MuonStep, tensors: MuonTensors, update: &Buffer<D>) {
        let arguments = [
            Argument::Address(tensors.buffer),
            Argument::Address(tensors.gradient),
            Argument::Address(update.address()),
            Argument::Address(tensors.factor),
            Argument::F32(step.momentum as f32),
        ];
        self.each(update.dtype().select(["muon_momentum", "muon_momentum_bf16"]), update.len(), &arguments);
    }

    /// Updates weights by what is orthogonal in `update`: the end of [`MuonStep::update`], and [`MuonStep::descend`].
    pub(super) fn muon_descend(&self, batch: Matrices, step: &MuonStep, tensors: MuonTensors, update: &Buffer<D>) {
        let arguments = [
            Argument::Address(tensors.weight),
            Argument::Address(update.address()),
            Argument::Address(tensors.factor),
            Argument::F32(step.keep()),
            Argument::F32(MuonStep::aspect((batch.rows, batch.columns))),
            Argument::F32(step.rate()),
        ];
        self.each(update.dtype().select(["muon_update", "muon_update_bf16"]), update.len(), &arguments);
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
        let (x, dtype) = (matrices, matrices.dtype());
        let squares = self.sums(x, Summed::Squares, count, stride, rows * columns);
        let arguments = [Argument::Address(x.address()), Argument::Address(squares.address()), len64(stride)];
        self.each(dtype.select(["unit_norm", "unit_norm_bf16"]), x.len(), &arguments);

        let (is_tall, short) = (rows > columns, rows.min(columns));
        let square_stride = (short * short).next_multiple_of(ALIGNMENT);
        let [gram, polynomial] = [(); 2].map(|()| self.buffer_of(dtype, count * square_stride));
        // Zeros, for what lies between matrices is read with them.
        let others = self.cleared(self.buffer_of(dtype, count * stride));
        let (mut x, mut next) = (x, &others);
        let [a, b, c] = COEFFICIENTS;
        for _ in 0..steps {
            let plain = GemmDesc {
                rows: short,
                columns: short,
                inner: rows.max(columns),
                a_transposed: is_tall,
                b_transposed: !is_tall,
                dtypes: [dtype; 2],
                factor: 1.0,
                plus: Plus { factor: 0.0, address: gram.address() },
                a: x.address(),
                b: x.address(),
                out: gram.address(),
                batch: Batch { count, strides: [stride, stride, square_stride] },
            };
            self.gemm(plain);
            let square = GemmDesc {
                inner: short,
                a_transposed: false,
                b_transposed: false,
                factor: c,
                plus: Plus { factor: b, address: gram.address() },
                a: gram.address(),
                b: gram.address(),
                out: polynomial.address(),
                batch: Batch { count, strides: [square_stride; 3] },
                ..plain
            };
            self.gemm(square);
            let step = GemmDesc {
                rows,
                columns,
                factor: 1.0,
                plus: Plus { factor: a, address: x.address() },
                out: next.address(),
                ..square
            };
            self.gemm(if is_tall {
                let strides = [stride, square_stride, stride];
                let (a, b) = (x.address(), polynomial.address());
                GemmDesc { b_transposed: true, a, b, batch: Batch { count, strides }, ..step }
            } else {
                let strides = [square_stride, stride, stride];
                let (a, b) = (polynomial.address(), x.address());
                GemmDesc { a, b, batch: Batch { count, strides }, ..step }
            });
            std::mem::swap(&mut x, &mut next);
        }
        if steps % 2 == 1 {
            self.shared.run(|device| device.copy(x.address(), matrices.address(), x.bytes()));
        }
    }
}
