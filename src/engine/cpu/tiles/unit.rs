//! The tile unit's one product.

use std::arch::asm;
use std::sync::LazyLock;

use crate::engine::cpu::tile_registers::{self, TileRegisters};
use crate::engine::isa;
use crate::engine::network::WriteMode;

/// Rows and columns of a block of output: two by two tiles of sixteen.
pub const SIDE: usize = 32;
/// Words of a tile: sixteen rows of sixteen.
const TILE_WORDS: usize = 256;
/// bfloat16 values a single-precision value is split into.
pub const PIECES: usize = 3;
/// Words of one piece of a block.
pub const PIECE_WORDS: usize = 2 * TILE_WORDS;

/// `SIDE` rows (of a left factor) or columns (of a right one) by `SIDE` of the inner side, split in three.
///
/// A word is two neighbors along the inner side. Order: piece, half of the `SIDE`, and then a tile: left factors have
/// a row of the matrix in a row, right ones a pair of inner indices.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Block(pub [u32; PIECES * PIECE_WORDS]);

/// Whether the processor has tiles for bfloat16 and vectors of 512 bits to pack them, the system lets this process use
/// them, and `--isa` allows it.
pub fn available() -> bool {
    static HAS_VECTORS: LazyLock<bool> = LazyLock::new(|| pulp::x86::V4::try_new().is_some());
    isa::may_use_tiles() && *HAS_VECTORS && tile_registers::are_there()
}

/// The tile registers of this thread, set up.
pub struct Tiles(TileRegisters);

impl Tiles {
    /// Sets the registers up, where they may be used.
    pub fn start() -> Option<Self> {
        if available() { TileRegisters::configure().map(Tiles) } else { None }
    }

    /// `out (+)= left right` for a block of `SIDE` by `SIDE`, whose rows begin `stride` values apart.
    ///
    /// The factors are blocks along the inner side, equally many of each.
    pub fn multiply(&self, left: &[Block], right: &[Block], mode: WriteMode, out: &mut [f32], stride: usize) {
        let steps = left.len();
        assert!(steps > 0 && right.len() == steps, "factors of different inner dimensions");
        assert!(stride >= SIDE && out.len() >= (SIDE - 1) * stride + SIDE, "no room for a block of the product");
        // SAFETY: asserted just now.
        unsafe { self.multiply_unchecked([left, right], mode, out, stride) };
    }

    /// [`Self::multiply`] without its assertions.
    ///
    /// # Safety
    /// `left` and `right` are equally long and not empty; `out` holds `SIDE` rows of `SIDE` values whose beginnings are
    /// `stride` values apart, and `stride` is at least `SIDE`.
    unsafe fn multiply_unchecked(&self, [left, right]: [&[Block]; 2], mode: WriteMode, out: &mut [f32], stride: usize) {
        // SAFETY: the registers are set up (`self`). Each turn reads one block of each factor, `steps` of which there are;
        // tiles of the output are 16 rows of 64 bytes `stride` values apart, inside `out`.
        unsafe {
            asm!(
                "test {add:e}, {add:e}",
                "jnz 3f",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "jmp 2f",
                "3:",
                "tileloadd tmm0, [{upper} + {stride}]",
                "tileloadd tmm1, [{upper} + {stride} + 64]",
                "tileloadd tmm2, [{lower} + {stride}]",
                "tileloadd tmm3, [{lower} + {stride} + 64]",
                // Pieces lie 2,048 bytes apart. Small products first: h l, h m, h h, l h, m h, m m.
                "2:",
                "tileloadd tmm4, [{left} + {row}]",
                "tileloadd tmm6, [{right} + {row} + 4096]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{right} + {row} + 5120]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{left} + {row} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tileloadd tmm6, [{right} + {row} + 2048]",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm7, [{right} + {row} + 3072]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tileloadd tmm6, [{right} + {row}]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm7, [{right} + {row} + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm4, [{left} + {row} + 4096]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm5, [{left} + {row} + 5120]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm4, [{left} + {row} + 2048]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm5, [{left} + {row} + 3072]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tileloadd tmm6, [{right} + {row} + 2048]",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm7, [{right} + {row} + 3072]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {left}, 6144",
                "add {right}, 6144",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{upper} + {stride}], tmm0",
                "tilestored [{upper} + {stride} + 64], tmm1",
                "tilestored [{lower} + {stride}], tmm2",
                "tilestored [{lower} + {stride} + 64], tmm3",
                left = inout(reg) left.as_ptr() => _,
                right = inout(reg) right.as_ptr() => _,
                steps = inout(reg) left.len() => _,
                row = in(reg) 64usize,
                add = in(reg) u32::from(mode == WriteMode::Accumulate),
                upper = in(reg) out.as_mut_ptr(),
                lower = in(reg) out.as_mut_ptr().add(SIDE / 2 * stride),
                stride = in(reg) stride * size_of::<f32>(),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}
