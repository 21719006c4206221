//! How the gate comes by its program: a pinned release with its digest, or a build; and that both judge alike.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

use super::{RECORD, Repository, script, shell_program};

/// A release in a folder, and what pins it.
pub struct Release(tempfile::TempDir);

impl Release {
    /// The archive of this machine's target, with this program in it.
    pub fn new(program: &Path) -> Option<Release> {
        let release = Release(tempfile::tempdir().unwrap());
        let top = release.path(&format!("golf-harness-{}", target()?));
        std::fs::create_dir(&top).unwrap();
        std::fs::copy(program, top.join("golf-harness")).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(release.archive()).arg("-C").arg(release.0.path()).arg(top.file_name().unwrap());
        assert!(tar.status().unwrap().success());
        release.pin(&sha256(&release.archive()));
        Some(release)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn archive(&self) -> PathBuf {
        self.path(&format!("golf-harness-{}.tar.gz", target().unwrap()))
    }

    pub fn pin(&self, digest: &str) {
        let name = self.archive().file_name().unwrap().to_str().unwrap().to_string();
        let text = format!("# a comment\nfile://{}\n{digest}  {name}\n", self.0.path().display());
        std::fs::write(self.path("prebuilt.txt"), text).unwrap();
    }

    /// `fetch.sh`: what it said, its exit code, what it told the action, and whether the program is there.
    fn fetch(&self, source: &str) -> (Output, String, bool) {
        let (answer, folder) = (self.path("answer"), self.path("fetched"));
        let _ = std::fs::remove_file(&answer);
        let _ = std::fs::remove_dir_all(&folder);
        let output = script("fetch.sh")
            .arg(&folder)
            .env("GATE_PREBUILT", self.path("prebuilt.txt"))
            .env("GATE_SOURCE", source)
            .env("GITHUB_OUTPUT", &answer)
            .output()
            .unwrap();
        (output, std::fs::read_to_string(answer).unwrap_or_default(), folder.join("golf-harness").exists())
    }
}

/// Releases are built for these; elsewhere, and where `curl` or `tar` is missing, there is nothing to fetch.
fn target() -> Option<&'static str> {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !there("curl") || !there("tar") {
        eprintln!("skipped: needs curl and tar");
        return None;
    }
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("x86_64-unknown-linux-gnu"),
        ("linux", "aarch64") => Some("aarch64-unknown-linux-gnu"),
        ("macos", "aarch64") => Some("aarch64-apple-darwin"),
        ("macos", "x86_64") => Some("x86_64-apple-darwin"),
        _ => None,
    }
}

fn sha256(path: &Path) -> String {
    Sha256::digest(std::fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_fetched_program_judges_as_the_built_one() {
    let Some(release) = Release::new(&assert_cmd::cargo::cargo_bin("golf-harness")) else { return };
    let (output, answer, there) = release.fetch("never");
    assert!(output.status.success() && there, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(answer, "build=false\n");

    let repository = Repository::new();
    repository.branch("readme", |r| r.write("README.md", "the challenge, better said\n"));
    repository.branch("bad", |r| {
        r.add_record(RECORD);
        r.write("README.md", "mine now\n");
    });
    repository.branch("hostile", |r| {
        r.add_record(RECORD);
        std::os::unix::fs::symlink("/etc/passwd", r.path().join(RECORD).join("train.log")).unwrap();
        r.write(&format!("{RECORD}/a,b::c.py"), "import os\n");
    });
    for (branch, code) in [("readme", 0), ("bad", 1), ("hostile", 1), ("nowhere", 2)] {
        let run = |program: PathBuf| {
            let output = script("gate.sh")
                .env("GATE_PROGRAM", program)
                .env("GATE_REPOSITORY", repository.path())
                .envs([("GATE_BASE", "main"), ("GATE_HEAD", branch)])
                .output()
                .unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        let fetched = run(release.path("fetched/golf-harness"));
        assert_eq!(fetched.0, Some(code), "{branch}: {}", fetched.1);
        assert_eq!(fetched, run(assert_cmd::cargo::cargo_bin("golf-harness")), "{branch}");
    }
}

#[test]
fn another_digest_is_refused_and_nothing_is_unpacked_or_built() {
    let stub = tempfile::tempdir().unwrap();
    shell_program(&stub.path().join("golf-harness"), &format!("touch {}/executed", stub.path().display()));
    let Some(release) = Release::new(&stub.path().join("golf-harness")) else { return };
    let digest = sha256(&release.archive());
    let other = format!("{}{}", if digest.starts_with('0') { '1' } else { '0' }, &digest[1..]);
    release.pin(&other);
    for source in ["auto", "never"] {
        let (output, answer, there) = release.fetch(source);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!((output.status.code(), answer.as_str(), there), (Some(2), "", false), "{said}");
        assert!(said.contains(&digest) && said.contains(&other), "{said}");
    }
    assert!(!stub.path().join("executed").exists());
}

#[test]
fn what_cannot_be_fetched_is_built_unless_that_is_ruled_out() {
    let stub = tempfile::tempdir().unwrap();
    let program = stub.path().join("golf-harness");
    shell_program(&program, "exit 0");
    let Some(release) = Release::new(&program) else { return };
    shell_program(&program, "exit 127");
    let Some(broken) = Release::new(&program) else { return };
    let Some(gone) = Release::new(&program) else { return };
    std::fs::remove_file(gone.archive()).unwrap();
    let Some(unpinned) = Release::new(&program) else { return };
    unpinned.pin("none");
    for (release, source, words) in [
        (&release, "always", "source: always"),
        (&broken, "auto", "does not run here"),
        (&gone, "auto", "could not be fetched"),
        (&unpinned, "auto", "no release is pinned"),
    ] {
        let (output, answer, there) = release.fetch(source);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!((output.status.code(), answer.as_str(), there), (Some(0), "build=true\n", false), "{said}");
        assert!(said.contains(words), "{said}");
        if source == "auto" {
            assert_eq!(release.fetch("never").0.status.code(), Some(2), "{said}");
        }
    }
    assert_eq!(release.fetch("perhaps").0.status.code(), Some(2));
}

#[test]
fn a_release_is_pinned_from_its_sums_and_then_fetched() {
    let stub = tempfile::tempdir().unwrap();
    shell_program(&stub.path().join("golf-harness"), "exit 0");
    let Some(release) = Release::new(&stub.path().join("golf-harness")) else { return };
    let pin = std::fs::read_to_string(release.path("prebuilt.txt")).unwrap();
    let (name, digest) = (release.archive(), sha256(&release.archive()));
    let sums = format!("{digest}  {}\n{digest}  golf_harness-0.1.0.tar.gz\n", name.file_name().unwrap().display());
    std::fs::write(release.path("SHA256SUMS"), sums).unwrap();
    release.pin("none");
    let status = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/ci/package/pin.sh"))
        .arg(release.path("SHA256SUMS"))
        .arg(format!("file://{}", release.0.path().display()))
        .arg(release.path("prebuilt.txt"))
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(std::fs::read_to_string(release.path("prebuilt.txt")).unwrap(), pin);
    assert_eq!(release.fetch("never").1, "build=false\n");
}

/// The cache of builds must not outlive what they are built from.
#[test]
fn the_key_of_a_build_names_its_source() {
    let key = |script: &Path| {
        let output = Command::new("bash").arg(script).arg("--key").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let source = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = source.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for name in ["Cargo.lock", "build.rs", "src/lib.rs", "bins/a.rs", "manifests/a.yaml"] {
        write(name, "one");
    }
    write("Cargo.toml", "rust-version = \"1.95\"\n");
    let script = source.path().join("ci/gate/build.sh");
    write(
        "ci/gate/build.sh",
        &std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ci/gate/build.sh")).unwrap(),
    );
    let first = key(&script);
    assert!(first.starts_with("key=") && first.trim_end().len() == "key=".len() + 32, "{first}");
    assert_eq!(key(&script), first);
    let mut keys = vec![first];
    for (name, text) in [("src/lib.rs", "two"), ("Cargo.lock", "two"), ("Cargo.toml", "rust-version = \"1.96\"\n")] {
        write(name, text);
        let next = key(&script);
        assert!(!keys.contains(&next), "{name}");
        keys.push(next);
    }
}
