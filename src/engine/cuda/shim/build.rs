//! Kernels compiled by g++: as libraries that run them on the processor, and as a fake driver on top of those.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use libloading::Library;

use crate::engine::cuda::source::{self, KERNELS};

/// Kernels for the tests of the shim itself.
const OWN: &str = include_str!("own.cu");
const OWN_NAMES: [&str; 7] =
    ["divergent", "half_a_warp", "beyond", "refilled_too_soon", "tensor_product", "turns", "warpgroup_product"];

/// Copies of one library, since its memory is that of one launch at a time.
pub(super) struct Kernels {
    image: Vec<u8>,
    libraries: Vec<Mutex<Library>>,
}

impl Kernels {
    /// A library that nobody else uses.
    pub fn free(&self) -> MutexGuard<'_, Library> {
        let free = self.libraries.iter().find_map(|library| library.try_lock().ok());
        free.unwrap_or_else(|| self.libraries[0].lock().unwrap())
    }
}

/// Compiles the kernels, and loads as many copies as there are threads.
pub(super) fn build() -> Kernels {
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
pub(super) fn fake_cuda(kernels: &Kernels) -> tempfile::TempDir {
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
