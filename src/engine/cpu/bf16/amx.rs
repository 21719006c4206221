//! Tiles multiplied by AMX.
//!
//! The compiler's intrinsics for AMX are not stable, so the instructions are written out. Linux saves the tile registers
//! of a process (8 KiB a thread) only after it has asked for that.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::tiles::{Block, Tile};

/// CPUID leaf 7, EDX (Intel SDM, volume 2, CPUID): AMX-BF16 and AMX-TILE.
const CPUID_AMX: u32 = 1 << 22 | 1 << 24;
/// XCR0: the system saves tile configuration and tile data (Intel SDM, volume 1, 13.3).
const XCR0_TILES: u64 = 1 << 17 | 1 << 18;
/// Linux, `arch_prctl(2)`: asks for a state component that is saved on request only, and the number of tile data's.
const SYS_ARCH_PRCTL: i64 = 158;
const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
const XFEATURE_XTILEDATA: u64 = 18;

/// Eight tiles of 16 rows of 64 bytes, as `ldtilecfg` reads them (Intel SDM, volume 1, 18.2).
#[repr(C, align(64))]
struct Configuration([u8; 64]);

const CONFIGURATION: Configuration = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = 16;
        tile += 1;
    }
    Configuration(bytes)
};

/// Whether the processor has the instructions and the system lets this process use them.
pub(super) fn is_there() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| has_instructions() && is_permitted())
}

fn has_instructions() -> bool {
    // `_xgetbv` exists where the system has switched XSAVE on.
    if __cpuid(0).eax < 7 || __cpuid_count(7, 0).edx & CPUID_AMX != CPUID_AMX || !is_x86_feature_detected!("xsave") {
        return false;
    }
    // SAFETY: XSAVE is there and switched on (checked above); reading the register changes nothing.
    let saved = unsafe { _xgetbv(0) };
    saved & XCR0_TILES == XCR0_TILES
}

/// Asks for the tile registers. Permission is the whole process's, for threads already running, too.
fn is_permitted() -> bool {
    let answer: i64;
    // SAFETY: a system call with two numbers and no addresses; the kernel preserves every register but the three named.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") SYS_ARCH_PRCTL => answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

/// Tile registers of this thread, set up; dropping it gives them back.
pub(super) struct Tiles {
    /// Keeps it on its thread.
    here: PhantomData<*const ()>,
}

impl Tiles {
    /// Sets the registers up, where there are any.
    pub fn configure() -> Option<Self> {
        if !is_there() {
            return None;
        }
        // SAFETY: AMX is there and permitted; the operand is 64 readable bytes in the layout the instruction defines.
        unsafe { asm!("ldtilecfg [{}]", in(reg) CONFIGURATION.0.as_ptr(), options(nostack, readonly)) };
        Some(Tiles { here: PhantomData })
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

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: AMX is there and permitted; the instruction resets this thread's tiles and nothing else.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
