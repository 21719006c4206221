//! Muon's update of all matrices of one shape at once.

use super::arena::{ALIGNMENT, Matrices};
use super::sums::Summed;
use crate::engine::cuda::backend::{CudaKernels, len64};
use crate::engine::cuda::device::{Argument, Batch, Device, Product};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::{Kernels, Store};
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
        let rounds = Argument::U32(u32::from(step.precision == OrthogonaliserPrecision::Bf16));
        let address = Argument::Address;
        let x = Buffer::unset(&self.shared, n);
        let arguments = [
            address(tensors.buffer),
            address(tensors.gradient),
            address(x.address()),
            address(tensors.factor),
            Argument::F32(step.momentum as f32),
            rounds,
        ];
        self.each("muon_momentum", n, &arguments);
        self.orthogonalise(batch, &x, step.newton_schulz_steps, rounds);
        let arguments = [
            address(tensors.weight),
            address(x.address()),
            address(tensors.factor),
            Argument::F32(step.keep()),
            Argument::F32(MuonStep::aspect((batch.rows, batch.columns))),
            Argument::F32(step.rate()),
            rounds,
        ];
        self.each("muon_update", n, &arguments);
    }

    /// Newton-Schulz iteration in place.
    ///
    /// The Gram matrix is taken over the shorter side. Where that is the columns, `X^T X` and `X P^T` are asked for
    /// instead of transposing: the same sums.
    fn orthogonalise(&self, batch: Matrices, x: &Buffer<D>, steps: u32, rounds: Argument) {
        let Matrices { count, stride, rows, columns, .. } = batch;
        let at = |buffer: &Buffer<D>| Argument::Address(buffer.address());
        let squares = self.sums(x.address(), Summed::Squares, count, stride, rows * columns);
        self.each("unit_norm", x.len(), &[at(x), at(&squares), rounds, len64(stride)]);

        let (is_tall, short) = (rows > columns, rows.min(columns));
        let square_stride = (short * short).next_multiple_of(ALIGNMENT);
        let square = || Buffer::<D>::unset(&self.shared, count * square_stride);
        let (gram, scaled, polynomial) = (square(), square(), square());
        // Zeros, for what lies between matrices is added to what lies between them.
        let correction = self.zeros(x.len());
        let [a, b, c] = COEFFICIENTS.map(Argument::F32);
        let plain = Product {
            rows: short,
            columns: short,
            inner: short,
            a_transposed: false,
            b_transposed: false,
            factor: 1.0,
            store: Store::Replace,
            a: x.address(),
            b: x.address(),
            out: gram.address(),
            batch: Batch { count, strides: [stride, stride, square_stride] },
        };
        for _ in 0..steps {
            let inner = rows.max(columns);
            self.product(Product { inner, a_transposed: is_tall, b_transposed: !is_tall, ..plain });
            self.each("schulz_scaled", gram.len(), &[at(&gram), at(&scaled), c, rounds]);
            let (a_scaled, b_gram, out) = (scaled.address(), gram.address(), polynomial.address());
            let strides = [square_stride; 3];
            self.product(Product { a: a_scaled, b: b_gram, out, batch: Batch { count, strides }, ..plain });
            self.each("schulz_polynomial", gram.len(), &[at(&gram), at(&polynomial), b, rounds]);
            let sides = Product { rows, columns, out: correction.address(), ..plain };
            self.product(if is_tall {
                let strides = [stride, square_stride, stride];
                Product { b_transposed: true, b: polynomial.address(), batch: Batch { count, strides }, ..sides }
            } else {
                let strides = [square_stride, stride, stride];
                Product { a: polynomial.address(), batch: Batch { count, strides }, ..sides }
            });
            self.each("schulz_step", x.len(), &[at(x), at(&correction), a, rounds]);
        }
    }
}
