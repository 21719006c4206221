//! Tiles multiplied by AMX.

use std::arch::asm;

use super::tiles::{Block, Tile};
use crate::engine::cpu::tile_unit::TileUnit;

/// Tile registers of this thread, set up; dropping it gives them back.
pub(super) struct Tiles {
    _unit: TileUnit,
}

impl Tiles {
    /// Sets the registers up, where there are any.
    pub fn configure() -> Option<Self> {
        Some(Tiles { _unit: TileUnit::start()? })
    }

    /// Products of two runs of rows with two runs of columns, each pair of runs summed from its first tile on.
    pub fn block(&self, left: [&[Tile]; 2], right: [&[Tile]; 2], out: &mut Block) {
        let steps = left[0].len().min(left[1].len()).min(right[0].len()).min(right[1].len());
        if steps == 0 {
            out.0.fill(0.0);
            return;
        }
        // SAFETY: `self` shows that this thread's tiles are set up as 16 rows of 64 bytes. Each of the four pointers
        // moves over `steps` tiles of 1,024 bytes, which all four slices have; the stores write the 32 rows of 128 bytes
        // that `out` is, borrowed exclusively. Only the registers named are changed.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{top} + {row}*1]",
                "tileloadd tmm6, [{first} + {row}*1]",
                "tileloadd tmm5, [{bottom} + {row}*1]",
                "tileloadd tmm7, [{second} + {row}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {top}, 1024",
                "add {bottom}, 1024",
                "add {first}, 1024",
                "add {second}, 1024",
                "dec {steps}",
                "jnz 2b",
                "add {row}, {row}",
                "tilestored [{out} + {row}*1], tmm0",
                "tilestored [{out} + {row}*1 + 64], tmm1",
                "tilestored [{out} + {row}*1 + 2048], tmm2",
                "tilestored [{out} + {row}*1 + 2112], tmm3",
                top = inout(reg) left[0].as_ptr() => _,
                bottom = inout(reg) left[1].as_ptr() => _,
                first = inout(reg) right[0].as_ptr() => _,
                second = inout(reg) right[1].as_ptr() => _,
                steps = inout(reg) steps => _,
                row = inout(reg) 64usize => _,
                out = in(reg) out.0.as_mut_ptr(),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}
