//! Which kernel makes a product, and how the work is divided among blocks.

use super::{BYTES, Epilogue, GemmBf16};
use crate::engine::cuda::device::Instruction;
use crate::engine::cuda::view::View;

/// Rows of a block's tile (`GEMM_ROWS` in the source).
pub(super) const TILE_ROWS: usize = 128;
/// Columns of a narrow and of a wide tile, and of `mma.sync` the threads of their blocks.
const NARROW: usize = 128;
const WIDE: usize = 256;
/// Values of `k` in a stage, and stages in shared memory (`GEMM_STEP`, `GEMM_STAGES`).
const STEP: usize = 32;
const STAGES: usize = 4;
/// The same of `wgmma` (`WGMMA_STEP` and its kernels' last argument), and threads of a block: two warpgroups.
const WGMMA_STEP: usize = 64;
const WGMMA_STAGES_NARROW: usize = 3;
const WGMMA_STAGES_WIDE: usize = 4;
const WGMMA_THREADS: u32 = 256;
/// Rows of aligned matrices begin at multiples of so many bytes, which are copied at once.
const CHUNK_BYTES: usize = 16;
/// Values of such a chunk.
const CHUNK: usize = CHUNK_BYTES / BYTES;

/// Multiprocessors of an H100; plans are made for it and are the same on every device, as results depend on them.
const MULTIPROCESSORS: usize = 132;
/// Narrow tiles wanted of a product that is split: two rounds of wide ones, one of which fills a multiprocessor.
const SPLIT_TILES: usize = 4 * MULTIPROCESSORS;
/// A block makes several tiles only while there are at least this many blocks, nearly four rounds of wide ones.
const STRIP_BLOCKS: usize = 512;
/// Most tiles of a block, which waits for its first copies only once.
const STRIP: usize = 4;
/// Fewest values of `k` in a split: sixteen steps, against which writing and reading its sums costs little.
const SPLIT: usize = 512;

/// Which kernel makes a product, and how it is divided among blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::cuda) struct Plan {
    pub kernel: &'static str,
    /// What the kernel is made of.
    pub instruction: Instruction,
    /// Columns of a tile.
    pub tile: usize,
    /// Tiles of a block.
    pub strip: usize,
    /// Values of `k` in a split, all of them where there is one split.
    pub k_per_split: usize,
    pub splits: usize,
}

impl Plan {
    /// Threads of a block.
    pub(super) fn threads(&self) -> u32 {
        match self.instruction {
            Instruction::Mma => self.tile as u32,
            Instruction::Wgmma => WGMMA_THREADS,
        }
    }

    /// Bytes of shared memory of a block: its stages.
    pub(super) fn shared_bytes(&self) -> u32 {
        let values = match (self.instruction, self.tile) {
            (Instruction::Mma, _) => STAGES * STEP,
            (Instruction::Wgmma, WIDE) => WGMMA_STAGES_WIDE * WGMMA_STEP,
            (Instruction::Wgmma, _) => WGMMA_STAGES_NARROW * WGMMA_STEP,
        };
        (values * (TILE_ROWS + self.tile) * BYTES) as u32
    }
}

impl GemmBf16<'_> {
    /// The plan without splitting sums: a row's bits depend on nothing but the row and `b`. Of kernels made of that
    /// instruction, where there is one.
    pub fn plan(&self, instruction: Instruction) -> Plan {
        let tile_rows = self.m.div_ceil(TILE_ROWS);
        let blocks = |tile: usize| tile_rows * self.n.div_ceil(tile) * self.batch.count;
        let (kernel, instruction, tile) = self.kernel(instruction, |tile| blocks(tile) >= MULTIPROCESSORS);
        let tiles = self.n.div_ceil(tile);
        let is_fit = |strip: &usize| tiles % strip == 0 && blocks(tile) / strip >= STRIP_BLOCKS;
        let strip = if self.is_aligned() { (1..=STRIP).rev().find(is_fit).unwrap_or(1) } else { 1 };
        Plan { kernel, instruction, tile, strip, k_per_split: self.k, splits: 1 }
    }

    /// The plan with so many splits of `k` that the device is filled, as far as they are long enough for that.
    ///
    /// The dimensions alone decide on the splits, which are added in order: equal inputs give equal bits, but a row's bits
    /// depend on the other dimensions too. It is meant for sums over tokens.
    pub fn split(&self) -> Plan {
        let (kernel, instruction, tile) = self.kernel(Instruction::Mma, |_| true);
        let tiles = self.m.div_ceil(TILE_ROWS) * self.n.div_ceil(NARROW);
        let splits = (SPLIT_TILES / tiles.max(1)).min(self.k / SPLIT).max(1);
        let k_per_split = if splits == 1 { self.k } else { self.k.div_ceil(splits).next_multiple_of(STEP) };
        let splits = self.k.div_ceil(k_per_split.max(1)).max(1);
        Plan { kernel, instruction, tile, strip: 1, k_per_split, splits }
    }

    /// A kernel, what it is made of, and the columns of its tiles: wide ones where that leaves no more of them empty and
    /// `is_filled`.
    fn kernel(
        &self,
        instruction: Instruction,
        is_filled: impl Fn(usize) -> bool,
    ) -> (&'static str, Instruction, usize) {
        let is_wide = self.n.div_ceil(NARROW).is_multiple_of(2) && is_filled(WIDE);
        if instruction == Instruction::Wgmma && self.is_aligned() && !self.a_transposed {
            let (kernel, tile) = match (is_wide, self.b_transposed) {
                (true, false) => ("wide_wgmma_gemm_bf16_nn", WIDE),
                (true, true) => ("wide_wgmma_gemm_bf16_nt", WIDE),
                (false, false) => ("wgmma_gemm_bf16_nn", NARROW),
                (false, true) => ("wgmma_gemm_bf16_nt", NARROW),
            };
            return (kernel, instruction, tile);
        }
        let (kernel, tile) = match (self.is_aligned(), is_wide, self.a_transposed, self.b_transposed) {
            (false, ..) => ("gemm_bf16_any", NARROW),
            (true, true, false, false) => ("wide_gemm_bf16_nn", WIDE),
            (true, true, false, true) => ("wide_gemm_bf16_nt", WIDE),
            (true, true, true, false) => ("wide_gemm_bf16_tn", WIDE),
            (true, false, false, false) => ("gemm_bf16_nn", NARROW),
            (true, false, false, true) => ("gemm_bf16_nt", NARROW),
            (true, false, true, false) => ("gemm_bf16_tn", NARROW),
            (true, _, true, true) => ("gemm_bf16_tt", NARROW),
        };
        (kernel, Instruction::Mma, tile)
    }

    /// Whether every row begins at a multiple of 16 bytes and a kernel of this layout knows the epilogue.
    fn is_aligned(&self) -> bool {
        let a_row = if self.a_transposed { self.m } else { self.k };
        let b_row = if self.b_transposed { self.k } else { self.n };
        let is_known = match self.epilogue {
            Epilogue::Bf16(addend) => addend.beta == 0.0,
            Epilogue::F32(_) => true,
            Epilogue::Squared { .. } | Epilogue::ResidualAdd { .. } => !self.a_transposed && self.b_transposed,
            Epilogue::SquaredGrad { .. } => !self.a_transposed && !self.b_transposed,
        };
        let strides = if self.batch.count > 1 { self.batch.strides } else { [0; 3] };
        let row_starts = [a_row, b_row, self.n].into_iter().chain(strides);
        let views = [Some(self.a), Some(self.b), Some(self.out), self.epilogue.parts().2];
        is_known
            && row_starts.into_iter().all(|start| start % CHUNK == 0)
            && views.into_iter().flatten().map(View::address).all(|address| address % CHUNK_BYTES as u64 == 0)
    }
}
