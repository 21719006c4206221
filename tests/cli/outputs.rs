//! What commands write: never what they read, never what they did not make; and how they end.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{fixture, golf};

fn run(here: &Path, binary: &str, arguments: &[&str]) -> (i32, String) {
    let output: Output =
        golf(binary).current_dir(here).args(arguments).timeout(Duration::from_secs(60)).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), text)
}

/// A record folder `rec` and a manifest `m.yaml` beside a board and a policy.
fn workshop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("rec")).unwrap();
    for file in ["submission.json", "train_gpt.py", "train_seed42.log"] {
        std::fs::copy(fixture("submissions/good").join(file), at("rec").join(file)).unwrap();
    }
    std::fs::write(at("m.yaml"), "schema: golf-harness/manifest/v1\nname: m\ncode: [{ path: code.py, bytes: 5 }]\n")
        .unwrap();
    std::fs::write(at("code.py"), "x = 1").unwrap();
    for name in ["board.yaml", "10min_16mb.yaml"] {
        std::fs::copy(fixture("../manifests").join(name), at(name)).unwrap();
    }
    folder
}

/// Every file below a folder with its content.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
#[cfg(unix)]
fn no_flag_writes_over_what_is_read() {
    let workshop = workshop();
    let here = workshop.path();
    std::fs::hard_link(here.join("m.yaml"), here.join("hard.yaml")).unwrap();
    std::os::unix::fs::symlink("rec/train_gpt.py", here.join("soft")).unwrap();
    let before = contents(here);
    for (binary, arguments) in [
        ("verify", &["m.yaml", "-o", "m.yaml"][..]),
        ("verify", &["m.yaml", "-o", "hard.yaml"]),
        ("verify", &["m.yaml", "-o", "rec/../m.yaml"]),
        ("verify", &["m.yaml", "-o", "code.py"]),
        ("verify", &["m.yaml", "--also", "json=code.py"]),
        ("verify", &["rec", "-o", "rec/train_gpt.py"]),
        ("verify", &["rec", "-o", "soft"]),
        ("verify", &["rec", "-o", "rec/train_seed42.log", "--force"]),
        ("verify", &["rec", "--against", "board.yaml", "-o", "board.yaml", "--force"]),
        ("verify", &["rec", "--policy", "10min_16mb.yaml", "--also", "csv=10min_16mb.yaml"]),
        ("verify", &["m.yaml", "-o", "a", "--also", "json=./a"]),
        ("verify", &["rec", "--init", "-o", "m.yaml"]),
        ("verify", &["rec", "-o", "code.py"]),
        ("pack", &["m.yaml", "--checkpoint", "w", "-o", "m.yaml"]),
        ("pack", &["m.yaml", "--checkpoint", "w", "-o", "code.py", "--force"]),
        ("pack", &["--inspect", "code.py", "--svg", "code.py"]),
        ("rerun", &["rec", "--plan", "-o", "m.yaml"]),
        ("rerun", &["rec", "--plan", "-o", "rec/train_gpt.py", "--force"]),
        ("rerun", &["m.yaml", "--plan", "-o", "hard.yaml", "--force"]),
        // What is not there yet is made on the way, and leads to what is.
        ("verify", &["rec", "-o", "new/../code.py"]),
        ("verify", &["rec", "--init", "-o", "new/../code.py"]),
        ("verify", &["rec", "--init", "-o", ".golf-harness.lock"]),
        ("pack", &["--inspect", "rec/train_gpt.py", "--svg", "new/../code.py"]),
        ("verify", &["rec", "--also", "json="]),
    ] {
        let (code, message) = run(here, binary, arguments);
        assert_eq!(code, 2, "{binary} {arguments:?}: {message}");
        assert!(message.starts_with("error: "), "{binary} {arguments:?}: {message}");
        assert_eq!(contents(here), before, "{binary} {arguments:?}: {message}");
    }
}

#[test]
fn a_report_replaces_a_report_and_nothing_else_without_force() {
    let workshop = workshop();
    let here = workshop.path();
    std::fs::create_dir(here.join("rec-2")).unwrap();
    for entry in std::fs::read_dir(here.join("rec")).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), here.join("rec-2").join(entry.file_name())).unwrap();
    }
    for format in ["text", "json", "jsonl", "markdown", "sarif", "github", "junit", "csv", "in-toto"] {
        let file = format!("report.{format}");
        let tree = format!("rec/of-a-tree.{format}");
        for detail in [&["-v"][..], &["-q"], &[]] {
            // Of one folder, and of a tree, where it lies among what is read.
            for arguments in [&["rec", "-o", &file][..], &["rec", "rec-2", "-o", &tree]] {
                let (code, message) = run(here, "verify", &[arguments, &["--format", format], detail].concat());
                assert_ne!(code, 2, "{format}: {message}");
            }
        }
        std::fs::remove_file(here.join(&tree)).unwrap();
        // A file of another kind is somebody's.
        std::fs::write(here.join(&file), "my notes").unwrap();
        let (code, message) = run(here, "verify", &["rec", "--format", format, "-o", &file]);
        assert!(code == 2 && message.contains("--force"), "{format}: {message}");
        assert_eq!(std::fs::read(here.join(&file)).unwrap(), b"my notes");
        assert_ne!(run(here, "verify", &["rec", "--format", format, "-o", &file, "--force"]).0, 2);
    }
}

/// A submission that mentions this program is no report of it, and a log of a run is not written through a link.
#[test]
#[cfg(unix)]
fn a_submission_is_not_taken_for_a_report_nor_a_lock_for_a_file() {
    let workshop = workshop();
    let here = workshop.path();
    let text = "{\"val_bpb\": 1.1, \"blurb\": \"golf-harness/audit/v1 says level 1 of 5: documented,  rules \"}";
    std::fs::write(here.join("rec/submission.json"), text).unwrap();
    std::fs::create_dir(here.join("run")).unwrap();
    std::os::unix::fs::symlink("../code.py", here.join("run/.golf-harness.lock")).unwrap();
    let before = contents(here);
    for (binary, arguments, reason) in [
        ("verify", &["rec", "-o", "rec/submission.json", "--force"][..], "whose files are read"),
        ("pack", &["m.yaml", "--checkpoint", "w", "--out", "run"], "a link; move it away"),
        ("verify", &["rec", "-o", "run/.golf-harness.lock", "--force"], "locks"),
    ] {
        let (code, message) = run(here, binary, arguments);
        assert!(code == 2 && message.contains(reason), "{binary} {arguments:?}: {message}");
        assert_eq!(contents(here), before, "{binary} {arguments:?}");
    }
    // A descriptor of a file is not replaced by one: stdout is a file here.
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("verify"));
    std::os::unix::fs::symlink("/proc/self/fd/1", here.join("stdout")).unwrap();
    command.current_dir(here).env_clear().args(["rec", "-o", "stdout"]).stderr(Stdio::null());
    let status = command.stdout(std::fs::File::create(here.join("out")).unwrap()).status().unwrap();
    assert_eq!(status.code(), Some(2));
    assert!(here.join("stdout").is_symlink());
}

#[test]
#[cfg(unix)]
fn what_would_block_is_refused_at_once_wherever_a_path_is_given() {
    let workshop = workshop();
    let here = workshop.path();
    assert!(std::process::Command::new("mkfifo").arg(here.join("fifo.yaml")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(here.join("socket.yaml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", here.join("device.yaml")).unwrap();
    for special in ["fifo.yaml", "socket.yaml", "device.yaml"] {
        for (binary, arguments) in [
            ("verify", &[special][..]),
            ("verify", &["rec", "--policy", special]),
            ("verify", &["rec", "--against", special]),
            ("verify", &["rec", "-o", special]),
            ("verify", &["--base", "a", "--head", "b", "--repository", special]),
            ("pack", &[special, "--checkpoint", "w"]),
            ("pack", &["m.yaml", "--checkpoint", special, "-o", "new.golf"]),
            ("pack", &["--inspect", special]),
        ] {
            let start = Instant::now();
            let (code, message) = run(here, binary, arguments);
            assert_eq!(code, 2, "{binary} {arguments:?}: {message}");
            assert!(start.elapsed() < Duration::from_secs(20), "{binary} {arguments:?}");
        }
    }
    // In a folder they are findings, and do not stop the audit.
    std::fs::rename(here.join("fifo.yaml"), here.join("rec/final_model.pt")).unwrap();
    let (code, message) = run(here, "verify", &["rec"]);
    assert_ne!(code, -1, "{message}");
}

/// Runs with a stdout whose reader has left.
#[cfg(unix)]
pub fn with_closed_pipe(here: &Path, binary: &str, arguments: &[&str]) -> i32 {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin(binary));
    command.current_dir(here).env_clear().args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    child.wait().unwrap().code().unwrap_or(-1)
}

#[test]
#[cfg(unix)]
fn a_closed_pipe_changes_no_exit_code() {
    let workshop = workshop();
    let here = workshop.path();
    std::fs::write(here.join("rec/submission.json"), "[").unwrap();
    for arguments in [&["rec", "-v"][..], &["rec", "--json"], &["rec", "--format", "sarif"], &["--rules"], &["nowhere"]]
    {
        let output = golf("verify").current_dir(here).args(arguments).output().unwrap();
        assert_eq!(Some(with_closed_pipe(here, "verify", arguments)), output.status.code(), "{arguments:?}");
    }
    assert_eq!(with_closed_pipe(here, "verify", &["rec"]), 1);
}

#[test]
#[cfg(unix)]
fn init_refuses_a_parent_and_never_overwrites() {
    let workshop = workshop();
    let here = workshop.path();
    let (code, message) = run(here, "verify", &["--init", "."]);
    assert!(code == 2 && message.contains("rec"), "{message}");
    std::fs::write(here.join("there.yaml"), "").unwrap();
    let (code, message) = run(here, "verify", &["--init", "rec", "-o", "there.yaml"]);
    assert!(code == 2 && message.contains("never overwrites"), "{message}");
}

#[test]
fn init_takes_the_model_from_the_script_or_says_that_it_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let rec = folder.path().join("rec");
    std::fs::create_dir(&rec).unwrap();
    std::fs::write(rec.join("submission.json"), "{\"val_bpb\": 1.1, \"date\": \"2026-03-18\", \"author\": \"no\"}")
        .unwrap();
    let script =
        "import os\nV = int(os.environ.get(\"VOCAB_SIZE\", 8192))\nL = int(os.environ.get('NUM_LAYERS', '11'))\n";
    std::fs::write(rec.join("train_gpt.py"), script).unwrap();
    let output = golf("verify").current_dir(folder.path()).args(["--init", "rec"]).output().unwrap();
    let yaml = String::from_utf8(output.stdout).unwrap();
    assert!(yaml.contains("model:\n  vocab_size: 8192\n  num_layers: 11\n"), "{yaml}");
    assert!(!yaml.contains("model_dim: 512") && !yaml.contains("sp1024"), "{yaml}");
    assert!(yaml.contains("GAP: model: ") && yaml.contains("model_dim"), "{yaml}");
    assert!(yaml.contains("date: \"2026-03-18\"") && yaml.contains("author: \"no\""), "{yaml}");
    let manifest = golf_harness::manifest::parse(&yaml, Path::new("m.yaml")).unwrap();
    assert_eq!((manifest.model.vocab_size, manifest.model.num_layers), (8192, 11));
}

#[test]
fn a_bigram_path_that_cannot_learn_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    for (dim, warns) in [(32, true), (64, false), (96, false)] {
        let model = format!("model: {{ model_dim: 96, num_heads: 4, num_kv_heads: 2, bigram_dim: {dim} }}\n");
        let text = format!("schema: golf-harness/manifest/v1\nname: m\n{model}");
        std::fs::write(folder.path().join("m.yaml"), text).unwrap();
        let output = golf("verify").current_dir(folder.path()).arg("m.yaml").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.contains("manifest_idle_bigram"), warns, "{dim}: {text}");
    }
    let shipped = golf("verify").arg(fixture("../manifests/smoke.yaml")).output().unwrap();
    assert!(!String::from_utf8(shipped.stdout).unwrap().contains("manifest_idle_bigram"));
}

/// A file that takes long to read through, without taking space.
#[test]
#[cfg(unix)]
fn a_signal_ends_work_that_looks_at_no_flag_within_two_seconds() {
    let workshop = workshop();
    let here = workshop.path();
    std::fs::File::create(here.join("huge.bin")).unwrap().set_len(64 << 30).unwrap();
    let text = "schema: golf-harness/manifest/v1\nname: m\ncode: [{ path: huge.bin, bytes: 5 }]\n";
    std::fs::write(here.join("m.yaml"), text).unwrap();
    for signal in ["-TERM", "-INT"] {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("verify"));
        let mut child = command
            .current_dir(here)
            .env_clear()
            .arg("m.yaml")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(500));
        assert!(child.try_wait().unwrap().is_none(), "the audit ended before the signal");
        let start = Instant::now();
        std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(130));
        assert!(start.elapsed() < Duration::from_millis(3500), "{:?}", start.elapsed());
    }
}
