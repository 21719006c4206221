//! `--device` on machines without a usable GPU: one line, exit 2; with `auto` the processor.

use std::path::{Path, PathBuf};
use std::process::Command;

use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, ends_with};

use crate::support::golf;

fn smoke_manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/smoke.yaml")
}

/// A binary with a device asked for. No device is visible to a driver that is there.
fn command(binary: &str, device: &str) -> assert_cmd::Command {
    let mut command = golf(binary);
    command.env("CUDA_VISIBLE_DEVICES", "-1").arg(smoke_manifest()).args(["--device", device]);
    command
}

/// The whole of stderr is one line that names the device and the way out.
fn one_line(device: &str, said: &str) -> impl predicates::Predicate<str> + use<> {
    ends_with("\n")
        .and(contains("\n").count(1))
        .and(contains(format!("--device {device}: ")))
        .and(contains(said.to_string()))
        .and(contains("--device cpu runs on any machine"))
}

#[test]
fn a_gpu_that_is_not_there_is_one_line_and_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    for binary in ["score", "train", "reproduce"] {
        for device in ["cuda:0", "cuda:7"] {
            let assert = command(binary, device).current_dir(folder.path()).assert();
            assert.code(2).stdout("").stderr(one_line(device, "NVIDIA driver"));
        }
        command(binary, "gpu").assert().code(2).stderr(contains("cpu, cuda, cuda:N"));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is begun without the device");
}

#[test]
fn auto_falls_back_to_the_processor_and_says_why_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let mut train = command("train", "auto");
        train.current_dir(folder.path()).args(["--iterations", "0", "--out", "run", "--overwrite"]).args(more);
        train.assert().success()
    };
    run(&["-v"]).stderr(contains("device cpu (").and(contains("NVIDIA driver")));
    run(&[]).stderr("");
}

/// A driver that answers these questions and no others.
fn driver(folder: &Path, init: i32, version: i32, devices: i32) {
    let text = format!(
        "extern \"C\" {{\nint cuInit(unsigned) {{ return {init}; }}\n\
         int cuDriverGetVersion(int* out) {{ *out = {version}; return 0; }}\n\
         int cuDeviceGetCount(int* out) {{ *out = {devices}; return 0; }}\n\
         int cuGetErrorName(int, const char** out) {{ *out = \"CUDA_ERROR_NO_DEVICE\"; return 0; }}\n\
         int cuGetErrorString(int, const char** out) {{ *out = \"no CUDA-capable device is detected\"; return 0; }}\n}}"
    );
    std::fs::write(folder.join("driver.cpp"), text).unwrap();
    let mut build = Command::new("g++");
    build.args(["-shared", "-fPIC", "-o", "libcuda.so", "driver.cpp"]).current_dir(folder);
    assert!(build.status().unwrap().success());
}

#[test]
fn old_and_empty_drivers_are_told_apart() {
    if Command::new("g++").arg("--version").output().is_err() {
        return println!("no g++: skipped");
    }
    for (init, version, devices, device, said) in [
        (100, 13_000, 0, "cuda:0", "the NVIDIA driver does not start"),
        (0, 12_080, 1, "cuda:0", "supports CUDA 12.8, and 13.0 is needed (driver 580 or newer)"),
        (0, 13_000, 0, "cuda:0", "finds no device"),
        (0, 13_000, 2, "cuda:2", "cuda:2 is not there: 2 device(s), counted from 0"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        driver(folder.path(), init, version, devices);
        let mut score = command("score", device);
        score.env("LD_LIBRARY_PATH", folder.path()).assert().code(2).stderr(one_line(device, said));
    }
}
