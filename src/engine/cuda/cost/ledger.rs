//! A device that computes nothing: it gives out addresses and writes down what it is asked for.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Account;
use super::access;
use super::operation::{Kind, Operation};
use crate::engine::cuda::device::{Device, Instruction, Launch};
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::gemm::GemmDesc;
use crate::engine::cuda::stream_lock::StreamLock;

/// Addresses begin at multiples of so many bytes.
const GRAIN: usize = 512;

/// See the module's comment. Copies to the host give zeros.
pub(super) struct Ledger {
    stream_lock: StreamLock,
    next: AtomicU64,
    memory: Arc<InUse>,
    log: Mutex<Log>,
    /// Whether there is a library that multiplies matrices.
    has_library: bool,
    instruction: Instruction,
}

#[derive(Default)]
struct InUse {
    now: AtomicUsize,
    peak: AtomicUsize,
}

#[derive(Default)]
struct Log {
    done: Vec<Operation>,
    recording: Option<Vec<Operation>>,
}

/// Memory that is not there.
pub(super) struct Claimed {
    address: u64,
    bytes: usize,
    memory: Arc<InUse>,
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.memory.now.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Ledger {
    /// A device whose products are made by a library, or all by this crate's kernels, which are made of that instruction.
    pub fn new(has_library: bool, instruction: Instruction) -> Self {
        let (stream_lock, memory, log) = (StreamLock::default(), Arc::default(), Mutex::default());
        Ledger { stream_lock, next: AtomicU64::new(GRAIN as u64), memory, log, has_library, instruction }
    }

    fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        work(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write_down(&self, operation: Operation) {
        self.with_log(|log| log.recording.as_mut().unwrap_or(&mut log.done).push(operation));
    }

    fn moved(&self, name: &str, kind: Kind, read: usize, written: usize) {
        let (name, read, written) = (name.to_string(), read as u64, written as u64);
        self.write_down(Operation { name, kind, grid: [0; 2], read, written, cached: 0, flops: 0, special: 0 });
    }

    /// Forgets what was done so far.
    pub fn forget(&self) {
        self.with_log(|log| log.done.clear());
    }

    /// What was done since.
    pub fn account(&self, tokens: usize) -> Account {
        let operations = self.with_log(|log| std::mem::take(&mut log.done));
        Account { operations, peak_bytes: self.memory.peak.load(Ordering::Relaxed), tokens }
    }
}

impl Device for Ledger {
    type Memory = Claimed;
    type Graph = Vec<Operation>;

    fn instruction(&self) -> Instruction {
        self.instruction
    }

    fn stream_lock(&self) -> &StreamLock {
        &self.stream_lock
    }

    fn allocate(&self, bytes: usize) -> Result<Claimed, DeviceError> {
        let address = self.next.fetch_add(bytes.next_multiple_of(GRAIN) as u64, Ordering::Relaxed);
        let now = self.memory.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.memory.peak.fetch_max(now, Ordering::Relaxed);
        Ok(Claimed { address, bytes, memory: Arc::clone(&self.memory) })
    }

    fn address(memory: &Claimed) -> u64 {
        memory.address
    }

    unsafe fn write(&self, _: u64, words: &[u32]) -> Result<(), DeviceError> {
        self.moved("copy from the host", Kind::Host, 0, size_of_val(words));
        Ok(())
    }

    unsafe fn read(&self, _: u64, words: &mut [f32]) -> Result<(), DeviceError> {
        self.moved("copy to the host", Kind::Host, size_of_val(words), 0);
        words.fill(0.0);
        Ok(())
    }

    unsafe fn copy(&self, _: u64, _: u64, bytes: usize) -> Result<(), DeviceError> {
        self.moved("copy on the device", Kind::Memory, bytes, bytes);
        Ok(())
    }

    unsafe fn clear(&self, _: u64, bytes: usize) -> Result<(), DeviceError> {
        self.moved("set to zero", Kind::Memory, 0, bytes);
        Ok(())
    }

    fn begin_capture(&self) -> Result<(), DeviceError> {
        self.with_log(|log| log.recording = Some(Vec::new()));
        Ok(())
    }

    fn end_capture(&self) -> Result<Vec<Operation>, DeviceError> {
        Ok(self.with_log(|log| log.recording.take().unwrap_or_default()))
    }

    unsafe fn replay(&self, graph: &Vec<Operation>) -> Result<(), DeviceError> {
        self.with_log(|log| log.done.extend_from_slice(graph));
        Ok(())
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        self.write_down(access::of_launch(launch)?);
        Ok(())
    }

    unsafe fn gemm(&self, gemm: &GemmDesc<'_>) -> Result<bool, DeviceError> {
        if self.has_library {
            self.write_down(access::of_product(gemm));
        }
        Ok(self.has_library)
    }
}
