//! What maintainers copy is what was meant: pinned, without secrets, without a write token near a stranger's code.

use std::path::{Path, PathBuf};

use serde_yaml::Value;

use crate::support::{filtered, golf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn yaml(name: &str) -> Value {
    serde_yaml::from_str(&std::fs::read_to_string(path(name)).unwrap()).unwrap()
}

/// Steps of all jobs of a workflow, or of an action.
fn steps(document: &Value) -> Vec<&Value> {
    let jobs = document["jobs"].as_mapping().into_iter().flat_map(|jobs| jobs.values());
    let lists = jobs.map(|job| &job["steps"]).chain([&document["runs"]["steps"]]);
    lists.filter_map(Value::as_sequence).flatten().collect()
}

fn text(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap()
}

const EXAMPLES: [&str; 4] = [
    "ci/gate/examples/gate.yml",
    "ci/gate/examples/comment.yml",
    "ci/gate/examples/recheck.yml",
    "ci/gate/examples/sarif.yml",
];
const ACTIONS: [&str; 3] = ["action.yml", "ci/gate/comment/action.yml", "ci/gate/recheck/action.yml"];

#[test]
fn every_action_is_pinned_to_a_commit() {
    for name in EXAMPLES.iter().chain(&ACTIONS) {
        let document = yaml(name);
        for step in steps(&document).into_iter().filter(|step| !step["uses"].is_null()) {
            let (_, pin) = step["uses"].as_str().unwrap().split_once('@').unwrap();
            assert!(pin.len() == 40 && pin.bytes().all(|b| b.is_ascii_hexdigit()), "{name}: {pin}");
        }
    }
}

#[test]
fn no_expression_is_text_of_a_script() {
    for name in EXAMPLES.iter().chain(&ACTIONS) {
        for step in steps(&yaml(name)) {
            let run = step["run"].as_str().unwrap_or_default();
            assert!(!run.contains("${{"), "{name}: {run}");
        }
    }
}

#[test]
fn what_runs_beside_a_submission_cannot_write() {
    let gate = yaml("ci/gate/examples/gate.yml");
    assert_eq!(text(&gate["permissions"]), "contents: read\n");
    assert!(gate["jobs"].as_mapping().unwrap().values().all(|job| job["permissions"].is_null()));
    let triggers = text(&gate["on"]);
    assert!(triggers.contains("pull_request:") && triggers.contains("records/**"), "{triggers}");
    let recheck = yaml("ci/gate/examples/recheck.yml");
    assert_eq!(text(&recheck["jobs"]["recheck"]["permissions"]), "contents: read\n");
    assert_eq!(recheck["on"].as_mapping().unwrap().len(), 1, "only by hand");
    assert!(!recheck["on"]["workflow_dispatch"].is_null());
    for name in EXAMPLES {
        let text = std::fs::read_to_string(path(name)).unwrap();
        assert!(!text.contains("secrets."), "{name}");
        assert!(yaml(name)["on"]["pull_request_target"].is_null(), "{name}");
        for step in steps(&yaml(name)) {
            let checkout = step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/checkout@"));
            assert!(!checkout || step["with"]["persist-credentials"] == Value::Bool(false), "{name}");
        }
    }
    let writes = |name: &str| steps(&yaml(name)).iter().any(|step| text(step).contains("actions/checkout"));
    assert!(!writes("ci/gate/examples/comment.yml"), "the job with a token checks nothing out");
}

#[test]
fn examples_use_inputs_that_the_actions_have() {
    for name in EXAMPLES {
        for step in steps(&yaml(name)) {
            let uses = step["uses"].as_str().unwrap_or_default();
            let Some(folder) = uses.strip_prefix("OWNER/golf-harness").and_then(|rest| rest.split('@').next()) else {
                continue;
            };
            let action = yaml(format!("{}/action.yml", folder.trim_start_matches('/')).trim_start_matches('/'));
            let given: Vec<&str> =
                step["with"].as_mapping().into_iter().flat_map(|with| with.keys()).filter_map(Value::as_str).collect();
            for input in &given {
                assert!(!action["inputs"][*input].is_null(), "{name}: {uses} has no input {input}");
            }
            for (input, described) in action["inputs"].as_mapping().unwrap() {
                let needed = described["required"] == Value::Bool(true);
                assert!(!needed || given.contains(&input.as_str().unwrap()), "{name}: {uses} needs {input:?}");
            }
        }
    }
}

#[test]
fn scripts_read_every_variable_that_the_actions_set() {
    for (action, scripts) in [
        ("action.yml", &["ci/gate/fetch.sh", "ci/gate/gate.sh"][..]),
        ("ci/gate/comment/action.yml", &["ci/gate/comment/comment.sh"]),
        ("ci/gate/recheck/action.yml", &["ci/gate/fetch.sh", "ci/gate/recheck/recheck.sh"]),
    ] {
        let scripts: String = scripts.iter().map(|name| std::fs::read_to_string(path(name)).unwrap()).collect();
        for step in steps(&yaml(action)) {
            let run = step["run"].as_str().unwrap_or_default();
            for name in step["env"].as_mapping().into_iter().flat_map(|env| env.keys()).filter_map(Value::as_str) {
                let read = |text: &str| text.contains(&format!("${name}")) || text.contains(&format!("${{{name}"));
                let looped = scripts.lines().any(|line| line.starts_with("for name in") && line.contains(name));
                assert!(read(run) || read(&scripts) || looped || name == "GH_TOKEN", "{action}: nothing reads {name}");
            }
        }
    }
}

/// What stands between fences of this language on a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path(page)).unwrap();
    let parts: Vec<&str> = text.split("\n```").collect();
    let opened = parts.iter().skip(1).step_by(2);
    opened.filter_map(|part| part.strip_prefix(language)?.strip_prefix('\n')).map(str::to_string).collect()
}

#[test]
fn the_short_form_on_both_pages_is_the_core_of_the_example() {
    let example = yaml("ci/gate/examples/gate.yml");
    for page in ["README.md", "docs/gate.md"] {
        let short: Value = serde_yaml::from_str(&blocks(page, "yaml")[0]).unwrap();
        assert_eq!(short["on"], example["on"], "{page}");
        assert_eq!(short["permissions"], example["permissions"], "{page}");
        assert_eq!(short["jobs"]["gate"]["runs-on"], example["jobs"]["gate"]["runs-on"], "{page}");
        for (step, whole) in steps(&short).into_iter().zip(steps(&example)) {
            assert_eq!(step["uses"], whole["uses"], "{page}");
            assert!(step["with"].is_null() || step["with"] == whole["with"], "{page}");
        }
    }
}

#[test]
fn the_commands_of_the_page_run() {
    let repository = super::Repository::new();
    repository.branch("topic", |r| r.add_record(super::RECORD));
    repository.git(&["update-ref", "refs/remotes/origin/main", "main"]);
    repository.git(&["checkout", "-q", "topic"]);
    let mut ran = 0;
    for block in blocks("docs/gate.md", "") {
        for line in block.lines().filter(|line| line.starts_with("golf-harness ")) {
            let words = line.split('#').next().unwrap().split_whitespace().skip(1);
            let words = words.map(|word| word.replace("BASE", "origin/main"));
            let output = golf("golf-harness").current_dir(repository.path()).args(words).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(matches!(output.status.code(), Some(0 | 1)), "{line}: {said}");
            ran += 1;
        }
    }
    assert!(ran >= 4, "{ran}");
}

#[test]
fn the_first_screen_shows_what_the_program_says() {
    let block = blocks("README.md", "").into_iter().find(|block| block.starts_with("$ golf-harness")).unwrap();
    let (command, shown) = block.split_once('\n').unwrap();
    let words = command.split_whitespace().skip(2);
    let output = golf("golf-harness").current_dir(path("")).args(words).output().unwrap();
    // How many rules there are is not what the page is about.
    let counts = [(r"(?m)^\d+ pass, 0 notes, \d+ unknown", "N pass, 0 notes, N unknown")];
    let said = filtered(&String::from_utf8(output.stdout).unwrap(), &counts);
    assert_eq!(filtered(shown, &counts).trim_end(), said.trim_end());
}

/// Runners take JavaScript's expressions; these few mean the same everywhere.
#[test]
fn the_problem_matcher_finds_failures_warnings_and_errors() {
    let matchers: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path("ci/gate/problem-matcher.json")).unwrap()).unwrap();
    let run = |folder: &str| {
        let output = golf("verify").arg(path("fixtures/submissions").join(folder)).output().unwrap();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat()
    };
    let said = run("damaged") + &run("wrong-denominator") + &run("none");
    let lines: Vec<&str> = said.lines().collect();
    let matched = |owner: &str| -> Vec<Vec<String>> {
        let matcher = matchers["problemMatcher"].as_array().unwrap().iter().find(|m| m["owner"] == owner).unwrap();
        let patterns: Vec<regex_lite::Regex> = matcher["pattern"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pattern| regex_lite::Regex::new(pattern["regexp"].as_str().unwrap()).unwrap())
            .collect();
        let found = lines.windows(patterns.len()).filter_map(|window| {
            let groups = patterns.iter().zip(window).map(|(pattern, line)| pattern.captures(line));
            let groups: Option<Vec<_>> = groups.collect();
            let texts = groups?
                .iter()
                .flat_map(|c| c.iter().skip(1).map(|m| m.map_or("", |m| m.as_str()).to_string()).collect::<Vec<_>>())
                .collect();
            Some(texts)
        });
        found.collect()
    };
    assert!(matched("golf-harness")[0][0].contains("No such file"), "{said}");
    let fails = matched("golf-harness-fail");
    let wrong = fails.iter().find(|groups| groups[0] == "implied_val_bytes_wrong").unwrap();
    assert_eq!((wrong[2].as_str(), wrong[3].as_str()), ("train_seed1337.log", "16"));
    let warnings = matched("golf-harness-warning");
    assert!(warnings.iter().any(|groups| groups[0] == "readme_too_short" && groups[2] == "README.md"), "{warnings:?}");
}
