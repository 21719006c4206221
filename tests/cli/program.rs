//! `golf-harness`: the same commands, in one program.

use crate::support::{fixture, golf};

/// Exit code, standard output and error output of a program.
fn run(program: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = golf(program).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Holds what `golf-harness COMMAND ...` does against what `COMMAND ...` does.
fn assert_same(command: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let inside = run("golf-harness", &[&[command], arguments].concat());
    assert_eq!(inside, run(command, arguments), "{command} {arguments:?}");
    inside
}

#[test]
fn a_command_of_the_program_does_what_the_command_alone_does() {
    let folder = fixture("submissions");
    let folder = folder.to_str().unwrap();
    // Without --in-process every folder is read by a worker, which is the program itself, started again.
    let (code, out, _) = assert_same("verify", &["--json", folder]);
    assert_eq!(code, Some(1));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(report["reports"].as_array().unwrap().len() > 1, "{out}");
    assert!(!out.contains("not_audited"), "{out}");

    assert_same("verify", &["--explain", "over_budget"]);
    assert_same("verify", &["no/such/folder"]);
    assert_same("pack", &["--inspect", "Cargo.toml"]);
    assert_same("rerun", &["--plan", "no/such/folder"]);
}

#[test]
fn a_build_without_engines_says_which_build_has_a_command() {
    for command in ["train", "score", "reproduce"] {
        let (code, out, err) = run("golf-harness", &[command, "no/such/manifest.yaml", "--threads", "1"]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        let is_absent = err.contains("feature `engine`");
        assert_eq!(is_absent, cfg!(not(feature = "engine")), "{err}");
        assert!(is_absent || err.contains("no/such/manifest.yaml"), "{err}");
    }
}

#[test]
fn the_doctor_answers_for_every_command_and_says_what_it_read() {
    let (code, out, _) = run("golf-harness", &["doctor", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &found["schema"]), (Some(0), &"golf-harness/doctor/v1".into()));
    let commands = found["commands"].as_array().unwrap();
    let names: Vec<&str> = commands.iter().map(|command| command["command"].as_str().unwrap()).collect();
    assert_eq!(names, ["verify", "pack", "train", "score", "reproduce", "rerun"]);
    assert_eq!(commands[2]["state"] == "unavailable", cfg!(not(feature = "engine")));

    // An interpreter that is not there is no reason to stop, and reruns need one.
    let (code, out, _) = run("golf-harness", &["doctor", "--python", "/no/such/python"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("python       none: /no/such/python: "), "{out}");
    assert!(cfg!(not(target_os = "linux")) || out.contains("rerun        unavailable\n"), "{out}");
}

#[test]
fn the_version_names_what_decides_bytes_and_verdicts() {
    let (_, short, _) = run("golf-harness", &["-V"]);
    assert_eq!(short, format!("golf-harness {}\n", env!("CARGO_PKG_VERSION")));
    let (_, long, _) = run("golf-harness", &["--version"]);
    let names: Vec<&str> = long.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["commit", "source", "build", "zstd", "rulebook"], "{long}");
    assert!(long.contains("10min_16mb of 20"), "{long}");
    let (_, of_verify, _) = run("verify", &["--version"]);
    assert_eq!(of_verify.split_once(' ').unwrap().1, long.split_once(' ').unwrap().1);
}

/// Whether a shell is on this machine; says so if it is not.
#[cfg(unix)]
fn has_shell(name: &str) -> bool {
    let is_there = std::process::Command::new(name).arg("--version").output().is_ok();
    if !is_there {
        eprintln!("skipped: {name} is not on this machine");
    }
    is_there
}

/// What a shell prints that runs this text with completions in the file `$1`.
#[cfg(unix)]
fn shell(name: &str, text: &str, completions: &std::path::Path) -> String {
    let output = std::process::Command::new(name).arg("-c").arg(text).arg(name).arg(completions).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success() && err.is_empty(), "{name}: {out}{err}");
    out
}

#[cfg(unix)]
#[test]
fn completions_load_and_complete_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let (code, script, err) = run("golf-harness", &["completions", name]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let path = folder.path().join(name);
        std::fs::write(&path, script).unwrap();
        path
    };
    if has_shell("bash") {
        let text = "source \"$1\"; COMP_WORDS=(golf-harness verify --expl); COMP_CWORD=2; \
                    _golf__harness golf-harness --expl verify; echo \"${COMPREPLY[@]}\"";
        assert_eq!(shell("bash", text, &file("bash")), "--explain\n");
    }
    if has_shell("zsh") {
        assert_eq!(shell("zsh", "zsh -n \"$1\"", &file("zsh")), "");
    }
    if has_shell("fish") {
        let text = "source $argv[-1]; complete --do-complete 'golf-harness verify --expl'";
        assert!(shell("fish", text, &file("fish")).starts_with("--explain\t"));
    }
    assert!(std::fs::read_to_string(file("powershell")).unwrap().contains("Register-ArgumentCompleter"));
}

#[test]
fn every_command_has_a_page_and_examples_keep_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("man1");
    let (code, out, err) = run("golf-harness", &["man", man.to_str().unwrap()]);
    assert_eq!((code, out.lines().count(), err.as_str()), (Some(0), std::fs::read_dir(&man).unwrap().count(), ""));
    for page in ["golf-harness.1", "golf-harness-verify.1", "golf-harness-rerun.1", "golf-harness-doctor.1"] {
        let text = std::fs::read_to_string(man.join(page)).unwrap();
        assert!(text.contains("\n.TH golf-harness"), "{text}");
        assert!(text.contains(".nf\nExamples:\n  golf\\-harness "), "{text}");
    }
    // Pages are made anew; a file that is no page stays.
    assert_eq!(run("golf-harness", &["man", man.to_str().unwrap()]).0, Some(0));
    std::fs::write(man.join("golf-harness.1"), "notes").unwrap();
    let (code, _, err) = run("golf-harness", &["man", man.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(err.contains("golf-harness.1"), "{err}");
}

#[test]
fn numbers_below_zero_and_files_in_place_of_folders_are_named_by_their_flag() {
    let file = fixture("smoke/README.md");
    let file = file.to_str().unwrap();
    let said = |arguments: &[&str]| {
        let (code, out, err) = run("golf-harness", arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        err
    };
    let folder = fixture("submissions/runnable");
    let folder = folder.to_str().unwrap();
    let err = said(&["rerun", folder, "--seeds", "-5"]);
    assert!(err.starts_with("error: invalid value '-5' for '--seeds <SEED,...>': must be 0 or more\n"), "{err}");
    let err = said(&["rerun", folder, "--tolerance", "-0.1"]);
    assert!(err.contains("'--tolerance <BPB>': must be 0 or more\n"), "{err}");
    let err = said(&["pack", "manifests/smoke.yaml", "--out", file]);
    assert_eq!(err, format!("error: --out {file} is a file, not a folder\n"));
    let err = said(&["rerun", folder, "--seeds", "1", "--out", file]);
    assert_eq!(err, format!("error: --out {file} is a file, not a folder\n"));
    let err = said(&["verfy"]);
    assert!(err.contains("a similar subcommand exists: 'verify'"), "{err}");
    let err = said(&["verify", "--allow", "over_budge", folder]);
    assert!(err.contains("did you mean `over_budget`?"), "{err}");
    let err = said(&["verify", "--allow", "zzzzzzzzzzzz", folder]);
    assert!(err.contains("`verify --rules` lists them all"), "{err}");
}

#[test]
fn color_is_that_of_the_flag_then_of_the_environment() {
    let has_color = |arguments: &[&str], variable: Option<(&str, &str)>| {
        let mut command = golf("golf-harness");
        command.env_remove("NO_COLOR").envs(variable).args(arguments);
        let output = command.output().unwrap();
        [output.stdout, output.stderr].concat().contains(&0x1b)
    };
    // The help, an error of the command line, an error of a command, a result.
    let folder = fixture("submissions/best-seed");
    let folder = folder.to_str().unwrap();
    for arguments in [&["verify", "--help"][..], &["verify", "--nosuch"], &["pack", "nosuch"], &["verify", folder]] {
        let with = |flag: &'static str| [arguments, &["--color", flag]].concat();
        assert!(!has_color(arguments, None), "{arguments:?}: a pipe is no terminal");
        assert!(has_color(arguments, Some(("CLICOLOR_FORCE", "1"))), "{arguments:?}");
        assert!(has_color(&with("always"), Some(("NO_COLOR", "1"))), "{arguments:?}");
        assert!(!has_color(&with("never"), Some(("CLICOLOR_FORCE", "1"))), "{arguments:?}");
    }
}

#[test]
fn documents_begin_with_their_schema_and_progress_is_a_line_an_event() {
    let model = fixture("reference/export_model.ptz");
    let (_, out, _) = run("golf-harness", &["pack", "--json", "--inspect", model.to_str().unwrap()]);
    let first = |out: &str| {
        let document: serde_json::Map<String, serde_json::Value> = serde_json::from_str(out).unwrap();
        document.into_iter().next().unwrap()
    };
    assert_eq!(first(&out), ("schema".to_string(), "golf-harness/inspection/v1".into()));
    let folder = fixture("submissions/good");
    let arguments = ["verify", "--json", "--progress", "json", folder.to_str().unwrap()];
    let (code, out, err) = run("golf-harness", &arguments);
    assert_eq!((code, first(&out)), (Some(0), ("schema".to_string(), "golf-harness/audit/v1".into())));
    let events: Vec<serde_json::Value> = err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.len() >= 2 && events.iter().all(|event| event["schema"] == "golf-harness/progress/v1"), "{err}");
    assert_eq!((&events[0]["event"], &events[events.len() - 1]["event"]), (&"begin".into(), &"end".into()));
}
