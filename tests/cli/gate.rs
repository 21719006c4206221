//! The gate for pull requests: `verify --base --head` and `ci/gate/gate.sh` on a temporary git repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::golf;

#[cfg(unix)]
#[path = "gate/comment.rs"]
mod comment;
#[path = "gate/examples.rs"]
mod examples;
#[cfg(unix)]
#[path = "gate/fetch.rs"]
mod fetch;
#[cfg(unix)]
#[path = "gate/hostile.rs"]
mod hostile;
#[cfg(unix)]
#[path = "gate/recheck.rs"]
mod recheck;
#[cfg(unix)]
#[path = "gate/runner.rs"]
mod runner;
#[cfg(unix)]
#[path = "gate/script.rs"]
mod script;

const RECORD: &str = "records/track_10min_16mb/2026-04-01_New";
const OLD_RECORD: &str = "records/track_10min_16mb/2026-03-20_Old";

/// A repository with one record on `main`.
struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Self {
        let repository = Repository(tempfile::tempdir().unwrap());
        repository.git(&["init", "-q", "-b", "main"]);
        repository.write("README.md", "the challenge\n");
        repository.add_record(OLD_RECORD);
        repository.commit("base");
        repository
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn add_record(&self, folder: &str) {
        self.write(&format!("{folder}/README.md"), "# A record\n");
        self.write(&format!("{folder}/train_gpt.py"), "import torch\n");
        self.write(&format!("{folder}/submission.json"), "{\"val_bpb\": 1.2}\n");
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    /// A branch off `main` with these changes committed.
    fn branch(&self, name: &str, change: impl FnOnce(&Repository)) {
        self.git(&["checkout", "-q", "-b", name, "main"]);
        change(self);
        self.commit(name);
        self.git(&["checkout", "-q", "main"]);
    }

    /// `verify --base main --head BRANCH --json`: exit code and the change's own findings by rule.
    fn verify(&self, branch: &str) -> (i32, Vec<(String, String)>) {
        let (code, audit) = self.audit(branch);
        let own = &audit["reports"][0];
        assert_eq!(own["kind"], "change");
        let findings = own["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] != "pass");
        let findings = findings
            .map(|f| (f["rule"].as_str().unwrap().to_string(), f["severity"].as_str().unwrap().to_string()))
            .collect();
        (code, findings)
    }

    /// `verify --base main --head BRANCH --json`: exit code and the document.
    fn audit(&self, branch: &str) -> (i32, serde_json::Value) {
        let output = golf("verify")
            .args(["--base", "main", "--head", branch, "--json", "--repository"])
            .arg(self.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let audit: serde_json::Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{branch}: {e}\n{stderr}"));
        (output.status.code().unwrap(), audit)
    }
}

fn found(rule: &str, severity: &str) -> Vec<(String, String)> {
    vec![(rule.to_string(), severity.to_string())]
}

#[test]
fn one_new_folder_and_nothing_else_passes_the_change_rules() {
    let repository = Repository::new();
    repository.branch("good", |r| r.add_record(RECORD));
    // What happens on main meanwhile is not the pull request's doing.
    repository.write("README.md", "the challenge, edited\n");
    repository.commit("main goes on");
    assert_eq!(repository.verify("good").1, []);
}

#[test]
fn every_other_shape_of_pull_request_is_named() {
    let repository = Repository::new();
    repository.branch("outside", |r| {
        r.add_record(RECORD);
        r.write("README.md", "mine now\n");
        r.write("records/track_10min_16mb/notes.txt", "x\n");
    });
    repository.branch("rewrites", |r| {
        r.add_record(RECORD);
        r.write(&format!("{OLD_RECORD}/train_gpt.py"), "import os\n");
    });
    repository.branch("deletes", |r| {
        r.add_record(RECORD);
        std::fs::remove_dir_all(r.path().join(OLD_RECORD)).unwrap();
    });
    repository.branch("two", |r| {
        r.add_record(RECORD);
        r.add_record("records/track_non_record_16mb/2026-04-01_Other");
    });
    repository.branch("nothing", |r| r.write("records/lzma6/train_gpt.py", "import torch\n"));
    repository.branch("readme", |r| r.write("README.md", "the challenge, better said\n"));
    repository.branch("docs", |r| {
        r.write("docs/help.md", "how\n");
        r.write("records/track_10min_16mb/README.md", "what lies here\n");
    });
    repository.branch("loose", |r| r.write("mine/submission.json", "{}\n"));
    for (branch, code, findings) in [
        ("readme", 0, vec![]),
        ("docs", 0, vec![]),
        ("loose", 1, [found("no_submission_in_pr", "fail"), found("touches_files_outside_folder", "fail")].concat()),
        ("outside", 1, found("touches_files_outside_folder", "fail")),
        ("rewrites", 1, found("changes_existing_record", "fail")),
        ("deletes", 1, found("changes_existing_record", "fail")),
        ("two", 0, found("several_submissions_in_pr", "warning")),
        ("nothing", 1, [found("no_submission_in_pr", "fail"), found("touches_files_outside_folder", "fail")].concat()),
    ] {
        let (exit, own) = repository.verify(branch);
        assert_eq!(own, findings, "{branch}");
        // The folders' own findings may add failures, never take one away.
        assert!(exit >= code, "{branch}: {exit}");
    }
}

#[cfg(unix)]
#[test]
fn links_are_reported_and_not_followed() {
    let repository = Repository::new();
    repository.branch("link", |r| {
        r.add_record(RECORD);
        std::os::unix::fs::symlink("/etc/passwd", r.path().join(RECORD).join("train.log")).unwrap();
    });
    let (code, findings) = repository.verify("link");
    assert_eq!(code, 1);
    assert!(findings.contains(&found("links_or_submodules_in_pr", "fail")[0]), "{findings:?}");
}

#[test]
fn a_range_that_does_not_exist_could_not_be_checked() {
    let repository = Repository::new();
    repository.git(&["checkout", "-q", "--orphan", "unrelated"]);
    repository.commit("no common history");
    for (base, head, words) in [
        ("main", "no-such-branch", "`no-such-branch` is no commit"),
        ("--output=x", "main", "is no commit"),
        ("main", "unrelated", "fetch-depth: 0"),
    ] {
        let output = golf("verify")
            .arg(format!("--base={base}"))
            .arg(format!("--head={head}"))
            .arg("--repository")
            .arg(repository.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(words), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn the_repository_cannot_make_git_run_anything() {
    let repository = Repository::new();
    let trap = repository.path().join("trap.sh");
    let mark = repository.path().join("executed");
    std::fs::write(&trap, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
    std::fs::set_permissions(&trap, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let trap = trap.to_str().unwrap();
    for setting in ["core.fsmonitor", "core.pager", "diff.external", "diff.py.textconv", "core.sshCommand"] {
        repository.git(&["config", setting, trap]);
    }
    repository.git(&["config", "filter.x.smudge", trap]);
    repository.write(".gitattributes", "*.py diff=py filter=x\n");
    repository.commit("attributes");
    std::fs::write(
        repository.path().join(".git/hooks/post-checkout"),
        format!("#!/bin/sh\ntouch {}\n", mark.display()),
    )
    .unwrap();
    repository.branch("good", |r| r.add_record(RECORD));
    let _ = std::fs::remove_file(&mark);
    repository.verify("good");
    assert!(!mark.exists(), "something of the repository was executed");
}

/// A script of the gate, with nothing in its environment but PATH.
fn script(name: &str) -> Command {
    let mut command = Command::new("bash");
    command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("ci/gate").join(name));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command
}

/// A program made of a few lines of shell.
#[cfg(unix)]
fn shell_program(path: &Path, body: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("#!/usr/bin/env bash\n{body}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs the action's script as the action does.
fn gate(repository: &Repository, base: &str, head: &str, summary: &Path, sarif: &Path) -> Output {
    script("gate.sh")
        .env("GATE_PROGRAM", assert_cmd::cargo::cargo_bin("golf-harness"))
        .env("GATE_REPOSITORY", repository.path())
        .env("GATE_BASE", base)
        .env("GATE_HEAD", head)
        .env("GATE_SARIF", sarif)
        .env("GITHUB_STEP_SUMMARY", summary)
        .output()
        .unwrap()
}

#[test]
fn the_script_annotates_summarizes_and_fails_by_policy() {
    let repository = Repository::new();
    repository.branch("bad", |r| {
        r.add_record(RECORD);
        r.write("README.md", "mine now\n");
    });
    let folder = tempfile::tempdir().unwrap();
    let (summary, sarif) = (folder.path().join("summary.md"), folder.path().join("report.sarif"));
    std::fs::write(&summary, "# An earlier step\n").unwrap();
    let output = gate(&repository, "main", "bad", &summary, &sarif);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("::error file=README.md,title=touches_files_outside_folder::"), "{stdout}");
    assert!(stdout.lines().all(|line| line.starts_with("::")), "{stdout}");
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("# An earlier step\n") && text.contains("`touches_files_outside_folder`"), "{text}");
    let log: serde_json::Value = serde_json::from_slice(&std::fs::read(&sarif).unwrap()).unwrap();
    assert_eq!(log["version"], "2.1.0");
}

#[test]
fn the_script_says_when_it_could_not_check() {
    let repository = Repository::new();
    let folder = tempfile::tempdir().unwrap();
    let (summary, sarif) = (folder.path().join("summary.md"), folder.path().join("report.sarif"));
    for (base, head) in [("main", "nowhere"), ("", "main"), ("main; touch x", "main")] {
        let output = gate(&repository, base, head, &summary, &sarif);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stdout).contains("::error title=gate::"));
    }
    assert!(std::fs::read_to_string(&summary).unwrap().contains("could not be checked"));
    assert!(!repository.path().join("x").exists());
}
