//! `golf-harness.toml`: whose word it is, and whose it is not.

use std::path::Path;

use crate::support::{fixture, golf};

/// The one rule that `fixtures/submissions/best-seed` breaks.
const BROKEN: &str = "claim_is_best_seed_not_mean";

/// A repository with one record folder that fails.
fn repository() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let record = root.path().join(RECORD);
    std::fs::create_dir_all(&record).unwrap();
    for entry in std::fs::read_dir(fixture("submissions/best-seed")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), record.join(entry.file_name())).unwrap();
    }
    root
}

const RECORD: &str = "records/track_10min_16mb/2026-04-01_New";

fn allowing(folder: &Path) {
    std::fs::write(folder.join("golf-harness.toml"), format!("[verify]\nallow = ['{BROKEN}']\n")).unwrap();
}

/// Exit code, standard output and error output of `verify` in a folder.
fn verify(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = golf("golf-harness").arg("verify").args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_file_where_the_user_stands_gives_defaults_and_the_report_says_so() {
    let root = repository();
    assert_eq!(verify(root.path(), &[RECORD]).0, Some(1));
    allowing(root.path());
    let (code, _, err) = verify(root.path(), &[RECORD]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("golf-harness.toml decides, too: verify.allow claim_is_best_seed_not_mean"), "{err}");
    let (_, out, _) = verify(&root.path().join("records"), &["--json", "track_10min_16mb/2026-04-01_New"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["defaults"]["allow"], serde_json::json!([BROKEN]));
    assert!(report["defaults"]["path"].as_str().unwrap().ends_with("golf-harness.toml"));
    // Flags win, and --no-config does without.
    assert_eq!(verify(root.path(), &[RECORD, "--allow", "over_budget"]).0, Some(1));
    let (code, out, err) = verify(root.path(), &[RECORD, "--no-config", "--json"]);
    assert_eq!((code, err.as_str(), out.contains("\"defaults\"")), (Some(1), "", false));
}

#[test]
fn what_is_audited_does_not_configure_its_audit() {
    let root = repository();
    let record = root.path().join(RECORD);
    allowing(&record);
    allowing(root.path());
    for (folder, path) in [(&record, "."), (&root.path().join("records"), "..")] {
        let (code, _, err) = verify(folder, &[path]);
        assert_eq!(code, Some(1), "{path}: {err}");
        assert!(err.contains("golf-harness.toml is not used: it lies in"), "{path}: {err}");
    }
    let named = format!("{RECORD}/golf-harness.toml");
    let (code, out, err) = verify(root.path(), &[RECORD, "--config", &named]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("must not configure its audit"), "{err}");
}

#[test]
fn a_repository_does_not_configure_the_audit_of_its_own_range() {
    let root = repository();
    let git = |arguments: &[&str]| {
        let who = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let done = std::process::Command::new("git").current_dir(&root).args(who).args(arguments).output().unwrap();
        assert!(done.status.success(), "git {arguments:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["commit", "-q", "--allow-empty", "-m", "base"]);
    // What a stranger's change brings along.
    allowing(root.path());
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "head"]);
    let range = ["--base", "HEAD~1", "--head", "HEAD"];
    let (code, out, err) = verify(root.path(), &range);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains(BROKEN) && err.contains("is not used: it lies in"), "{out}{err}");
    let (code, _, err) = verify(root.path(), &[&range[..], &["--config", "golf-harness.toml"]].concat());
    assert_eq!(code, Some(2), "{err}");
    // From elsewhere it is the user's own.
    let outside = tempfile::tempdir().unwrap();
    allowing(outside.path());
    let there = ["--repository", root.path().to_str().unwrap()];
    let (code, out, err) = verify(outside.path(), &[&range[..], &there].concat());
    assert!(err.contains("decides, too") && !out.contains(&format!("fail     {BROKEN}")), "{code:?} {out}{err}");
}

#[test]
fn a_file_that_nobody_can_mean_stops_the_command_at_its_line() {
    let root = repository();
    std::fs::write(root.path().join("golf-harness.toml"), "[verify]\nalow = []\n").unwrap();
    let (code, out, err) = verify(root.path(), &[RECORD]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("golf-harness.toml:2: unknown field `alow`"), "{err}");
    assert!(err.contains("did you mean `allow`?"), "{err}");
}
