//! Where reference files are.

use std::path::{Path, PathBuf};

use crate::shipped::shipped;

/// Reference files with the data that they are about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ReferenceSet {
    /// `fixtures/reference/`, about `fixtures/smoke/`.
    Shipped,
    /// A larger set of the same files: the folder named by `GOLF_GOLDEN_DIR`, about the FineWeb sample in the folder
    /// named by `GOLF_SAMPLE_DIR`, with the tokenizer named by `GOLF_TOKENIZER`.
    Larger,
}

impl ReferenceSet {
    /// The folder of the reference files.
    pub fn folder(self) -> PathBuf {
        match self {
            Self::Shipped => shipped(),
            Self::Larger => named_by("GOLF_GOLDEN_DIR"),
        }
    }

    /// The tokenizer that made the shards.
    pub fn tokenizer(self) -> PathBuf {
        match self {
            Self::Shipped => smoke().join("tokenizer.model"),
            Self::Larger => named_by("GOLF_TOKENIZER"),
        }
    }

    /// The only validation shard.
    pub fn val_shard(self) -> PathBuf {
        match self {
            Self::Shipped => smoke().join("smoke_val_000000.bin"),
            Self::Larger => named_by("GOLF_SAMPLE_DIR").join("fineweb_sample_val_000000.bin"),
        }
    }
}

fn smoke() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/smoke")
}

/// What a variable names. Tests that need it are ignored unless asked for; asked for without it, they fail.
pub fn named_by(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set")).into()
}

/// Makes two tests of each function `fn(ReferenceSet)`: `shipped_set::NAME`, and `needs_data::NAME`, which counts as
/// ignored unless it is asked for.
macro_rules! on_both_sets {
    ($($test:ident),+ $(,)?) => {
        mod shipped_set {
            $(#[test]
            fn $test() {
                super::$test($crate::support::ReferenceSet::Shipped);
            })+
        }

        mod needs_data {
            $(#[test]
            #[ignore = "needs GOLF_GOLDEN_DIR, GOLF_SAMPLE_DIR and GOLF_TOKENIZER"]
            fn $test() {
                super::$test($crate::support::ReferenceSet::Larger);
            })+
        }
    };
}
pub(crate) use on_both_sets;

/// The kernels engine on the first GPU; without one a line says so.
#[cfg(feature = "engine")]
pub fn on_a_gpu() -> Option<Box<dyn golf_harness::engine::Engine>> {
    use golf_harness::engine::{DeviceChoice, EngineDevice, EngineKind, Precision};
    match EngineDevice::open(DeviceChoice::Cuda(0)) {
        Ok(device) => Some(device.engine(EngineKind::Kernels, Precision::F32).unwrap()),
        Err(reason) => {
            println!("no GPU: skipped ({reason})");
            None
        }
    }
}
