//! Thirty training steps against PyTorch, on every engine.

use clap::ValueEnum;
use golf_harness::engine::{self, EngineKind};
use golf_harness::manifest::OrthogonalizerPrecision;

use crate::steps::{Run, runs};
use crate::support::{on_a_gpu, reference_folders};

fn follow_everywhere(name: &str) {
    for folder in reference_folders() {
        let reference = runs(&folder);
        let sample_is_there = reference["train_shard"].is_string() || std::env::var_os("GOLF_SAMPLE_DIR").is_some();
        assert!(sample_is_there, "set GOLF_SAMPLE_DIR to the folder of fineweb_sample_train_000000.bin");
        for engine in EngineKind::value_variants().iter().map(|kind| engine::create(*kind)).chain(on_a_gpu()) {
            let run = |precision| Run { folder: &folder, reference: &reference, name, precision, engine: &*engine };
            // Single precision against double, within the distance of PyTorch's own single precision; bfloat16
            // against bfloat16, within the distance that bfloat16 makes at all.
            run(OrthogonalizerPrecision::F32).follow("f64", "f32");
            run(OrthogonalizerPrecision::Bf16).follow("bf16", "f32");
        }
    }
}

#[test]
fn a_plain_run_follows_pytorch() {
    follow_everywhere("plain");
}

#[test]
fn a_run_with_warm_down_qat_and_swa_follows_pytorch() {
    follow_everywhere("scheduled");
}
