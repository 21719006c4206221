//! The processor's tile unit (AMX): whether it is there, and switching it on.
//!
//! The compiler's intrinsics for AMX are not stable, so the instructions are written out. Linux saves the tile registers
//! of a process (8 KiB a thread) only after it has asked for that.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::marker::PhantomData;
use std::sync::OnceLock;

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

static CONFIGURATION: Configuration = {
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
pub fn is_there() -> bool {
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

/// The unit, switched on for this thread until dropped: eight tiles of 16 rows of 64 bytes.
pub struct TileUnit {
    /// Keeps it on its thread.
    here: PhantomData<*const ()>,
}

impl TileUnit {
    /// Switches it on, where there is one.
    pub fn start() -> Option<Self> {
        if !is_there() {
            return None;
        }
        // SAFETY: AMX is there and permitted; the operand is 64 readable bytes in the layout the instruction defines.
        unsafe { asm!("ldtilecfg [{}]", in(reg) CONFIGURATION.0.as_ptr(), options(nostack, readonly)) };
        Some(TileUnit { here: PhantomData })
    }
}

impl Drop for TileUnit {
    /// Switches it off, so that the system need not save the tiles.
    fn drop(&mut self) {
        // SAFETY: AMX is there and permitted; the instruction resets this thread's tiles and nothing else.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
