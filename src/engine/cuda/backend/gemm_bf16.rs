//! Products of bfloat16 matrices by the kernels in `gemm_bf16.cu`, with what follows them in the same pass.

use super::CudaKernels;
use crate::engine::cuda::device::{Argument, Batch, DType, Device, GemmDesc, Launch};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::Linear;

/// Rows of a block's tile (`PRODUCT_ROWS` in the source).
const TILE_ROWS: usize = 128;
/// Columns of a narrow and of a wide tile, and threads of their blocks.
const NARROW: usize = 128;
const WIDE: usize = 256;
/// Inner values of a stage, and stages in shared memory (`PRODUCT_STEP`, `PRODUCT_STAGES`).
const STEP: usize = 32;
const STAGES: usize = 4;
/// Bytes of a bfloat16 number.
const BYTES: usize = 2;
/// Rows of aligned matrices begin at multiples of so many bytes, which are copied at once.
const CHUNK_BYTES: usize = 16;
/// Values of such a chunk.
const CHUNK: usize = CHUNK_BYTES / BYTES;

/// Multiprocessors of an H100; plans are made for it and are the same on every device, as results depend on them.
const MULTIPROCESSORS: usize = 132;
/// Narrow tiles there should be of long sums that are split: two rounds of wide ones, as one fills a multiprocessor.
const SPLIT_TILES: usize = 4 * MULTIPROCESSORS;
/// A block makes several tiles only while there are at least this many blocks, nearly four rounds of wide ones.
const STRIP_BLOCKS: usize = 512;
/// Most tiles of a block: their waiting for the first copies is shared by as many.
const STRIP: usize = 4;
/// Fewest inner values of a part: sixteen steps, against which writing and reading its sums costs little.
const PART: usize = 512;

/// What becomes of a product `p`; addresses are the device's. Matrices named here lie as the result does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine::cuda) enum Epilogue {
    /// `out = factor p + keep other` in bfloat16, rounded once.
    Narrow(Kept),
    /// The same in single precision, `other` too.
    Single(Kept),
    /// `out = relu(h)^2` with the rounded product `h`, which is written to `hidden` unless that is 0.
    ReluSquared { hidden: u64 },
    /// `out = 2 relu(hidden) p`, with `p` rounded before and the result again.
    ReluSquaredGrad { hidden: u64 },
    /// `out += scale p` by channel, with `p` rounded before and the sum again; `scale` is in single precision.
    PendingResidual { scale: u64 },
}

/// A matrix that is added to a product, `factor` times. It may be the result itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine::cuda) struct Kept {
    /// With 0 the matrix is not read.
    pub factor: f32,
    pub other: u64,
}

impl Kept {
    /// Nothing.
    pub const NONE: Kept = Kept { factor: 0.0, other: 0 };
}

impl Epilogue {
    /// Its number in the source (`EPILOGUE_*`), what is added, and the other address.
    fn parts(self) -> (u32, f32, u64) {
        match self {
            Epilogue::Narrow(kept) => (0, kept.factor, kept.other),
            Epilogue::Single(kept) => (1, kept.factor, kept.other),
            Epilogue::ReluSquared { hidden } => (2, 0.0, hidden),
            Epilogue::ReluSquaredGrad { hidden } => (3, 0.0, hidden),
            Epilogue::PendingResidual { scale } => (4, 0.0, scale),
        }
    }
}

/// A product `[rows, columns]` of row-major bfloat16 matrices, summed in single precision, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::cuda) struct GemmBf16 {
    pub rows: usize,
    pub columns: usize,
    /// Columns of `a`, rows of `b`.
    pub inner: usize,
    /// Whether `a` is stored as [inner, rows].
    pub a_transposed: bool,
    /// Whether `b` is stored as [columns, inner].
    pub b_transposed: bool,
    pub factor: f32,
    pub epilogue: Epilogue,
    /// Device addresses; `out` lies apart from both factors.
    pub a: u64,
    pub b: u64,
    pub out: u64,
    pub batch: Batch,
}

/// Which kernel makes a product, and how it is divided among blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::cuda) struct Plan {
    pub kernel: &'static str,
    /// Columns of a tile.
    pub tile: usize,
    /// Tiles of a block.
    pub strip: usize,
    /// Inner values of a part of the sums, all unless they are split.
    pub part: usize,
    pub parts: usize,
}

impl From<&GemmDesc> for GemmBf16 {
    /// A product of bfloat16 matrices.
    fn from(product: &GemmDesc) -> Self {
        let kept = Kept { factor: product.plus.factor, other: product.plus.address };
        let epilogue = match product.dtypes[1] {
            DType::Bf16 => Epilogue::Narrow(kept),
            DType::F32 => Epilogue::Single(kept),
        };
        let GemmDesc { rows, columns, inner, a_transposed, b_transposed, factor, a, b, out, batch, .. } = *product;
        GemmBf16 { rows, columns, inner, a_transposed, b_transposed, factor, epilogue, a, b, out, batch }
    }
}

impl GemmBf16 {
    /// The plan without splitting sums: a row's bits depend on nothing but the row and `b`.
    pub fn plan(&self) -> Plan {
        let tile_rows = self.rows.div_ceil(TILE_ROWS);
        let blocks = |tile: usize| tile_rows * self.columns.div_ceil(tile) * self.batch.count;
        let (kernel, tile) = self.kernel(|tile| blocks(tile) >= MULTIPROCESSORS);
        let tiles = self.columns.div_ceil(tile);
        let is_fit = |strip: &usize| tiles % strip == 0 && blocks(tile) / strip >= STRIP_BLOCKS;
        let strip = if self.is_aligned() { (1..=STRIP).rev().find(is_fit).unwrap_or(1) } else { 1 };
        Plan { kernel, tile, strip, part: self.inner, parts: 1 }
    }

    /// The plan with so many parts of the sums that the device is filled, as far as they are long enough for that.
    ///
    /// The dims alone decide on parts, which are added in order: equal inputs give equal bits, but a row's bits depend
    /// on the other dims too. It is meant for sums over tokens.
    pub fn split(&self) -> Plan {
        let (kernel, tile) = self.kernel(|_| true);
        let tiles = self.rows.div_ceil(TILE_ROWS) * self.columns.div_ceil(NARROW);
        let parts = (SPLIT_TILES / tiles.max(1)).min(self.inner / PART).max(1);
        let part = if parts == 1 { self.inner } else { self.inner.div_ceil(parts).next_multiple_of(STEP) };
        Plan { kernel, tile, strip: 1, part, parts: self.inner.div_ceil(part.max(1)).max(1) }
    }

    /// A kernel and the columns of its tiles: wide ones where that leaves no more of them empty and `is_filled`.
    fn kernel(&self, is_filled: impl Fn(usize) -> bool) -> (&'static str, usize) {
        let is_wide = self.columns.div_ceil(NARROW).is_multiple_of(2) && is_filled(WIDE);
        match (self.is_aligned(), is_wide, self.a_transposed, self.b_transposed) {
            (false, ..) => ("gemm_bf16_any", NARROW),
            (true, true, false, false) => ("wide_gemm_bf16_nn", WIDE),
            (true, true, false, true) => ("wide_gemm_bf16_nt", WIDE),
            (true, true, true, false) => ("wide_gemm_bf16_tn", WIDE),
            (true, false, false, false) => ("gemm_bf16_nn", NARROW),
            (true, false, false, true) => ("gemm_bf16_nt", NARROW),
            (true, false, true, false) => ("gemm_bf16_tn", NARROW),
            (true, _, true, true) => ("gemm_bf16_tt", NARROW),
        }
    }

    /// Whether every row begins at a multiple of 16 bytes and a kernel of this layout knows the finish.
    fn is_aligned(&self) -> bool {
        let a_row = if self.a_transposed { self.rows } else { self.inner };
        let b_row = if self.b_transposed { self.inner } else { self.columns };
        let is_known = match self.epilogue {
            Epilogue::Narrow(kept) => kept.factor == 0.0,
            Epilogue::Single(_) => true,
            Epilogue::ReluSquared { .. } | Epilogue::PendingResidual { .. } => !self.a_transposed && self.b_transposed,
            Epilogue::ReluSquaredGrad { .. } => !self.a_transposed && !self.b_transposed,
        };
        let strides = if self.batch.count > 1 { self.batch.strides } else { [0; 3] };
        let values = [a_row, b_row, self.columns].into_iter().chain(strides);
        let addresses = [self.a, self.b, self.out, self.epilogue.parts().2];
        is_known
            && values.into_iter().all(|values| values % CHUNK == 0)
            && addresses.into_iter().all(|address| address % CHUNK_BYTES as u64 == 0)
    }

    /// The kernel's arguments by a plan.
    pub fn arguments(&self, plan: &Plan) -> [Argument; 17] {
        let (epilogue, keep, other) = self.epilogue.parts();
        let [a_matrix, b_matrix, out_matrix] = self.batch.strides.map(|stride| Argument::U64(stride as u64));
        let side = |side: usize| Argument::U32(side as u32);
        [
            Argument::Address(self.a),
            Argument::Address(self.b),
            Argument::Address(other),
            Argument::Address(self.out),
            side(self.rows),
            side(self.columns),
            side(self.inner),
            side(plan.part),
            side(plan.strip),
            Argument::U32(epilogue),
            Argument::F32(self.factor),
            Argument::F32(keep),
            a_matrix,
            b_matrix,
            out_matrix,
            Argument::U32(u32::from(self.a_transposed)),
            Argument::U32(u32::from(self.b_transposed)),
        ]
    }

    /// A launch by a plan.
    pub fn launch<'a>(&self, plan: &Plan, arguments: &'a [Argument; 17]) -> Launch<'a> {
        let strips = self.columns.div_ceil(plan.tile * plan.strip);
        let blocks = self.rows.div_ceil(TILE_ROWS) * strips;
        let grid = [blocks, self.batch.count * plan.parts].map(|side| side as u32);
        let shared_bytes = (STAGES * STEP * (TILE_ROWS + plan.tile) * BYTES) as u32;
        Launch { kernel: plan.kernel, grid, threads: plan.tile as u32, shared_bytes, arguments }
    }
}

impl<D: Device> CudaKernels<D> {
    /// Any product, its sums never split.
    pub(in crate::engine::cuda) fn gemm_bf16(&self, product: &GemmBf16) {
        self.gemm_with_plan(product, &product.plan());
    }

    /// A product in single precision whose sums are long, as those over tokens are: split to fill the device.
    ///
    /// One product alone, no batch; any other epilogue is made unsplit.
    pub(in crate::engine::cuda) fn split_k_gemm_bf16(&self, product: &GemmBf16) {
        let plan = product.split();
        let (Epilogue::Single(kept), Batch::ONE, 2..) = (product.epilogue, product.batch, plan.parts) else {
            return self.gemm_bf16(product);
        };
        let values = product.rows * product.columns;
        let parts = Buffer::unset(&self.shared, plan.parts * values);
        let batch = Batch { count: 1, strides: [0, 0, values] };
        let epilogue = Epilogue::Single(Kept::NONE);
        self.gemm_with_plan(&GemmBf16 { factor: 1.0, epilogue, out: parts.address(), batch, ..*product }, &plan);
        let arguments = [
            Argument::Address(parts.address()),
            Argument::Address(kept.other),
            Argument::Address(product.out),
            Argument::U32(plan.parts as u32),
            Argument::F32(product.factor),
            Argument::F32(kept.factor),
        ];
        self.each("sum_split_k", values, &arguments);
    }

    /// A product in a way that fits its dims.
    pub(in crate::engine::cuda) fn gemm_with_plan(&self, product: &GemmBf16, plan: &Plan) {
        if product.rows * product.columns * product.batch.count == 0 {
            return;
        }
        let arguments = product.arguments(plan);
        // SAFETY: callers give the addresses of matrices of the dims they state, `out` apart from the factors; the
        // arguments are those the kernels declare (the shim checks their types).
        self.shared.run(|device| unsafe { device.launch(&product.launch(plan, &arguments)) });
    }

    /// `y = relu(h)^2` with `h = x W^T`, both rounded, of device addresses; `h` is kept in `hidden` unless that is 0.
    pub(in crate::engine::cuda) fn fused_relu_squared(&self, s: Linear, [x, w, y]: [u64; 3], hidden: u64) {
        self.gemm_bf16(&forward(s, [x, w, y], Epilogue::ReluSquared { hidden }));
    }

    /// `grad_hidden = 2 relu(hidden) grad_y W`, the product rounded and the result again, of device addresses.
    ///
    /// The dims are those of the layer after the square: its inputs are the hidden values.
    pub(in crate::engine::cuda) fn fused_relu_squared_grad(
        &self,
        s: Linear,
        [grad_y, w, hidden, grad_hidden]: [u64; 4],
    ) {
        self.gemm_bf16(&GemmBf16 {
            rows: s.tokens,
            columns: s.inputs,
            inner: s.outputs,
            a_transposed: false,
            b_transposed: false,
            factor: 1.0,
            epilogue: Epilogue::ReluSquaredGrad { hidden },
            a: grad_y,
            b: w,
            out: grad_hidden,
            batch: Batch::ONE,
        });
    }

    /// `y += scale (x W^T)` by channel, the product rounded and the sum again, of device addresses.
    pub(in crate::engine::cuda) fn fused_residual_add(&self, s: Linear, [x, w, scale, y]: [u64; 4]) {
        self.gemm_bf16(&forward(s, [x, w, y], Epilogue::PendingResidual { scale }));
    }
}

/// `x W^T`.
fn forward(s: Linear, [x, w, y]: [u64; 3], epilogue: Epilogue) -> GemmBf16 {
    GemmBf16 {
        rows: s.tokens,
        columns: s.outputs,
        inner: s.inputs,
        a_transposed: false,
        b_transposed: true,
        factor: 1.0,
        epilogue,
        a: x,
        b: w,
        out: y,
        batch: Batch::ONE,
    }
}
