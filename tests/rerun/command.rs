//! A small submission, and the binary on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A submission whose script takes no time and whose result depends on the seed alone.
pub struct Submission {
    pub root: tempfile::TempDir,
}

/// Bits per byte of a seed.
pub fn bpb(seed: u64) -> f64 {
    1.2 + seed as f64 / 1000.0
}

const SCRIPT: &str = "\
import os, time, zlib
seed = int(os.environ.get('SEED', '1'))
print('seed:%d' % seed)
print('step:1/2 train_loss:3.0000 train_time:0ms step_avg:0.00ms')
time.sleep(float(os.environ.get('PAUSE', '0')))
print('step:2/2 train_loss:2.0000 train_time:%dms step_avg:1.00ms' % (1000 * float(os.environ.get('PAUSE', '0'))))
header = b'{\"w\":{\"dtype\":\"U8\",\"shape\":[200000],\"data_offsets\":[0,200000]}}'
raw = len(header).to_bytes(8, 'little') + header + bytes(i * i % 251 for i in range(200000))
packed = zlib.compress(raw, 0)
open('final_model.int8.ptz', 'wb').write(packed)
code = os.path.getsize(__file__)
print('Serialized model: %d bytes' % len(raw))
print('Code size: %d bytes' % code)
print('Serialized model int8+zlib: %d bytes' % len(packed))
print('Total submission size int8+zlib: %d bytes' % (len(packed) + code))
bpb = 1.2 + seed / 1000
print('final_int8_zlib_roundtrip_exact val_loss:%.8f val_bpb:%.8f' % (2.0, bpb))
";

impl Submission {
    /// Claims the mean of seeds 1, 2 and 3, moved by so much.
    pub fn claiming(moved: f64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("tiny");
        std::fs::create_dir(&folder).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("train_gpt.py", SCRIPT);
        write("README.md", "# Tiny\n\nA stand-in.\n\n```bash\nSEED=1 python3 train_gpt.py\n```\n");
        for seed in 1..=3 {
            let log = format!(
                "seed:{seed}\nstep:1/2 train_loss:3.0000 train_time:0ms step_avg:0.00ms\nstep:2/2 train_loss:2.0000 \
                 train_time:0ms step_avg:1.00ms\nSerialized model: 200071 bytes\nCode size: {code} bytes\nSerialized model \
                 int8+zlib: 200097 bytes\nTotal submission size int8+zlib: {total} bytes\nfinal_int8_zlib_roundtrip_exact \
                 val_loss:2.00000000 val_bpb:{:.8}\n",
                bpb(seed) + moved,
                code = SCRIPT.len(),
                total = SCRIPT.len() + 200097,
            );
            write(&format!("train_seed{seed}.log"), &log);
        }
        let results: Vec<String> =
            (1..=3).map(|seed| format!("\"{seed}\": {{\"val_bpb\": {:.6}}}", bpb(seed) + moved)).collect();
        let json = format!(
            "{{\"author\": \"A\", \"github_id\": \"a\", \"name\": \"Tiny\", \"date\": \"2026-04-02\", \"track\": \
             \"non-record-16mb\", \"bytes_total\": {}, \"val_bpb\": {:.6}, \"seed_results\": {{{}}}}}",
            SCRIPT.len() + 200097,
            bpb(2) + moved,
            results.join(", ")
        );
        write("submission.json", &json);
        Submission { root }
    }

    pub fn folder(&self) -> PathBuf {
        self.root.path().join("tiny")
    }

    pub fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    /// `rerun` on it, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(crate::support::program());
        command.arg(self.folder()).arg("--out").arg(self.out()).args(arguments);
        command.env("NO_COLOR", "1");
        command
    }

    /// Code, standard output, error output.
    pub fn rerun(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        words(&self.command(arguments).output().unwrap())
    }

    pub fn report(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.out().join("report.json")).unwrap()).unwrap()
    }
}

pub fn words(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[cfg(not(feature = "engine"))]
#[test]
fn a_build_without_the_engine_scores_nothing_and_says_which_does() {
    let submission = Submission::claiming(0.0);
    for arguments in [&["--seeds", "1", "--score"][..], &["--seeds", "1", "--score=manifests/smoke.yaml"]] {
        let (code, out, err) = submission.rerun(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains("--score needs the engine") && err.contains("default features"), "{err}");
        assert!(!submission.out().exists());
    }
}

/// `verify -v` on a folder: code and standard output.
pub fn verify(folder: &Path) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_verify")).arg("-v").arg(folder).env("NO_COLOR", "1").output().unwrap();
    let (code, out, _) = words(&output);
    (code, out)
}
