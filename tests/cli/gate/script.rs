//! What the gate's script and `verify` answer: annotations, exit codes, files of reports.

use std::path::Path;
use std::process::Command;

use super::hostile::record;
use super::{RECORD, Repository, gate};
use crate::support::golf;

#[test]
fn annotations_point_at_files_of_the_repository_or_at_none() {
    let repository = Repository::new();
    repository.branch("loose", |r| r.write("records/track_10min_16mb/x.py", "import os\n"));
    repository.import("odd", "main", &record(b"records/track_10min_16mb/a,b::c\nd"));
    for branch in ["loose", "odd"] {
        let output = gate(&repository, "main", branch, Path::new("/dev/null"), Path::new(""));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.is_empty() && text.lines().all(|line| line.starts_with("::")), "{text}");
        for line in text.lines() {
            let properties = line.split("::").nth(1).unwrap();
            let file = properties.split_once("file=").map(|(_, rest)| rest.split(',').next().unwrap());
            let known = |file: &str| file.starts_with("records/track_10min_16mb/");
            assert!(file.is_none_or(known) && !properties.contains(".."), "{line}");
        }
    }
}

#[test]
fn the_script_knows_four_exit_codes() {
    use std::os::unix::fs::PermissionsExt;
    let repository = Repository::new();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("verify");
    for (body, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 2", 2),
        ("exit 101", 2),
        ("exit 77", 2),
        ("kill -SEGV $$", 2),
        ("kill -KILL $$", 2),
        ("exit 130", 130),
    ] {
        std::fs::write(&program, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        for summary in [folder.path().join("summary"), folder.path().join("no/such/folder")] {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/gate/gate.sh");
            let output = Command::new("bash")
                .arg(script)
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap())
                .envs([("GATE_BASE", "main"), ("GATE_HEAD", "-x")])
                .env("GATE_VERIFY", &program)
                .env("GATE_REPOSITORY", repository.path())
                .env("GITHUB_STEP_SUMMARY", summary)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(code), "{body}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let missing = Command::new("bash")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/gate/gate.sh"))
        .env("GATE_VERIFY", folder.path().join("none"))
        .envs([("GATE_BASE", "main"), ("GATE_HEAD", "main")])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn reports_are_written_together_or_not_at_all() {
    let repository = Repository::new();
    repository.branch("good", |r| r.add_record(RECORD));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(folder.path().join("taken")).unwrap();
    let run = |also: &[String]| {
        let flags = also.iter().map(|flag| format!("--also={flag}"));
        golf("verify")
            .args(["--base=main", "--head=good", "--repository"])
            .arg(repository.path())
            .args(flags)
            .output()
            .unwrap()
    };
    let first = format!("markdown={}", path("a.md"));
    for (bad, words) in
        [(format!("sarif={}", path("taken")), "taken"), (format!("json={}", path("a.md")), "are one file")]
    {
        let output = run(&[first.clone(), bad, format!("json={}", path("c.json"))]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(words), "{said}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{said}");
    }
    assert!(matches!(run(&[first, format!("json={}", path("c.json"))]).status.code(), Some(0 | 1)));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}
