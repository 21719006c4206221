//! What the gate's script and `verify` answer: annotations, exit codes, files of reports.

use std::path::Path;

use super::hostile::record;
use super::{RECORD, Repository, gate, script, shell_program};
use crate::support::{filtered, golf};

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
    let repository = Repository::new();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("golf-harness");
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
        shell_program(&program, body);
        for summary in [folder.path().join("summary"), folder.path().join("no/such/folder")] {
            let output = script("gate.sh")
                .envs([("GATE_BASE", "main"), ("GATE_HEAD", "-x")])
                .env("GATE_PROGRAM", &program)
                .env("GATE_REPOSITORY", repository.path())
                .env("GITHUB_STEP_SUMMARY", summary)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(code), "{body}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let missing = script("gate.sh")
        .env("GATE_PROGRAM", folder.path().join("none"))
        .envs([("GATE_BASE", "main"), ("GATE_HEAD", "main")])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(2));
}

/// GitHub drops the summary of a step that writes more than 1 MiB.
#[test]
fn a_long_summary_is_cut_between_lines_and_points_to_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("golf-harness");
    // Three bytes a character: a cut at any byte would leave half of one.
    let body = r#"for argument in "$@"; do
        case "$argument" in
            --also=markdown=*) yes '| row | €€€ |' | head -n "$ROWS" > "${argument#--also=markdown=}" ;;
        esac
    done"#;
    shell_program(&program, body);
    for (rows, cut) in [(10, false), (40_000, false), (100_000, true)] {
        let summary = folder.path().join(format!("summary{rows}.md"));
        let output = script("gate.sh")
            .envs([("GATE_BASE", "main"), ("GATE_HEAD", "v1`|x"), ("ROWS", &rows.to_string())])
            .env("GATE_PROGRAM", &program)
            .env("GITHUB_STEP_SUMMARY", &summary)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(std::fs::read(&summary).unwrap()).unwrap();
        assert!(text.len() < 1 << 20, "{}", text.len());
        assert_eq!(text.contains("cut off"), cut, "{rows}");
        assert!(text.lines().take_while(|line| !line.is_empty()).all(|line| line == "| row | €€€ |"), "{rows}");
        assert_eq!(text.contains("`golf-harness verify --base main --head v1x`"), cut, "{rows}");
    }
}

#[test]
fn reports_for_other_workflows_are_text_and_json() {
    let repository = Repository::new();
    repository.branch("good", |r| r.add_record(RECORD));
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("made/gate");
    let output = script("gate.sh")
        .envs([("GATE_BASE", "main"), ("GATE_HEAD", "good")])
        .env("GATE_PROGRAM", assert_cmd::cargo::cargo_bin("golf-harness"))
        .env("GATE_REPOSITORY", repository.path())
        .env("GATE_REPORT", &report)
        .output()
        .unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(report.join("report.json")).unwrap()).unwrap();
    assert_eq!(json["schema"], "golf-harness/audit/v1");
    let text = std::fs::read_to_string(report.join("report.txt")).unwrap();
    assert!(text.contains("audit complete") && !text.contains('\u{1b}'), "{text}");
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

#[test]
fn the_summary_and_the_annotations_read_well() {
    let repository = Repository::new();
    repository.branch("new", |r| r.add_record(RECORD));
    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary.md");
    let output = script("gate.sh")
        .envs([("GATE_BASE", "main"), ("GATE_HEAD", "new")])
        .env("GATE_PROGRAM", assert_cmd::cargo::cargo_bin("golf-harness"))
        .env("GATE_REPOSITORY", repository.path())
        .env("GITHUB_STEP_SUMMARY", &summary)
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&summary).unwrap();
    let commits = (r"[0-9a-f]{12}\.\.[0-9a-f]{12}", "[base]..[head]");
    insta::assert_snapshot!("summary", filtered(&text, &[commits]));
    insta::assert_snapshot!("annotations", String::from_utf8(output.stdout).unwrap());
}
