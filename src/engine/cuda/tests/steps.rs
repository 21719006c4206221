//! Thirty training steps on the device against PyTorch's, the model and its optimizer staying there: with warm-down, late
//! QAT and SWA.

#[path = "../../../../tests/reference/steps.rs"]
mod reference;
#[path = "../../../../tests/reference/shipped.rs"]
mod shipped;

use std::sync::Arc;

use self::reference::{Run, runs};
use self::shipped::shipped;
use super::network::{engine, narrow_engine};
use super::on_both;
use crate::engine::Engine;
use crate::engine::cuda::device::Device;
use crate::manifest::OrthogonalizerPrecision;

on_both!(thirty_steps_follow_pytorch, thirty_steps_in_bfloat16_follow_pytorch_under_autocast);

fn follow(engine: &dyn Engine, precision: OrthogonalizerPrecision, tag: &str, other: &str) {
    let folder = shipped();
    let reference = runs(&folder);
    Run { folder: &folder, reference: &reference, name: "scheduled", precision, engine }.follow(tag, other);
}

fn thirty_steps_follow_pytorch<D: Device + 'static>(device: &Arc<D>) {
    follow(&engine(device), OrthogonalizerPrecision::F32, "f64", "f32");
}

/// As far as PyTorch in bfloat16 lies from itself in single precision.
fn thirty_steps_in_bfloat16_follow_pytorch_under_autocast<D: Device + 'static>(device: &Arc<D>) {
    follow(&narrow_engine(device), OrthogonalizerPrecision::Bf16, "autocast", "bf16");
}
