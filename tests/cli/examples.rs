//! Every command in `--help`, README and docs is one that the program understands; those in `--help` run as they stand.

mod shell;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use clap::{CommandFactory, Parser};
use golf_harness::cli::program;
use shell::Line;

use crate::support::golf;

/// Narrow enough for every terminal.
const COLUMNS: usize = 80;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the definitions of the commands say to a line, which may start the program or one that holds one command.
fn parses(line: &Line) -> Result<(), String> {
    let words = match line.words[0].as_str() {
        "golf-harness" => line.words.clone(),
        command => [&["golf-harness".to_string(), command.to_string()], &line.words[1..]].concat(),
    };
    match program::Args::try_parse_from(words) {
        Ok(_) => Ok(()),
        Err(error) if !error.use_stderr() => Ok(()),
        Err(error) => Err(format!("{}: `{}`\n{error}", line.place, line.words.join(" "))),
    }
}

/// Examples of a command and of all below it.
fn examples(command: &clap::Command, lines: &mut Vec<Line>) {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    lines.extend(shell::lines(&help, command.get_name()));
    command.get_subcommands().for_each(|below| examples(below, lines));
}

fn all_examples() -> Vec<Line> {
    let mut lines = Vec::new();
    examples(&program::Args::command(), &mut lines);
    lines
}

#[test]
fn every_example_of_every_help_is_understood() {
    let lines = all_examples();
    let of = |command: &str| lines.iter().filter(|line| line.words.get(1).is_some_and(|word| word == command)).count();
    for command in ["verify", "pack", "rerun", "doctor", "completions", "man"] {
        assert!(of(command) > 0, "{command} has no example");
    }
    let wrong: Vec<String> = lines.iter().filter_map(|line| parses(line).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Name and text of every page that has commands.
fn pages() -> Vec<(String, String)> {
    let mut pages = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    pages.extend(std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    let named = |page: PathBuf| {
        let name = page.strip_prefix(root()).unwrap().display().to_string();
        (name, std::fs::read_to_string(page).unwrap())
    };
    pages.into_iter().map(named).collect()
}

#[test]
fn every_command_in_readme_and_docs_is_understood() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for (name, page) in pages() {
        for line in shell::lines(&shell::fenced(&page), &name) {
            count += 1;
            wrong.extend(parses(&line).err());
        }
    }
    assert!(count > 20, "{count} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_line_of_an_example_is_wrapped() {
    let mut command = program::Args::command().term_width(COLUMNS);
    command.build();
    for below in command.get_subcommands_mut() {
        let help = below.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<&str> = help.lines().filter(|line| line.starts_with("  ")).collect();
        let shown = below.render_long_help().to_string();
        let shown: Vec<&str> = shown.lines().collect();
        for line in examples {
            assert!(shown.contains(&line), "{}: `{line}` is wrapped", below.get_name());
        }
    }
}

/// What a clean clone has, where examples may leave what they write.
struct Clone(tempfile::TempDir);

impl Clone {
    fn new() -> Self {
        let clone = Clone(tempfile::tempdir().unwrap());
        for folder in ["manifests", "fixtures/submissions", "fixtures/smoke", "fixtures/fuzz/artifact"] {
            copy(&root().join(folder), &clone.0.path().join(folder));
        }
        let model = Path::new("fixtures/reference/export_model.ptz");
        std::fs::create_dir_all(clone.0.path().join("fixtures/reference")).unwrap();
        std::fs::copy(root().join(model), clone.0.path().join(model)).unwrap();
        clone.git(&["init", "-q", "-b", "main"]);
        for message in ["first", "second"] {
            std::fs::write(clone.0.path().join("README.md"), message).unwrap();
            clone.git(&["add", "."]);
            clone.git(&["commit", "-q", "-m", message]);
        }
        clone
    }

    /// With what the names in the docs stand for.
    fn of_docs() -> Self {
        let clone = Self::new();
        let good = root().join("fixtures/submissions/good");
        for name in ["FOLDER", "records/track_10min_16mb/NAME"] {
            copy(&good, &clone.0.path().join(name));
        }
        for (from, to) in
            [("fixtures/reference/export_model.ptz", "final_model.int8.ptz"), ("manifests/board.yaml", "BOARD.yaml")]
        {
            std::fs::copy(root().join(from), clone.0.path().join(to)).unwrap();
        }
        // An earlier report, as the page of the site has it.
        let earlier = golf("verify").current_dir(&clone.0).args(["records", "--json"]).output().unwrap();
        std::fs::write(clone.0.path().join("old.json"), earlier.stdout).unwrap();
        clone.git(&["tag", "BASE", "HEAD~1"]);
        clone.git(&["update-ref", "refs/remotes/origin/main", "HEAD~1"]);
        clone
    }

    fn git(&self, arguments: &[&str]) {
        let who = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let status = std::process::Command::new("git").current_dir(&self.0).args(who).args(arguments).status();
        assert!(status.unwrap().success(), "git {arguments:?}");
    }

    /// Runs an example to its end: 0 and 1 are answers, 2 is none.
    fn run(&self, line: &Line) -> Option<i32> {
        let mut command: Command = golf(&line.words[0]);
        // Small enough for a test: two steps in place of 160.
        command.env("ITERATIONS", "2").current_dir(&self.0).args(&line.words[1..]);
        let output = command.output().unwrap();
        let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(matches!(output.status.code(), Some(0 | 1)), "`{}`\n{out}{err}", line.words.join(" "));
        output.status.code()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry: PathBuf = entry.unwrap().path();
        let to = to.join(entry.file_name().unwrap());
        match entry.is_dir() {
            true => copy(&entry, &to),
            false => assert!(std::fs::copy(&entry, &to).is_ok(), "{}", to.display()),
        }
    }
}

/// Examples of these commands that start with `golf-harness` itself.
fn runnable(commands: &[&str]) -> Vec<Line> {
    let mut lines = all_examples();
    lines.retain(|line| line.is_alone && commands.contains(&line.words[1].as_str()));
    lines
}

#[test]
fn examples_run_from_a_clean_clone_as_they_stand() {
    let clone = Clone::new();
    let lines = runnable(&["verify", "pack", "doctor", "completions", "man"]);
    // Those of a run stand below, where a run can be made.
    let (of_a_run, others): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line.words.iter().any(|word| word.starts_with("runs/")));
    assert!(!of_a_run.is_empty() && others.len() > 10, "{others:?}");
    others.into_iter().for_each(|line| {
        clone.run(line);
    });
}

/// What somebody tries first is no failure.
#[test]
fn the_first_example_of_a_help_ends_well() {
    let clone = Clone::new();
    for command in ["verify", "pack", "doctor", "completions", "man"] {
        let first = runnable(&[command]).remove(0);
        assert_eq!(clone.run(&first), Some(0), "`{}`", first.words.join(" "));
    }
    let lines = runnable(&["verify"]);
    let told = lines.iter().find(|line| line.words.iter().any(|word| word.ends_with("pr-286.yaml"))).unwrap();
    assert_eq!(clone.run(told), Some(0));
}

#[test]
fn commands_of_readme_and_docs_that_only_look_run_as_they_stand() {
    let clone = Clone::of_docs();
    let looks = |line: &&Line| {
        let has = |name: &str| line.words.iter().any(|word| word == name);
        has("verify") || has("doctor") || has("--inspect")
    };
    let mut lines = Vec::new();
    for (name, page) in pages() {
        lines.extend(shell::lines(&shell::fenced(&page), &name));
    }
    let lines: Vec<&Line> = lines.iter().filter(|line| line.is_alone).filter(looks).collect();
    assert!(lines.len() > 10, "{lines:?}");
    lines.into_iter().for_each(|line| {
        clone.run(line);
    });
}

#[test]
fn examples_of_plans_run_where_there_is_python() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: python3 is not on this machine");
        return;
    }
    let clone = Clone::new();
    let mut lines = runnable(&["rerun"]);
    lines.retain(|line| line.words.iter().any(|word| word == "--plan"));
    assert!(lines.len() > 3, "{lines:?}");
    lines.iter().for_each(|line| {
        clone.run(line);
    });
}

#[cfg(feature = "engine")]
#[test]
fn examples_that_compute_run_one_after_the_other() {
    let clone = Clone::new();
    let needs_more = |line: &Line| line.words.iter().any(|word| word.contains("pr-286") || word == "--fit");
    for commands in [["train", ""], ["pack", "score"]] {
        let lines = runnable(&commands);
        let of_a_run = |line: &&Line| {
            commands[0] == "train" || line.words.iter().any(|word| word.starts_with("runs/") || word == "merge")
        };
        assert!(lines.len() > 3, "{lines:?}");
        lines.iter().filter(of_a_run).filter(|line| !needs_more(line)).for_each(|line| {
            clone.run(line);
        });
    }
}
