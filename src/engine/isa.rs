//! Which vector instructions the kernels engine may use.

use std::sync::atomic::{AtomicU8, Ordering};

use super::{EngineError, EngineKind};

/// Vector instructions by name, as `--isa` takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Isa {
    /// The widest this processor has, and its tiles (AMX)
    #[default]
    Auto,
    /// 256-bit vectors (AVX2 and FMA), also where there are wider ones
    Avx2,
    /// 512-bit vectors and no tiles (AMX); refuses to run without them
    Avx512,
}

static HELD_TO: AtomicU8 = AtomicU8::new(Isa::Auto as u8);

/// Holds the whole process to these instructions; call once, before anything is computed.
pub fn use_isa(isa: Isa) -> Result<(), EngineError> {
    let present = match isa {
        Isa::Auto => true,
        Isa::Avx2 => avx2(),
        Isa::Avx512 => avx512(),
    };
    if !present {
        let name = if isa == Isa::Avx2 { "AVX2 and FMA" } else { "AVX-512" };
        let message = format!("this processor has no {name} instructions; leave out --isa to use what it has");
        return Err(EngineError::Backend { engine: EngineKind::Kernels, message });
    }
    HELD_TO.store(isa as u8, Ordering::Relaxed);
    Ok(())
}

/// The vector instructions that kernels on the processor take here: numbers differ in the last digits between them.
pub fn instructions() -> &'static str {
    match (held_to_avx2(), super::uses_tiles(), avx512(), avx2()) {
        (true, ..) => "avx2",
        (false, true, ..) => "avx512 with amx",
        (false, false, true, _) => "avx512",
        (false, false, false, true) => "avx2",
        (false, false, false, false) => std::env::consts::ARCH,
    }
}

/// Whether wider vectors than AVX2's are off limits.
#[inline(always)]
pub(crate) fn held_to_avx2() -> bool {
    HELD_TO.load(Ordering::Relaxed) == Isa::Avx2 as u8
}

/// Whether the tile unit may be used, where there is one.
pub(crate) fn may_use_tiles() -> bool {
    HELD_TO.load(Ordering::Relaxed) == Isa::Auto as u8
}

#[cfg(target_arch = "x86_64")]
fn avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
fn avx512() -> bool {
    is_x86_feature_detected!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
fn avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn avx512() -> bool {
    false
}
