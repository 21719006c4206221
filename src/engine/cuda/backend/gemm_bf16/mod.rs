//! Products of bfloat16 matrices by this crate's own kernels (`gemm_bf16*.cu`), with what follows them in the same pass.

mod fused;
mod plan;

use super::CudaKernels;
use super::launch::{in_32_bits, in_view, values};
use crate::engine::cuda::device::{Argument, DType, Device, Launch};
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::gemm::{Batch, GemmDesc, check_apart};
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;

pub(in crate::engine::cuda) use self::plan::Plan;
use self::plan::TILE_ROWS;
use super::launch::{Operand, len32};

/// Bytes of a bfloat16 number.
const BYTES: usize = 2;

/// What a product `p` becomes before it is stored. Matrices named here are stored as the result is.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::cuda) enum Epilogue<'a> {
    /// `out = alpha p + beta c` in bfloat16, rounded once.
    Bf16(Addend<'a>),
    /// The same in single precision, `c` too.
    F32(Addend<'a>),
    /// `out = (max(h, 0) + slope min(h, 0))^2` with the rounded product `h`, which is written to `hidden` too, if that is
    /// given.
    Squared { slope: f32, hidden: Option<View<'a>> },
    /// `out = 2 (max(hidden, 0) + slope^2 min(hidden, 0)) p`, with `p` rounded before and the result again.
    SquaredGrad { slope: f32, hidden: View<'a> },
    /// `out += scale p` by channel, with `p` rounded before and the sum again; `scale` is in single precision.
    ResidualAdd { scale: View<'a> },
}

/// A matrix that is added to a product, `beta` times. It may be the result itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::cuda) struct Addend<'a> {
    /// With 0 nothing is added.
    pub beta: f32,
    pub c: Option<View<'a>>,
}

impl Addend<'_> {
    /// Nothing.
    pub const NONE: Addend<'static> = Addend { beta: 0.0, c: None };
}

impl<'a> Epilogue<'a> {
    /// Its number in the source (`EPILOGUE_*`), `beta` or what stands in its place, and the other matrix or vector.
    fn parts(self) -> (u32, f32, Option<View<'a>>) {
        match self {
            Epilogue::Bf16(addend) => (0, addend.beta, addend.c),
            Epilogue::F32(addend) => (1, addend.beta, addend.c),
            Epilogue::Squared { slope, hidden } => (2, slope, hidden),
            Epilogue::SquaredGrad { slope, hidden } => (3, slope * slope, Some(hidden)),
            Epilogue::ResidualAdd { scale } => (4, 0.0, Some(scale)),
        }
    }

    /// How the result is stored.
    fn out_dtype(self) -> DType {
        if matches!(self, Epilogue::F32(_)) { DType::F32 } else { DType::Bf16 }
    }
}

/// A product `[m, n]` of row-major bfloat16 matrices, summed in single precision, and its epilogue.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::cuda) struct GemmBf16<'a> {
    pub m: usize,
    pub n: usize,
    /// Columns of `a`, rows of `b`.
    pub k: usize,
    /// Whether `a` is stored as [k, m].
    pub a_transposed: bool,
    /// Whether `b` is stored as [n, k].
    pub b_transposed: bool,
    pub alpha: f32,
    pub epilogue: Epilogue<'a>,
    pub a: View<'a>,
    pub b: View<'a>,
    /// Must not overlap the factors.
    pub out: View<'a>,
    pub batch: Batch,
}

impl<'a> From<&GemmDesc<'a>> for GemmBf16<'a> {
    /// A product of bfloat16 matrices.
    fn from(gemm: &GemmDesc<'a>) -> Self {
        let &GemmDesc { m, n, k, a_transposed, b_transposed, alpha, beta, a, b, c, out, batch } = gemm;
        let addend = Addend { beta, c: Some(c) };
        let epilogue = match out.dtype() {
            DType::Bf16 => Epilogue::Bf16(addend),
            DType::F32 => Epilogue::F32(addend),
        };
        GemmBf16 { m, n, k, a_transposed, b_transposed, alpha, epilogue, a, b, out, batch }
    }
}

impl GemmBf16<'_> {
    /// Checks that each operand is as long as the product needs, stored as it should be and this device's, and that the
    /// result does not overlap the factors.
    fn check(&self, device: usize, plan: &Plan) -> Result<(), DeviceError> {
        const GEMM: &str = "gemm_bf16";
        let &GemmBf16 { m, n, k, a, b, out, batch, epilogue, .. } = self;
        // A split product has one pair of factors and a result for each split.
        let results = if plan.splits > 1 { Batch { count: plan.splits, ..batch } } else { batch };
        let dtype = epilogue.out_dtype();
        batch.check_operand(GEMM, "a", a, device, DType::Bf16, 0, m * k)?;
        batch.check_operand(GEMM, "b", b, device, DType::Bf16, 1, k * n)?;
        results.check_operand(GEMM, "out", out, device, dtype, 2, m * n)?;
        match (epilogue, epilogue.parts().2) {
            (_, None) => {}
            (Epilogue::ResidualAdd { .. }, Some(scale)) => {
                Batch::ONE.check_operand(GEMM, "scale", scale, device, DType::F32, 0, n)?;
            }
            (_, Some(other)) => results.check_operand(GEMM, "c", other, device, dtype, 2, m * n)?,
        }
        check_apart(GEMM, out, &[("a", a), ("b", b)])
    }

    /// The kernel's arguments by a plan.
    fn arguments(&self, plan: &Plan) -> Result<[Argument; 17], DeviceError> {
        let (epilogue, beta, other) = self.epilogue.parts();
        let [a_matrix, b_matrix, out_matrix] = self.batch.strides.map(|stride| Argument::U64(stride as u64));
        let size = |value: usize| in_32_bits(plan.kernel, value).map(Argument::U32);
        Ok([
            Argument::of(self.a),
            Argument::of(self.b),
            other.map_or(Argument::NULL, Argument::of),
            Argument::of(self.out),
            size(self.m)?,
            size(self.n)?,
            size(self.k)?,
            size(plan.k_per_split)?,
            size(plan.strip)?,
            Argument::U32(epilogue),
            Argument::F32(self.alpha),
            Argument::F32(beta),
            a_matrix,
            b_matrix,
            out_matrix,
            Argument::U32(u32::from(self.a_transposed)),
            Argument::U32(u32::from(self.b_transposed)),
        ])
    }
}

impl<D: Device> CudaKernels<D> {
    /// Any product, its sums never split.
    pub(in crate::engine::cuda) fn gemm_bf16(&self, gemm: &GemmBf16<'_>) {
        self.gemm_with_plan(gemm, &gemm.plan(self.instruction));
    }

    /// A product in single precision whose sums are long, as those over tokens are: split to fill the device (split-K).
    ///
    /// One product alone, no batch; any other is made unsplit.
    pub(in crate::engine::cuda) fn split_k_gemm_bf16(&self, gemm: &GemmBf16<'_>) {
        let plan = gemm.split();
        let (Epilogue::F32(addend), Batch::ONE, 2..) = (gemm.epilogue, gemm.batch, plan.splits) else {
            return self.gemm_bf16(gemm);
        };
        let results = gemm.m * gemm.n;
        let partial = Buffer::unset(&self.shared, plan.splits * results);
        let batch = Batch { count: 1, strides: [0, 0, results] };
        let epilogue = Epilogue::F32(Addend::NONE);
        self.gemm_with_plan(&GemmBf16 { alpha: 1.0, epilogue, out: partial.view(), batch, ..*gemm }, &plan);
        let operands = [
            values(&partial, DType::F32, plan.splits * results),
            in_view(addend.c.unwrap_or(gemm.out), DType::F32, results),
            in_view(gemm.out, DType::F32, results),
            len32(plan.splits),
            Operand::F32(gemm.alpha),
            Operand::F32(addend.beta),
        ];
        // SAFETY: `sum_split_k` reads a value of each split and of `c` for each value of the result.
        unsafe { self.each("sum_split_k", results, &operands) };
    }

    /// A product by a plan of its own making ([`GemmBf16::plan`], [`GemmBf16::split`]) or, in tests, another.
    pub(in crate::engine::cuda) fn gemm_with_plan(&self, gemm: &GemmBf16<'_>, plan: &Plan) {
        if gemm.m * gemm.n * gemm.batch.count == 0 {
            return;
        }
        self.shared.run(|device| {
            gemm.check(self.shared.id(), plan)?;
            let arguments = gemm.arguments(plan)?;
            let strips = gemm.n.div_ceil(plan.tile * plan.strip);
            let blocks = [gemm.m.div_ceil(TILE_ROWS) * strips, gemm.batch.count * plan.splits];
            let [x, y] = blocks.map(|blocks| in_32_bits(plan.kernel, blocks));
            let (grid, threads, shared_bytes) = ([x?, y?], plan.threads(), plan.shared_bytes());
            let launch = Launch { kernel: plan.kernel, grid, threads, shared_bytes, arguments: &arguments };
            // SAFETY: the operands reach as far as the kernel does with these dimensions, and the result is apart from the
            // factors (checked above); the arguments are those the kernels declare (the shim checks their types).
            unsafe { device.launch(&launch) }
        });
    }
}
