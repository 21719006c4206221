//! The kernels compiled for one kind of device, by NVRTC, and kept on disk.

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};

use cudarc::nvrtc::result::{self, NvrtcError};
use cudarc::nvrtc::sys;

use crate::atomic_write;
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::source;

/// Environment variable with the folder compiled kernels are kept in.
const CACHE_VARIABLE: &str = "GOLF_HARNESS_CACHE";
/// Bytes of the digest that stands before a kept image.
const DIGEST_BYTES: usize = blake3::OUT_LEN;

/// Options besides the architecture. No contraction of multiplications with additions: the bits of a kernel are then
/// those of its source, on every architecture.
const OPTIONS: [&str; 2] = ["--fmad=false", "--std=c++17"];

/// The kernels for devices of that compute capability, as a cubin: from the cache, or compiled and put there.
///
/// A cache that cannot be read or written only costs the time of compiling. The library must be there.
pub(in crate::engine::cuda) fn image((major, minor): (u32, u32)) -> Result<Vec<u8>, DeviceError> {
    let architecture = architecture((major, minor));
    let version = version().map_err(|error| DeviceError::new("NVRTC does not tell its version", error))?;
    let path = cache_folder().map(|folder| folder.join(format!("{}.cubin", key(&architecture, version))));
    if let Some(image) = path.as_deref().and_then(read) {
        return Ok(image);
    }
    let image = compile(&source::whole(), &architecture)?;
    if let Some(path) = path {
        let _ = atomic_write::write(&path, &[blake3::hash(&image).as_bytes(), image.as_slice()].concat());
    }
    Ok(image)
}

/// Compute capability of the devices with `wgmma`, which no other has.
pub(super) const HOPPER: (u32, u32) = (9, 0);

/// The compiler's name of an architecture; Hopper's with its own instructions.
fn architecture((major, minor): (u32, u32)) -> String {
    let suffix = if (major, minor) == HOPPER { "a" } else { "" };
    format!("sm_{major}{minor}{suffix}")
}

/// Everything the image depends on.
fn key(architecture: &str, (major, minor): (i32, i32)) -> blake3::Hash {
    let options = OPTIONS.join(" ");
    let parts = [format!("NVRTC {major}.{minor}"), architecture.to_string(), options, source::whole()];
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize()
}

/// Where compiled kernels are kept: `GOLF_HARNESS_CACHE`, else the user's cache folder.
fn cache_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    variable(CACHE_VARIABLE).or_else(|| Some(user()?.join("golf-harness")))
}

/// A kept image, if it is whole.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = crate::regular_file::read(path).ok()?;
    let digest: [u8; DIGEST_BYTES] = *bytes.first_chunk()?;
    let image = bytes.split_off(DIGEST_BYTES);
    (blake3::hash(&image) == blake3::Hash::from_bytes(digest)).then_some(image)
}

/// Version of the library, major and minor.
pub(in crate::engine::cuda) fn version() -> Result<(i32, i32), NvrtcError> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the library writes two integers to the addresses given, which outlive the call.
    unsafe { sys::nvrtcVersion(&mut major, &mut minor).result()? };
    Ok((major, minor))
}

/// A program of the library, destroyed when dropped.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: created by the one who wrapped it, destroyed nowhere else.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

/// Compiles a source to machine code of one architecture.
fn compile(text: &str, architecture: &str) -> Result<Vec<u8>, DeviceError> {
    let what = || format!("NVRTC does not compile the kernels for {architecture}");
    let failed = |error: NvrtcError| DeviceError::new(what(), error);
    let text = CString::new(text).map_err(|error| DeviceError::new(what(), error))?;
    let program = Program(result::create_program(&text, Some(c"kernels.cu")).map_err(failed)?);
    let mut options = vec![format!("--gpu-architecture={architecture}")];
    options.extend(OPTIONS.map(String::from));
    // SAFETY: the program was created above, and `text` outlives it; the log is read from the same program.
    unsafe {
        if let Err(error) = result::compile_program(program.0, &options) {
            let log = result::get_program_log(program.0).unwrap_or_default();
            let log: Vec<u8> = log.into_iter().map(|character| character as u8).collect();
            let log = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy();
            return Err(DeviceError::new(what(), format!("{error}\n{log}")));
        }
        let mut size = 0;
        sys::nvrtcGetCUBINSize(program.0, &mut size).result().map_err(failed)?;
        let mut image = vec![0u8; size];
        sys::nvrtcGetCUBIN(program.0, image.as_mut_ptr().cast()).result().map_err(failed)?;
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every architecture the compiler at hand knows, of those the engine may meet.
    #[test]
    #[ignore = "needs NVRTC"]
    fn the_kernels_compile() {
        // SAFETY: only looks for the shared library.
        assert!(unsafe { sys::is_culib_present() }, "no NVRTC on the library path");
        let (major, minor) = version().unwrap();
        for architecture in ["sm_80", "sm_89", "sm_90", "sm_90a", "sm_100"] {
            if major < 13 && architecture == "sm_100" {
                continue;
            }
            let image = compile(&source::whole(), architecture).unwrap();
            assert!(image.starts_with(b"\x7fELF"), "{architecture}");
            for name in source::KERNELS {
                let is_there = image.windows(name.len()).any(|bytes| bytes == name.as_bytes());
                assert!(is_there, "{name} is missing for {architecture}");
            }
            println!("NVRTC {major}.{minor}, {architecture}: {} bytes", image.len());
        }
        let error = compile("__global__ void broken(", "sm_90").unwrap_err();
        assert!(error.to_string().contains("kernels.cu"), "{error}");
    }

    #[test]
    fn only_whole_images_are_taken_from_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.cubin");
        let whole = [blake3::hash(b"image").as_bytes(), &b"image"[..]].concat();
        for (bytes, expected) in [(&whole[..], true), (&whole[..36], false), (&whole[..9], false), (b"", false)] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read(&path), expected.then(|| b"image".to_vec()));
        }
        assert_eq!([(8, 9), (9, 0), (10, 0)].map(architecture), ["sm_89", "sm_90a", "sm_100"]);
        assert_ne!(key("sm_90", (13, 0)), key("sm_90", (13, 1)));
        assert_ne!(key("sm_90", (13, 0)), key("sm_100", (13, 0)));
    }
}
