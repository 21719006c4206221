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
