//! Muon's update of all matrices of one shape at once.

use super::arena::{ALIGNMENT, Matrices};
use super::sums::Summed;
use crate::engine::cuda::backend::{CudaKernels, len64};
use crate::engine::cuda::device::{Argument, Batch, Device, Element, Plus, Product};
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

impl<D: Device> CudaKernels<D> {
    /// Updates matrices and their momentum buffers, as [`MuonStep::apply`] does.
    pub(super) fn muon(&self, batch: Matrices, step: &MuonStep, tensors: MuonTensors) {
        let n = batch.count * batch.stride;
        let address = Argument::Address;
        let element = match step.precision {
            OrthogonaliserPrecision::F32 => Element::F32,
            OrthogonaliserPrecision::Bf16 => Element::Bf16,
        };
        let x = self.buffer_of(element, n);
        let arguments = [
            address(tensors.buffer),
            address(tensors.gradient),
            address(x.address()),
            address(tensors.factor),
            Argument::F32(step.momentum as f32),
        ];
        self.each(element.of(["muon_momentum", "muon_momentum_bf16"]), n, &arguments);
        let x = self.orthogonalise(batch, x, step.newton_schulz_steps);
        let arguments = [
            address(tensors.weight),
            address(x.address()),
            address(tensors.factor),
            Argument::F32(step.keep()),
            Argument::F32(MuonStep::aspect((batch.rows, batch.columns))),
            Argument::F32(step.rate()),
        ];
        self.each(element.of(["muon_update", "muon_update_bf16"]), n, &arguments);
    }

    /// Newton-Schulz iteration; three products a step, each with the addition that follows it: `A = X X^T`,
    /// `P = c A A + b A`, `X = P X + a X`. In bfloat16 each of the three is rounded once, where PyTorch's eager kernels
    /// round the parts of a sum first.
    ///
    /// The Gram matrix is taken over the shorter side. Where that is the columns, `X^T X` and `X P^T` are asked for
    /// instead of transposing: the same sums.
    fn orthogonalise(&self, batch: Matrices, x: Buffer<D>, steps: u32) -> Buffer<D> {
        let Matrices { count, stride, rows, columns, .. } = batch;
        let element = x.element();
        let squares = self.sums(&x, Summed::Squares, count, stride, rows * columns);
        let arguments = [Argument::Address(x.address()), Argument::Address(squares.address()), len64(stride)];
        self.each(element.of(["unit_norm", "unit_norm_bf16"]), x.len(), &arguments);

        let (is_tall, short) = (rows > columns, rows.min(columns));
        let square_stride = (short * short).next_multiple_of(ALIGNMENT);
        let [gram, polynomial] = [(); 2].map(|()| self.buffer_of(element, count * square_stride));
        // Zeros, for what lies between matrices is read with them.
        let (mut x, mut next) = (x, self.cleared(self.buffer_of(element, count * stride)));
        let [a, b, c] = COEFFICIENTS;
        for _ in 0..steps {
            let plain = Product {
                rows: short,
                columns: short,
                inner: rows.max(columns),
                a_transposed: is_tall,
                b_transposed: !is_tall,
                elements: [element; 2],
                factor: 1.0,
                plus: Plus { factor: 0.0, address: gram.address() },
                a: x.address(),
                b: x.address(),
                out: gram.address(),
                batch: Batch { count, strides: [stride, stride, square_stride] },
            };
            self.product(plain);
            let square = Product {
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
            self.product(square);
            let step = Product {
                rows,
                columns,
                factor: 1.0,
                plus: Plus { factor: a, address: x.address() },
                out: next.address(),
                ..square
            };
            self.product(if is_tall {
                let strides = [stride, square_stride, stride];
                let (a, b) = (x.address(), polynomial.address());
                Product { b_transposed: true, a, b, batch: Batch { count, strides }, ..step }
            } else {
                let strides = [square_stride, stride, stride];
                let (a, b) = (polynomial.address(), x.address());
                Product { a, b, batch: Batch { count, strides }, ..step }
            });
            std::mem::swap(&mut x, &mut next);
        }
        x
    }
}
