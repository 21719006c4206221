//! What the backend asks of whatever runs its kernels: a GPU, or in tests the processor.

use std::ffi::c_void;
use std::sync::Mutex;

use crate::collective::{Collective, DeviceCollective};

/// How a number lies in a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DType {
    F32,
    Bf16,
}

impl DType {
    /// Bytes of one.
    pub const fn bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::Bf16 => 2,
        }
    }

    /// The one of a kernel's two names that takes such values.
    pub const fn select(self, [single, narrow]: [&'static str; 2]) -> &'static str {
        match self {
            DType::F32 => single,
            DType::Bf16 => narrow,
        }
    }
}

/// What a device could not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {said}")]
pub struct DeviceError {
    /// What was tried.
    pub(super) what: String,
    /// What the device or its library answered.
    pub(super) said: String,
}

impl DeviceError {
    pub(super) fn new(what: impl Into<String>, said: impl ToString) -> Self {
        DeviceError { what: what.into(), said: said.to_string() }
    }
}

/// An argument of a kernel, of the type its source declares.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    /// A device address, of numbers.
    Address(u64),
    U32(u32),
    U64(u64),
    F32(f32),
    F64(f64),
}

impl Argument {
    /// Where its value lies, as a launch wants it.
    pub fn pointer(&self) -> *mut c_void {
        match self {
            Argument::Address(value) | Argument::U64(value) => std::ptr::from_ref(value).cast_mut().cast(),
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

/// `out [rows, columns] = factor * a b + plus` of row-major matrices, sums in single precision.
#[derive(Clone, Copy, Debug)]
pub(super) struct GemmDesc {
    pub rows: usize,
    pub columns: usize,
    /// Columns of `a`, rows of `b`.
    pub inner: usize,
    /// Whether `a` is stored as [inner, rows].
    pub a_transposed: bool,
    /// Whether `b` is stored as [columns, inner].
    pub b_transposed: bool,
    /// How `a` and `b` are stored, and how `out` is: single precision takes and gives itself alone.
    pub dtypes: [DType; 2],
    pub factor: f32,
    pub plus: Plus,
    /// Device addresses.
    pub a: u64,
    pub b: u64,
    pub out: u64,
    pub batch: Batch,
}

/// What is added to a product: `factor` times a matrix that lies and is stored as the result. It may be the result itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plus {
    /// With 0 the matrix is not read.
    pub factor: f32,
    /// Its device address.
    pub address: u64,
}

/// Products of equal dims made together, with how many values their matrices begin apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Batch {
    pub count: usize,
    /// From each `a`, `b` and `out` to the next.
    pub strides: [usize; 3],
}

impl Batch {
    /// One product by itself.
    pub const ONE: Batch = Batch { count: 1, strides: [0; 3] };
}

impl GemmDesc {
    /// The same, of single-precision matrices, by the kernel in `gemm.cu`.
    pub fn arguments(&self) -> [Argument; 16] {
        let strides = |transposed: bool, rows: usize, columns: usize| match transposed {
            false => [columns as u64, 1],
            true => [1, rows as u64],
        };
        let [a_row, a_column] = strides(self.a_transposed, self.rows, self.inner);
        let [b_row, b_column] = strides(self.b_transposed, self.inner, self.columns);
        let [a_matrix, b_matrix, out_matrix] = self.batch.strides;
        [
            Argument::Address(self.a),
            Argument::Address(self.b),
            Argument::Address(self.plus.address),
            Argument::Address(self.out),
            Argument::U32(self.rows as u32),
            Argument::U32(self.columns as u32),
            Argument::U32(self.inner as u32),
            Argument::U64(a_row),
            Argument::U64(a_column),
            Argument::U64(b_row),
            Argument::U64(b_column),
            Argument::F32(self.factor),
            Argument::F32(self.plus.factor),
            Argument::U64(a_matrix as u64),
            Argument::U64(b_matrix as u64),
            Argument::U64(out_matrix as u64),
        ]
    }

    /// A launch of that kernel.
    pub fn launch<'a>(&self, arguments: &'a [Argument; 16]) -> Launch<'a> {
        /// Rows and columns a block makes (`SIDE` in the source).
        const SIDE: usize = 64;
        let blocks = self.rows.div_ceil(SIDE) * self.columns.div_ceil(SIDE);
        let grid = [blocks as u32, self.batch.count as u32];
        Launch { kernel: "gemm_f32", grid, threads: 256, shared_bytes: 0, arguments }
    }
}

/// Runs kernels one after another, in the order of the calls, whatever thread they come from.
pub(super) trait Device: Send + Sync {
    /// Memory on the device; freed when dropped.
    type Memory: Send + Sync;
    /// Kernels, products, copies and clearings that can be asked for at once, again and again.
    type Graph: Send + Sync;

    /// Whether memory is handed out exactly as large as asked for, so that the end of each buffer can be watched.
    const EXACT: bool = false;

    /// Held by whoever hands over work, for as long as nobody else's may come in between. There is one order of work and
    /// one recording of it, which everything asked for meanwhile becomes a part of.
    fn stream_lock(&self) -> &Mutex<()>;

    fn allocate(&self, bytes: usize) -> Result<Self::Memory, DeviceError>;
    fn address(memory: &Self::Memory) -> u64;

    /// Copies to the device. The range must lie in memory of this device, as for all addresses below.
    fn write(&self, address: u64, values: &[u32]) -> Result<(), DeviceError>;
    /// Copies from the device, after everything launched before.
    fn read(&self, address: u64, values: &mut [f32]) -> Result<(), DeviceError>;
    /// Copies within the device.
    fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), DeviceError>;
    /// Sets bytes to zero.
    fn clear(&self, address: u64, bytes: usize) -> Result<(), DeviceError>;

    /// From now on nothing is done and everything remembered: nothing may be read or written in between.
    fn begin_capture(&self) -> Result<(), DeviceError>;
    /// What was asked for since [`Device::begin_capture`].
    fn end_capture(&self) -> Result<Self::Graph, DeviceError>;
    /// Does it.
    ///
    /// # Safety
    /// What was asked for must still be allowed: all memory it uses is allocated.
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
    /// The matrices must lie in memory of this device, `out` apart from the factors.
    unsafe fn gemm(&self, product: &GemmDesc) -> Result<bool, DeviceError>;

    /// The ranks' way to one another for this device's memory, where they have one that leaves out the host.
    fn device_collective<'a>(&self, ranks: &'a dyn Collective) -> Option<Box<dyn DeviceCollective + 'a>> {
        ranks.on_device(0, 0)
    }
}
