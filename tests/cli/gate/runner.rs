//! The action as GitHub runs it: step by step from `action.yml`, with the expressions in it, in a pretended checkout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_yaml::Value;

use super::{RECORD, Repository, shell_program};

/// A runner of one job: the action's files in a folder of their own, and a folder for programs that stand in.
struct Runner {
    folder: tempfile::TempDir,
    repository: Repository,
    values: BTreeMap<String, String>,
    /// Names of the steps that were run, and actions of others that were asked for.
    steps: Vec<String>,
}

impl Runner {
    fn new() -> Runner {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let action = folder.path().join("action");
        std::fs::create_dir_all(action.join("ci")).unwrap();
        for name in ["action.yml", "Cargo.toml", "Cargo.lock", "build.rs", "src", "bins", "manifests"] {
            std::os::unix::fs::symlink(source.join(name), action.join(name)).unwrap();
        }
        // Copied, so that a script finds the files beside it and not those of the source.
        let copied = Command::new("cp").arg("-R").arg(source.join("ci/gate")).arg(action.join("ci/gate")).status();
        assert!(copied.unwrap().success());
        for name in ["bin", "temp"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        // What a build would do, without the minutes.
        let built = assert_cmd::cargo::cargo_bin("golf-harness");
        let cargo = format!(
            r#"while [[ "$1" != --root ]]; do shift; done; mkdir -p "$2/bin"; cp {} "$2/bin""#,
            built.display()
        );
        shell_program(&folder.path().join("bin/cargo"), &cargo);
        shell_program(&folder.path().join("bin/rustup"), "exit 0");
        Runner { folder, repository: Repository::new(), values: BTreeMap::new(), steps: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the action on a branch; the exit code of the first step that fails, or 0.
    fn run(&mut self, branch: &str, inputs: &[(&str, &str)]) -> i32 {
        let action: Value =
            serde_yaml::from_str(&std::fs::read_to_string(self.path("action/action.yml")).unwrap()).unwrap();
        self.steps.clear();
        self.values = [
            ("github.action_path", self.path("action").display().to_string()),
            ("github.workspace", self.repository.path().display().to_string()),
            ("github.event.pull_request.base.sha", self.repository.git(&["rev-parse", "main"])),
            ("github.event.pull_request.head.sha", self.repository.git(&["rev-parse", branch])),
            ("runner.temp", self.path("temp").display().to_string()),
            ("runner.os", "Linux".to_string()),
            ("runner.arch", "X64".to_string()),
            ("steps.cache.outputs.cache-hit", String::new()),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into();
        for (name, input) in action["inputs"].as_mapping().unwrap() {
            let given = inputs.iter().find(|(given, _)| Some(*given) == name.as_str());
            let value =
                given.map_or_else(|| self.filled(input["default"].as_str().unwrap()), |(_, value)| value.to_string());
            self.values.insert(format!("inputs.{}", name.as_str().unwrap()), value);
        }
        for step in action["runs"]["steps"].as_sequence().unwrap() {
            if !step["if"].as_str().is_none_or(|condition| self.holds(condition)) {
                continue;
            }
            self.steps.push(step["name"].as_str().unwrap().to_string());
            if step["run"].is_null() {
                assert!(!self.filled(step["with"]["key"].as_str().unwrap()).ends_with('-'), "a cache without a key");
                continue;
            }
            let code = self.step(step);
            if code != 0 {
                return code;
            }
        }
        0
    }

    /// One `run:` step, as the runner starts bash.
    fn step(&mut self, step: &Value) -> i32 {
        assert_eq!(step["shell"], "bash");
        let output = self.path("output");
        std::fs::write(&output, "").unwrap();
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-e", "-o", "pipefail", "-c"]).arg(step["run"].as_str().unwrap());
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command.env_clear().env("PATH", path).current_dir(self.repository.path());
        command.env("GITHUB_OUTPUT", &output).env("GITHUB_STEP_SUMMARY", self.path("summary.md"));
        for (name, value) in step["env"].as_mapping().unwrap() {
            command.env(name.as_str().unwrap(), self.filled(value.as_str().unwrap()));
        }
        let code = command.output().unwrap().status.code().unwrap();
        let id = step["id"].as_str().unwrap_or_default();
        for (name, value) in std::fs::read_to_string(&output).unwrap().lines().filter_map(|line| line.split_once('=')) {
            self.values.insert(format!("steps.{id}.outputs.{name}"), value.to_string());
        }
        code
    }

    /// Text with the value of each `${{ name }}` in its place.
    fn filled(&self, text: &str) -> String {
        let mut parts = text.split("${{");
        let mut filled = parts.next().unwrap().to_string();
        for part in parts {
            let (name, rest) = part.split_once("}}").unwrap();
            filled += self.values.get(name.trim()).unwrap_or_else(|| panic!("no value for {name}"));
            filled += rest;
        }
        filled
    }

    /// `a == 'x' && b != 'y'`; what no step has set is empty.
    fn holds(&self, condition: &str) -> bool {
        condition.split("&&").all(|part| {
            let (name, equal, text) = match part.split_once("==") {
                Some((name, text)) => (name, true, text),
                None => part.split_once("!=").map(|(name, text)| (name, false, text)).unwrap(),
            };
            let value = self.values.get(name.trim()).map_or("", String::as_str);
            (value == text.trim().trim_matches('\'')) == equal
        })
    }
}

#[test]
fn the_action_passes_and_fails_as_the_change_deserves() {
    let mut runner = Runner::new();
    runner.repository.branch("readme", |r| r.write("README.md", "the challenge, better said\n"));
    runner.repository.branch("bad", |r| {
        r.add_record(RECORD);
        r.write("README.md", "mine now\n");
    });
    // No release is pinned before there is one, so the first job builds.
    assert_eq!(runner.run("readme", &[]), 0);
    let all = [
        "Fetch golf-harness",
        "Name what a build depends on",
        "Look for an earlier build",
        "Build golf-harness",
        "Check the pull request",
    ];
    assert_eq!(runner.steps, all);
    let report = runner.path("temp/report").display().to_string();
    assert_eq!(runner.run("bad", &[("report", &report)]), 1);
    assert!(
        std::fs::read_to_string(runner.path("temp/report/report.txt"))
            .unwrap()
            .contains("touches_files_outside_folder")
    );
    assert!(std::fs::read_to_string(runner.path("summary.md")).unwrap().contains("touches_files_outside_folder"));
    assert_eq!(runner.run("readme", &[("source", "never")]), 2, "no release, and building is ruled out");
    assert_eq!(runner.steps, all[..1]);
}

#[test]
fn a_pinned_release_is_not_built() {
    let mut runner = Runner::new();
    let Some(release) = super::fetch::Release::new(&assert_cmd::cargo::cargo_bin("golf-harness")) else { return };
    std::fs::copy(release.path("prebuilt.txt"), runner.path("action/ci/gate/prebuilt.txt")).unwrap();
    runner.repository.branch("readme", |r| r.write("README.md", "the challenge, better said\n"));
    assert_eq!(runner.run("readme", &[]), 0);
    assert_eq!(runner.steps, ["Fetch golf-harness", "Check the pull request"]);
    release.pin(&"0".repeat(64));
    std::fs::copy(release.path("prebuilt.txt"), runner.path("action/ci/gate/prebuilt.txt")).unwrap();
    assert_eq!(runner.run("readme", &[]), 2);
    assert_eq!(runner.steps, ["Fetch golf-harness"]);
}
