//! Texts that people read where something was asked for or went wrong, in full.

use std::fmt::Write;

use crate::support::golf;

/// Standard output and error output of a command, run in a folder.
fn said(folder: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = golf("golf-harness").current_dir(folder).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Help as it is printed into a pipe. Where flags differ between builds and systems, of the one that has all.
#[test]
fn help_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let mut commands = vec!["verify", "pack", "doctor", "completions", "man"];
    if cfg!(target_os = "linux") {
        commands.push("rerun");
    }
    if cfg!(feature = "engine") {
        commands.extend(["train", "score", "reproduce"]);
    }
    for command in commands {
        let (code, out, err) = said(folder.path(), &[command, "--help"]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{command}");
        insta::assert_snapshot!(format!("help_{command}"), out);
    }
    if cfg!(feature = "engine") {
        insta::assert_snapshot!("help", said(folder.path(), &["--help"]).1);
    }
}

#[test]
fn what_a_config_file_cannot_mean() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    // Beside an audited manifest the file would be left out.
    std::fs::create_dir(folder.path().join("below")).unwrap();
    std::fs::write(folder.path().join("below/m.yaml"), "schema: golf-harness/manifest/v1\nname: m\n").unwrap();
    let mut text = String::new();
    for config in [
        "[verify]\nalow = []\n",
        "[very]\nallow = []\n",
        "[verify]\nallow = ['over_budge']\n",
        "[verify]\nallow = ['nothing_like_a_rule']\n",
        "[verify]\ntrack = '10min'\n",
        "[verify]\npolicy = 3\n",
        "[data\n",
    ] {
        std::fs::write(folder.path().join("golf-harness.toml"), config).unwrap();
        let (code, out, err) = said(folder.path(), &["verify", "below/m.yaml"]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{config}");
        let err = err.replace(&format!("{}/", path.display()), "").replace(&format!("{}\\", path.display()), "");
        writeln!(text, "{config}{err}").unwrap();
    }
    std::fs::remove_file(folder.path().join("golf-harness.toml")).unwrap();
    let (code, _, err) = said(folder.path(), &["verify", "below/m.yaml", "--config", "none.toml"]);
    assert_eq!(code, Some(2));
    // The system's own words differ.
    text += err.split(": ").take(2).collect::<Vec<_>>().join(": ").as_str();
    insta::assert_snapshot!(text);
}

#[test]
fn what_may_have_been_meant() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("key.yaml", "schema: golf-harness/manifest/v1\nname: m\nmodel: { num_layer: 3 }\n");
    write("claim.yaml", "schema: golf-harness/manifest/v1\nname: m\nclaim: { metrics: { val_bbp: 1.0 } }\n");
    write("good.yaml", "schema: golf-harness/manifest/v1\nname: m\n");
    let mut text = String::new();
    for line in [
        "verfy good.yaml",
        "verify good.yaml --polcy p.yaml",
        "verify good.yaml --format jsn",
        "verify good.yaml --allow over_budge",
        "verify --explain over_budge",
        "verify key.yaml",
        "verify claim.yaml",
        "pack good.yaml --codec zst",
        "pack good.yaml --set quantization.zstd_levl=3",
    ] {
        let (code, out, err) = said(folder.path(), &line.split(' ').collect::<Vec<_>>());
        assert_eq!((code, out.as_str()), (Some(2), ""), "{line}: {err}");
        writeln!(text, "$ golf-harness {line}\n{err}").unwrap();
    }
    insta::assert_snapshot!(text);
}
