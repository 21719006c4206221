//! A device that is the processor: the kernels' own source compiled by g++ over `tests/kernels/shim.h`.

mod build;
mod guarded;
mod tests;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::ThreadId;

use self::build::{Kernels, build};
use self::guarded::Guarded;
use super::device::{Argument, Device, Instruction, Launch};
use super::error::DeviceError;
use super::gemm::GemmDesc;
use super::stream_lock::StreamLock;

#[repr(C)]
struct RawLaunch {
    name: *const c_char,
    grid: [u32; 2],
    threads: u32,
    shared_bytes: u32,
    arguments: *mut *mut c_void,
    kinds: *const c_char,
    message: *mut c_char,
    message_bytes: usize,
    at_once: u32,
    seed: u32,
}

/// Blocks of a launch in progress at once, and the seed of the order in which they go on; for kernels that have no shared
/// memory but what the launch gives them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interleaving {
    pub at_once: u32,
    pub seed: u32,
}

/// Kernels whose blocks wait for one another.
const TAKING_TURNS: [&str; 2] = ["tensor_attention_grad_", "turns"];

type Run = unsafe extern "C" fn(*const RawLaunch) -> c_int;

/// The compiled kernels.
pub(super) struct Shim {
    kernels: Arc<Kernels>,
    /// Allocations whose guards were written over.
    damaged: Arc<Mutex<usize>>,
    /// Who records, and what has been asked for since.
    recording: Mutex<Option<(ThreadId, Vec<Recorded>)>>,
    stream_lock: StreamLock,
    /// Whether to refuse work of a thread that does not hold the stream lock: tests of single kernels are alone and do not
    /// lock it.
    is_strict: bool,
    /// How blocks that wait for one another are run.
    interleaving: Interleaving,
    instruction: Instruction,
}

/// Something to do later.
pub(super) enum Recorded {
    Launch { kernel: &'static str, grid: [u32; 2], threads: u32, shared_bytes: u32, arguments: Vec<Argument> },
    Copy { from: u64, to: u64, bytes: usize },
    Clear { address: u64, bytes: usize },
}

/// A device of its own, of kernels compiled once a process; None where there is no g++, which is said once.
pub(super) fn shim() -> Option<Arc<Shim>> {
    static KERNELS: OnceLock<Option<Arc<Kernels>>> = OnceLock::new();
    let kernels = KERNELS.get_or_init(|| {
        if Command::new("g++").arg("--version").output().is_err() {
            eprintln!("skipped: no g++");
            return None;
        }
        Some(Arc::new(build()))
    });
    let kernels = Arc::clone(kernels.as_ref()?);
    let (damaged, recording, stream_lock) = (Arc::default(), Mutex::default(), StreamLock::default());
    let instruction = Instruction::Mma;
    Some(Arc::new(Shim {
        kernels,
        damaged,
        recording,
        stream_lock,
        is_strict: false,
        instruction,
        interleaving: Interleaving::default(),
    }))
}

/// The same, whose kernels are made of Hopper's instructions.
pub(super) fn hopper_shim() -> Option<Arc<Shim>> {
    shim().map(|shim| Arc::new(Shim { instruction: Instruction::Wgmma, ..Arc::into_inner(shim).unwrap() }))
}

/// The same, where only the thread that holds the stream lock may use the device.
pub(super) fn strict_shim() -> Option<Arc<Shim>> {
    shim().map(|shim| Arc::new(Shim { is_strict: true, ..Arc::into_inner(shim).unwrap() }))
}

/// The same, with blocks that wait for one another in progress at once.
pub(super) fn interleaved_shim(interleaving: Interleaving) -> Option<Arc<Shim>> {
    shim().map(|shim| Arc::new(Shim { interleaving, ..Arc::into_inner(shim).unwrap() }))
}

impl Shim {
    /// Allocations freed so far whose surroundings a kernel wrote to.
    pub fn damaged(&self) -> usize {
        *self.damaged.lock().unwrap()
    }

    /// What every operation begins with: a strict shim refuses a thread that does not hold the stream lock itself.
    fn check_stream_lock(&self) {
        assert!(!self.is_strict || self.stream_lock.is_held_here(), "this thread does not hold the stream lock");
    }

    fn is_recording(&self) -> bool {
        self.check_stream_lock();
        self.recording.lock().unwrap().is_some()
    }

    /// Keeps something for later, if that is asked for.
    fn keeps(&self, recorded: impl FnOnce() -> Recorded) -> bool {
        self.check_stream_lock();
        let mut recording = self.recording.lock().unwrap();
        let Some((owner, list)) = &mut *recording else { return false };
        assert_eq!(*owner, std::thread::current().id(), "what another thread asks for becomes part of the recording");
        list.push(recorded());
        true
    }
}

impl Device for Shim {
    type Memory = Guarded;
    type Graph = Vec<Recorded>;

    const EXACT: bool = true;

    fn instruction(&self) -> Instruction {
        self.instruction
    }

    fn stream_lock(&self) -> &StreamLock {
        &self.stream_lock
    }

    fn allocate(&self, bytes: usize) -> Result<Guarded, DeviceError> {
        self.check_stream_lock();
        Ok(Guarded::new(bytes, &self.damaged))
    }

    fn address(memory: &Guarded) -> u64 {
        memory.address()
    }

    fn begin_capture(&self) -> Result<(), DeviceError> {
        let before = self.recording.lock().unwrap().replace((std::thread::current().id(), Vec::new()));
        assert!(before.is_none(), "one recording at a time");
        Ok(())
    }

    fn end_capture(&self) -> Result<Vec<Recorded>, DeviceError> {
        Ok(self.recording.lock().unwrap().take().unwrap().1)
    }

    unsafe fn replay(&self, graph: &Vec<Recorded>) -> Result<(), DeviceError> {
        for recorded in graph {
            match *recorded {
                Recorded::Launch { kernel, grid, threads, shared_bytes, ref arguments } => {
                    let launch = Launch { kernel, grid, threads, shared_bytes, arguments };
                    // SAFETY: passed on to the caller.
                    unsafe { self.launch(&launch)? };
                }
                // SAFETY: passed on to the caller.
                Recorded::Copy { from, to, bytes } => unsafe { self.copy(from, to, bytes)? },
                // SAFETY: passed on to the caller.
                Recorded::Clear { address, bytes } => unsafe { self.clear(address, bytes)? },
            }
        }
        Ok(())
    }

    unsafe fn write(&self, address: u64, words: &[u32]) -> Result<(), DeviceError> {
        assert!(!self.is_recording(), "what is recorded writes nothing");
        // SAFETY: the range is the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(words.as_ptr(), address as *mut u32, words.len()) };
        Ok(())
    }

    unsafe fn read(&self, address: u64, words: &mut [f32]) -> Result<(), DeviceError> {
        assert!(!self.is_recording(), "what is recorded reads nothing");
        // SAFETY: the range is the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(address as *const f32, words.as_mut_ptr(), words.len()) };
        Ok(())
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), DeviceError> {
        if self.keeps(|| Recorded::Copy { from, to, bytes }) {
            return Ok(());
        }
        // SAFETY: both ranges are the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    unsafe fn clear(&self, address: u64, bytes: usize) -> Result<(), DeviceError> {
        if self.keeps(|| Recorded::Clear { address, bytes }) {
            return Ok(());
        }
        // SAFETY: the range is the caller's promise.
        unsafe { (address as *mut u8).write_bytes(0, bytes) };
        Ok(())
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        let &Launch { kernel, grid, threads, shared_bytes, arguments } = launch;
        let recorded = || Recorded::Launch { kernel, grid, threads, shared_bytes, arguments: arguments.to_vec() };
        if self.keeps(recorded) {
            return Ok(());
        }
        let library = self.kernels.free();
        let kind = |argument: &Argument| match argument {
            Argument::Address { .. } => b'a',
            Argument::U32(_) => b'u',
            Argument::U64(_) => b'l',
            Argument::F32(_) => b'f',
            Argument::F64(_) => b'd',
        };
        let name = CString::new(launch.kernel).unwrap();
        let kinds = CString::new(launch.arguments.iter().map(kind).collect::<Vec<u8>>()).unwrap();
        let mut arguments: Vec<_> = launch.arguments.iter().map(Argument::pointer).collect();
        let takes_turns = TAKING_TURNS.iter().any(|name| kernel.starts_with(name));
        let Interleaving { at_once, seed } = if takes_turns { self.interleaving } else { Interleaving::default() };
        let mut message = [0 as c_char; 256];
        let raw = RawLaunch {
            name: name.as_ptr(),
            grid: launch.grid,
            threads: launch.threads,
            shared_bytes: launch.shared_bytes,
            arguments: arguments.as_mut_ptr(),
            kinds: kinds.as_ptr(),
            message: message.as_mut_ptr(),
            message_bytes: message.len(),
            at_once,
            seed,
        };
        // SAFETY: the function has this signature in the source above and checks the arguments' types before use.
        let code = unsafe { library.get::<Run>(b"golf_run\0").unwrap()(&raw) };
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the library ends the message with a zero byte, as the array was filled with.
        let message = unsafe { CStr::from_ptr(message.as_ptr()) };
        Err(DeviceError::new("the shim stopped", message.to_string_lossy()))
    }

    unsafe fn gemm(&self, _: &GemmDesc<'_>) -> Result<bool, DeviceError> {
        Ok(false)
    }
}
