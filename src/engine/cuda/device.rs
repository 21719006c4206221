//! What the backend needs of whatever runs its kernels: a GPU, or in tests the processor.

use super::error::DeviceError;
use super::gemm::GemmDesc;
use super::library::LibraryProducts;
use super::stream_lock::StreamLock;
use super::view::View;
use crate::collective::{Collective, DeviceCollective};

/// How a number is stored in a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DType {
    F32,
    Bf16,
}

impl DType {
    /// Bytes of one number.
    pub const fn bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::Bf16 => 2,
        }
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::Bf16 => "bf16",
        }
    }

    /// The one of a kernel's two names that takes such numbers.
    pub const fn select(self, [f32, bf16]: [&'static str; 2]) -> &'static str {
        match self {
            DType::F32 => f32,
            DType::Bf16 => bf16,
        }
    }
}

/// An argument of a kernel, of the type its source declares.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    /// A device address of numbers that take up so many bytes; 0 of none where a kernel takes a null pointer.
    Address {
        address: u64,
        bytes: usize,
    },
    U32(u32),
    U64(u64),
    F32(f32),
    F64(f64),
}

impl Argument {
    /// No numbers.
    pub const NULL: Argument = Argument::Address { address: 0, bytes: 0 };

    /// Numbers in memory.
    pub fn of(view: View<'_>) -> Self {
        Argument::Address { address: view.address(), bytes: view.bytes() }
    }

    /// Where its value is stored, as a launch takes it.
    pub fn pointer(&self) -> *mut std::ffi::c_void {
        match self {
            Argument::Address { address: value, .. } | Argument::U64(value) => {
                std::ptr::from_ref(value).cast_mut().cast()
            }
            Argument::U32(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Argument::F32(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Argument::F64(value) => std::ptr::from_ref(value).cast_mut().cast(),
        }
    }
}

/// A kernel with its grid and arguments.
#[derive(Clone, Debug)]
pub(super) struct Launch<'a> {
    pub kernel: &'static str,
    /// Blocks in x and y.
    pub grid: [u32; 2],
    /// Threads a block, whole warps.
    pub threads: u32,
    /// Shared memory of a block beyond what the kernel declares.
    pub shared_bytes: u32,
    pub arguments: &'a [Argument],
}

/// The tensor cores' instruction that this crate's own products and attention of bfloat16 values are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `mma.sync`, of a warp; on every device since Ampere.
    Mma,
    /// `wgmma`, of four warps; on Hopper (compute capability 9.0) only. Where there is no such kernel, `mma.sync`.
    Wgmma,
}

/// Runs kernels one after another on one stream, in the order of the calls, whatever thread they come from.
///
/// Addresses are raw here: [`Shared`](super::memory::Shared) checks bounds before it calls any of these.
pub(super) trait Device: Send + Sync {
    /// Memory on the device; freed when dropped.
    type Memory: Send + Sync;
    /// Recorded kernels, products, copies and clearings that can be launched together, again and again.
    type Graph: Send + Sync;

    /// Whether memory is handed out exactly as large as asked for, so that writes past a buffer's end can be detected.
    const EXACT: bool = false;

    /// What own products and attention are made of on it.
    fn instruction(&self) -> Instruction {
        Instruction::Mma
    }

    /// The lock of the one stream (and of the one recording of it): held for as long as no other thread's work may come
    /// in between.
    fn stream_lock(&self) -> &StreamLock;

    fn allocate(&self, bytes: usize) -> Result<Self::Memory, DeviceError>;
    fn address(memory: &Self::Memory) -> u64;

    /// Copies to the device.
    ///
    /// # Safety
    /// The range, four bytes a word, must lie in memory of this device that is allocated.
    unsafe fn write(&self, address: u64, words: &[u32]) -> Result<(), DeviceError>;

    /// Copies from the device, after everything launched before.
    ///
    /// # Safety
    /// As for [`Self::write`].
    unsafe fn read(&self, address: u64, words: &mut [f32]) -> Result<(), DeviceError>;

    /// Copies within the device.
    ///
    /// # Safety
    /// Both ranges must lie in memory of this device that stays allocated until the copy is done, and must not overlap.
    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), DeviceError>;

    /// Sets bytes to zero.
    ///
    /// # Safety
    /// The range must lie in memory of this device that stays allocated until it is cleared.
    unsafe fn clear(&self, address: u64, bytes: usize) -> Result<(), DeviceError>;

    /// From now on work is recorded instead of done: nothing may be read or written by the host in between.
    fn begin_capture(&self) -> Result<(), DeviceError>;
    /// What was recorded since [`Device::begin_capture`].
    fn end_capture(&self) -> Result<Self::Graph, DeviceError>;
    /// Launches recorded work.
    ///
    /// # Safety
    /// All memory that the work uses must still be allocated.
    unsafe fn replay(&self, graph: &Self::Graph) -> Result<(), DeviceError>;

    /// Runs a kernel.
    ///
    /// # Safety
    /// The arguments must be of the types the kernel declares, and every index the kernel forms from them must lie
    /// in memory of this device that stays allocated until the kernel has run.
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError>;

    /// Multiplies matrices by a library; false, and nothing is done, where there is none or it has no algorithm for them.
    ///
    /// # Safety
    /// The matrices must lie within their views, which must be of this device and stay allocated until the product is
    /// made; `out` must not overlap the factors. [`GemmDesc::check`] says yes to such products.
    unsafe fn gemm(&self, gemm: &GemmDesc<'_>) -> Result<bool, DeviceError>;

    /// The library of [`Device::gemm`], and what it has chosen so far; none where there is no library.
    fn products(&self) -> Option<LibraryProducts> {
        None
    }

    /// The ranks' way to one another for this device's memory, where they have one that leaves out the host.
    fn device_collective<'a>(&self, ranks: &'a dyn Collective) -> Option<Box<dyn DeviceCollective + 'a>> {
        ranks.on_device(0, 0)
    }
}
