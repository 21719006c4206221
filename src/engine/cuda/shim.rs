//! A device that is the processor: the kernels' own source compiled by g++ over `tests/kernels/shim.h`.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::ThreadId;

use libloading::Library;

use super::device::{Argument, Device, DeviceError, GemmDesc, Launch};
use super::source::{self, KERNELS};

/// Bytes before and after each allocation that must stay as they are.
const GUARD: usize = 256;
const PATTERN: u8 = 0xA5;
/// Every byte of fresh memory: as floats, a large negative number that no result would hide.
const UNSET: u8 = 0xFA;

/// Kernels for the tests of the shim itself.
const OWN: &str = r#"
extern "C" __global__ void divergent(u32 n) { if (threadIdx.x < n) __syncthreads(); }
extern "C" __global__ void half_a_warp(u32 n) { if (threadIdx.x < n) __syncwarp(); }
extern "C" __global__ void beyond(float* x, u32 n) { x[n] = 1.0f; }
// d [16, 16] = a [16, 16] b^T, or a b; one warp. Copies are waited for if `waits`.
extern "C" __global__ void tensor_product(const bf16* a, const bf16* b, float* d, u32 b_transposed, u32 waits) {
    DYNAMIC_SHARED(memory);
    bf16* tiles = (bf16*)memory;
    const u32 lane = threadIdx.x, g = lane / 4, t = lane % 4;
    copy_ahead(tiles + 8 * lane, a + 8 * lane, true);
    copies_close();
    copy_ahead(tiles + 256 + 8 * lane, b + 8 * lane, true);
    copies_close();
    if (waits) copies_wait<0>();
    __syncwarp();
    u32 left[4], right[4];
    load_matrices(left, tiles + lane % 16 * 16 + lane / 16 * 8);
    const bf16* own = tiles + 256;
    if (b_transposed) {
        load_matrices(right, own + (lane % 8 + lane / 16 * 8) * 16 + lane / 8 % 2 * 8);
    } else {
        load_matrices_transposed(right, own + lane % 16 * 16 + lane / 16 * 8);
    }
    for (u32 half = 0; half < 2; half++) {
        float sums[4] = {};
        mma_bf16(sums, left, right[2 * half], right[2 * half + 1]);
        for (u32 i = 0; i < 4; i++) d[(g + i / 2 * 8) * 16 + half * 8 + 2 * t + i % 2] = sums[i];
    }
}
"#;
const OWN_NAMES: [&str; 4] = ["divergent", "half_a_warp", "beyond", "tensor_product"];

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
}

type Run = unsafe extern "C" fn(*const RawLaunch) -> c_int;

/// The compiled kernels.
pub(super) struct Shim {
    kernels: Arc<Kernels>,
    /// Allocations whose guards were written over.
    damaged: Arc<Mutex<usize>>,
    /// Who records, and what has been asked for since.
    recording: Mutex<Option<(ThreadId, Vec<Recorded>)>>,
    stream_lock: Mutex<()>,
    /// Whether to refuse what is asked for while it is nobody's turn: tests of single kernels are alone and take none.
    is_strict: bool,
}

/// Copies of one library, since its memory is that of one launch at a time.
struct Kernels {
    image: Vec<u8>,
    libraries: Vec<Mutex<Library>>,
}

impl Kernels {
    /// A library that nobody else uses.
    fn free(&self) -> MutexGuard<'_, Library> {
        let free = self.libraries.iter().find_map(|library| library.try_lock().ok());
        free.unwrap_or_else(|| self.libraries[0].lock().unwrap())
    }
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
            println!("no g++: skipped");
            return None;
        }
        Some(Arc::new(build()))
    });
    let kernels = Arc::clone(kernels.as_ref()?);
    let (damaged, recording, stream_lock) = (Arc::default(), Mutex::default(), Mutex::default());
    Some(Arc::new(Shim { kernels, damaged, recording, stream_lock, is_strict: false }))
}

/// The same, where whoever asks for something must have its turn.
pub(super) fn strict_shim() -> Option<Arc<Shim>> {
    shim().map(|shim| Arc::new(Shim { is_strict: true, ..Arc::into_inner(shim).unwrap() }))
}

fn build() -> Kernels {
    let folder = tempfile::tempdir().unwrap();
    let built = folder.path().join("kernels.so");
    compile(&text(), &built, &[]);
    let image = std::fs::read(&built).unwrap();
    let load = |i| {
        let copy = folder.path().join(format!("kernels-{i}.so"));
        std::fs::write(&copy, &image).unwrap();
        // SAFETY: the library was built above from this crate's source; loading it runs nothing but its constructors.
        Mutex::new(unsafe { Library::new(&copy) }.unwrap())
    };
    let libraries = (0..rayon::current_num_threads()).map(load).collect();
    Kernels { image, libraries }
}

/// A line that includes a file of `tests/kernels`.
fn include(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels").join(name);
    format!("#include \"{}\"\n", path.display())
}

/// Shim, kernels, and the functions that run one by name and count its arguments.
fn text() -> String {
    let mut text = format!("{}{}\n{OWN}", include("shim.h"), source::portable());
    text.push_str("extern \"C\" int golf_run(const shim::Launch* launch) {\n");
    for name in KERNELS.iter().chain(&OWN_NAMES) {
        writeln!(text, "    if (!strcmp(launch->name, \"{name}\")) return shim::run({name}, *launch);").unwrap();
    }
    text.push_str("    return 2;\n}\nextern \"C\" unsigned golf_arguments(const char* kernel) {\n");
    for name in KERNELS.iter().chain(&OWN_NAMES) {
        writeln!(text, "    if (!strcmp(kernel, \"{name}\")) return shim::arguments({name});").unwrap();
    }
    text.push_str("    return 0;\n}\n");
    text
}

fn compile(text: &str, library: &Path, more: &[&str]) {
    let source = library.with_extension("cpp");
    std::fs::write(&source, text).unwrap();
    // As on the device: no contraction, IEEE arithmetic.
    let flags = [
        "-std=c++17",
        "-O2",
        "-ffp-contract=off",
        "-fno-strict-aliasing",
        "-shared",
        "-fPIC",
        "-Wall",
        "-Werror=return-type",
    ];
    let output = Command::new("g++").args(flags).arg(&source).args(more).arg("-o").arg(library).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A folder with a driver, a compiler and a product library that are all the shim.
fn fake_cuda(kernels: &Kernels) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libkernels.so");
    std::fs::write(&library, &kernels.image).unwrap();
    let names = KERNELS.map(|name| format!("\"{name}\"")).join(", ");
    let own = format!(
        "extern \"C\" int golf_run(const shim::Launch*);\nextern \"C\" unsigned golf_arguments(const char*);\n\
         static const char* const KERNEL_NAMES[] = {{{names}}};\n"
    );
    let (_, common) = source::FILES[0];
    let text = [&include("shim.h"), common, &own, &include("driver.cpp"), &include("nccl.cpp")].concat();
    compile(&text, &folder.path().join("libcuda.so"), &[&library.display().to_string()]);
    for name in ["libnvrtc.so", "libcublasLt.so", "libnccl.so"] {
        std::os::unix::fs::symlink("libcuda.so", folder.path().join(name)).unwrap();
    }
    folder
}

impl Shim {
    /// Allocations freed so far whose surroundings a kernel wrote to.
    pub fn damaged(&self) -> usize {
        *self.damaged.lock().unwrap()
    }

    /// What everything asked for begins with.
    fn check_stream_lock(&self) {
        assert!(!self.is_strict || self.stream_lock.try_lock().is_err(), "nobody holds the stream lock");
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

/// Memory between two guards.
pub(super) struct Guarded {
    start: *mut u8,
    bytes: usize,
    damaged: Arc<Mutex<usize>>,
}

// SAFETY: plain memory; who gives it to kernels has it to themselves (contract of `Device`).
unsafe impl Send for Guarded {}
// SAFETY: as above.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes + 2 * GUARD, GUARD).unwrap()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout, every byte written then.
        let bytes = unsafe { std::slice::from_raw_parts(self.start, self.bytes + 2 * GUARD) };
        let (before, rest) = bytes.split_at(GUARD);
        if before.iter().chain(&rest[self.bytes..]).any(|&byte| byte != PATTERN) {
            *self.damaged.lock().unwrap() += 1;
        }
        // SAFETY: as above, and freed nowhere else.
        unsafe { dealloc(self.start, Self::layout(self.bytes)) };
    }
}

impl Device for Shim {
    type Memory = Guarded;
    type Graph = Vec<Recorded>;

    const EXACT: bool = true;

    fn stream_lock(&self) -> &Mutex<()> {
        &self.stream_lock
    }

    fn allocate(&self, bytes: usize) -> Result<Guarded, DeviceError> {
        self.check_stream_lock();
        // SAFETY: the layout is never empty; every byte is written before the memory is used.
        let start = unsafe {
            let start = alloc(Guarded::layout(bytes));
            start.write_bytes(PATTERN, bytes + 2 * GUARD);
            start.add(GUARD).write_bytes(UNSET, bytes);
            start
        };
        Ok(Guarded { start, bytes, damaged: Arc::clone(&self.damaged) })
    }

    fn address(memory: &Guarded) -> u64 {
        memory.start as u64 + GUARD as u64
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
                Recorded::Copy { from, to, bytes } => self.copy(from, to, bytes)?,
                Recorded::Clear { address, bytes } => self.clear(address, bytes)?,
            }
        }
        Ok(())
    }

    fn write(&self, address: u64, values: &[u32]) -> Result<(), DeviceError> {
        assert!(!self.is_recording(), "what is recorded writes nothing");
        // SAFETY: the range is allocated (contract of `Device`).
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), address as *mut u32, values.len()) };
        Ok(())
    }

    fn read(&self, address: u64, values: &mut [f32]) -> Result<(), DeviceError> {
        assert!(!self.is_recording(), "what is recorded reads nothing");
        // SAFETY: the range is allocated (contract of `Device`).
        unsafe { std::ptr::copy_nonoverlapping(address as *const f32, values.as_mut_ptr(), values.len()) };
        Ok(())
    }

    fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), DeviceError> {
        if self.keeps(|| Recorded::Copy { from, to, bytes }) {
            return Ok(());
        }
        // SAFETY: both ranges are allocated (contract of `Device`).
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    fn clear(&self, address: u64, bytes: usize) -> Result<(), DeviceError> {
        if self.keeps(|| Recorded::Clear { address, bytes }) {
            return Ok(());
        }
        // SAFETY: the range is allocated (contract of `Device`).
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
            Argument::Address(_) => b'a',
            Argument::U32(_) => b'u',
            Argument::U64(_) => b'l',
            Argument::F32(_) => b'f',
            Argument::F64(_) => b'd',
        };
        let name = CString::new(launch.kernel).unwrap();
        let kinds = CString::new(launch.arguments.iter().map(kind).collect::<Vec<u8>>()).unwrap();
        let mut arguments: Vec<_> = launch.arguments.iter().map(Argument::pointer).collect();
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

    unsafe fn gemm(&self, _: &GemmDesc) -> Result<bool, DeviceError> {
        Ok(false)
    }
}

mod tests {
    use super::*;

    fn launch(kernel: &'static str, arguments: &[Argument]) -> Option<Result<(), DeviceError>> {
        let launch = Launch { kernel, grid: [2, 1], threads: 64, shared_bytes: 0, arguments };
        // SAFETY: these kernels use no memory.
        shim().map(|shim| unsafe { shim.launch(&launch) })
    }

    #[test]
    fn a_divergent_barrier_stops_the_launch() {
        let Some(result) = launch("divergent", &[Argument::U32(64)]) else { return };
        result.unwrap();
        for (kernel, threads) in [("divergent", 63), ("divergent", 32), ("half_a_warp", 16), ("half_a_warp", 48)] {
            let error = launch(kernel, &[Argument::U32(threads)]).unwrap().unwrap_err();
            assert!(error.to_string().contains("divergent barrier"), "{error}");
        }
        // And the next launch is unharmed.
        launch("half_a_warp", &[Argument::U32(32)]).unwrap().unwrap();
    }

    #[test]
    fn arguments_of_other_types_are_refused() {
        let Some(result) = launch("divergent", &[Argument::U64(64)]) else { return };
        assert!(result.unwrap_err().to_string().contains("divergent takes u and was given l"));
        assert!(launch("divergent", &[]).unwrap().is_err());
    }

    /// Fragments and matrices lie as the PTX ISA says: the product comes out as a loop in double precision has it.
    #[test]
    fn tensor_instructions_multiply() {
        const SIDE: usize = 16;
        let Some(shim) = shim() else { return };
        let value = |i: usize| ((i * 37 + 11) % 64) as f32 / 8.0 - 4.0;
        let bits = |from: usize| -> Vec<u32> {
            let half = |i: usize| u32::from(half::bf16::from_f32(value(from + i)).to_bits());
            (0..SIDE * SIDE / 2).map(|i| half(2 * i) | half(2 * i + 1) << 16).collect()
        };
        let memory = [512, 512, 1024].map(|bytes| shim.allocate(bytes).unwrap());
        let [a, b, d] = [0, 1, 2].map(|i| Shim::address(&memory[i]));
        shim.write(a, &bits(0)).unwrap();
        shim.write(b, &bits(1000)).unwrap();
        let run = |b_transposed: u32, waits: u32| {
            let flags = [b_transposed, waits].map(Argument::U32);
            let arguments = [&[a, b, d].map(Argument::Address)[..], &flags].concat();
            let launch = Launch {
                kernel: "tensor_product",
                grid: [1, 1],
                threads: 32,
                shared_bytes: 1024,
                arguments: &arguments,
            };
            // SAFETY: the three matrices have the kernel's dims.
            unsafe { shim.launch(&launch) }.unwrap();
            let mut found = [0.0; SIDE * SIDE];
            shim.read(d, &mut found).unwrap();
            found
        };
        for b_transposed in [0, 1] {
            let found = run(b_transposed, 1);
            for (i, j) in (0..SIDE).flat_map(|i| (0..SIDE).map(move |j| (i, j))) {
                let b = |l: usize| if b_transposed == 1 { 1000 + j * SIDE + l } else { 1000 + l * SIDE + j };
                let sum: f64 = (0..SIDE).map(|l| f64::from(value(i * SIDE + l)) * f64::from(value(b(l)))).sum();
                assert_eq!(f64::from(found[i * SIDE + j]), sum, "row {i}, column {j}");
            }
            assert_ne!(found, run(b_transposed, 0), "copies that nobody waits for must not be seen");
        }
    }

    #[test]
    fn writing_past_the_end_is_noticed() {
        let Some(own) = shim() else { return };
        let memory = own.allocate(64).unwrap();
        for (place, damaged) in [(15, 0), (16, 1)] {
            let arguments = [Argument::Address(Shim::address(&memory)), Argument::U32(place)];
            let launch = Launch { kernel: "beyond", grid: [1, 1], threads: 32, shared_bytes: 0, arguments: &arguments };
            // SAFETY: one value past the end, the guard lies there.
            unsafe { own.launch(&launch) }.unwrap();
            assert_eq!(own.damaged(), 0);
            if damaged == 1 {
                break;
            }
        }
        drop(memory);
        assert_eq!(own.damaged(), 1);
    }

    /// This program again, with a fake CUDA on the library path: everything between the backend and the driver runs.
    #[test]
    fn the_way_to_the_driver_works_on_a_fake_one() {
        let Some(shim) = shim() else { return };
        let folder = fake_cuda(&shim.kernels);
        let run = |passed: usize, tests: &[&str], variables: &[(&str, &str)]| {
            let output = Command::new(std::env::current_exe().unwrap())
                .args(tests.iter().map(|name| format!("on_a_gpu::{name}")))
                .arg("--nocapture")
                .env("LD_LIBRARY_PATH", folder.path())
                .env("GOLF_HARNESS_CACHE", folder.path().join("cache"))
                .envs(variables.iter().copied())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            assert!(said.contains(&format!("{passed} passed")) && !said.contains("skipped"), "{said}");
        };
        let kernels = ["copies", "linears", "losses", "likelihoods", "gradients", "rows", "muon", "scales", "engines"];
        run(10, &kernels, &[]);
        // Two kinds of values in one product, and recorded work.
        run(3, &["bfloat16", "the_host_asks_twice"], &[]);
        // Ranks are threads there, and the fake NCCL works between threads.
        let ranks = ("GOLF_FAKE_RANKS", "4");
        run(2, &["nccl_works", "nccl_ranks"], &[ranks]);
        run(1, &["nccl_is_given_up"], &[ranks, ("GOLF_FAKE_PATIENCE_MS", "200")]);
        assert_eq!(std::fs::read_dir(folder.path().join("cache")).unwrap().count(), 1, "one compiled image is kept");
    }
}
