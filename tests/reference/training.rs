//! Thirty training steps against PyTorch, on every engine.

use clap::ValueEnum;
use golf_harness::engine::{self, EngineKind};
use golf_harness::manifest::OrthogonalizerPrecision;

use crate::steps::{Run, runs};
use crate::support::{ReferenceSet, on_a_gpu, on_both_sets};

on_both_sets! { a_plain_run_follows_pytorch, a_run_with_warm_down_qat_and_swa_follows_pytorch }

fn follow_everywhere(set: ReferenceSet, name: &str) {
    let folder = set.folder();
    let reference = runs(&folder);
    for engine in EngineKind::value_variants().iter().map(|kind| engine::create(*kind)).chain(on_a_gpu()) {
        let run = |precision| Run { folder: &folder, reference: &reference, name, precision, engine: &*engine };
        // Single precision against double, within the distance of PyTorch's own single precision; bfloat16
        // against bfloat16, within the distance that bfloat16 makes at all.
        run(OrthogonalizerPrecision::F32).follow("f64", "f32");
        run(OrthogonalizerPrecision::Bf16).follow("bf16", "f32");
    }
}

fn a_plain_run_follows_pytorch(set: ReferenceSet) {
    follow_everywhere(set, "plain");
}

fn a_run_with_warm_down_qat_and_swa_follows_pytorch(set: ReferenceSet) {
    follow_everywhere(set, "scheduled");
}
