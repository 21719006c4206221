//! Scoring and rerunning a pull request at the commit that a maintainer has looked at, and at no other.

use std::path::{Path, PathBuf};
use std::process::Output;

use super::hostile::record;
use super::{RECORD, Repository, script, shell_program};

/// A repository with pull request 7, a maintainer's clone of it, and a program that says how it was called.
struct Scene {
    repository: Repository,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(entries: &[super::hostile::Entry]) -> Scene {
        let scene = Scene { repository: Repository::new(), folder: tempfile::tempdir().unwrap() };
        scene.repository.import("seven", "main", entries);
        scene.repository.git(&["update-ref", "refs/pull/7/head", "seven"]);
        scene.repository.git(&["clone", "-q", ".", scene.path("clone").to_str().unwrap()]);
        shell_program(&scene.path("golf-harness"), r#"printf '%s\n' "$@"; exit "${CODE:-0}""#);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn recheck(&self, others: &[(&str, &str)]) -> Output {
        let _ = std::fs::remove_dir_all(self.path("work"));
        script("recheck/recheck.sh")
            .current_dir(self.path("clone"))
            .env("GATE_PROGRAM", self.path("golf-harness"))
            .env("WORK", self.path("work"))
            .env("COMMIT", self.repository.git(&["rev-parse", "seven"]))
            .envs([("RECHECK", "rerun"), ("PULL_REQUEST", "7"), ("RECORD", RECORD)])
            .envs(others.iter().copied())
            .output()
            .unwrap()
    }

    fn refuses(&self, others: &[(&str, &str)], words: &str) {
        let output = self.recheck(others);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(2), "{others:?}: {said}");
        assert!(said.starts_with("::error title=recheck::") && said.contains(words), "{others:?}: {said}");
        assert!(!self.path("work/report").exists(), "{others:?}: something was started");
    }
}

fn file(name: &str, content: &[u8]) -> super::hostile::Entry {
    ("100644", format!("{RECORD}/{name}").into_bytes(), content.to_vec())
}

#[test]
fn the_folder_is_taken_out_byte_for_byte_and_the_exit_code_handed_on() {
    // Attributes that would change or hide files of a checkout or an archive.
    let attributes = b"*.py ident text eol=crlf export-subst\nhidden.log export-ignore\n";
    let code = b"import torch\n# $Id$ $Format:%H$\n";
    let entries = [
        record(RECORD.as_bytes()),
        vec![
            file(".gitattributes", attributes),
            file("a.py", code),
            file("hidden.log", b"x\r\n"),
            file("new\nline", b""),
        ],
    ]
    .concat();
    let scene = Scene::new(&entries);
    let output = scene.recheck(&[("SEEDS", "1,2,3"), ("DATA_PATH", "/d"), ("TOKENIZER_PATH", "/t"), ("CODE", "1")]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for (_, path, content) in &entries {
        let path = scene.path("work/submission").join(std::str::from_utf8(path).unwrap());
        assert_eq!(&std::fs::read(&path).unwrap(), content, "{}", path.display());
    }
    let called: Vec<&str> = said.lines().collect();
    assert_eq!(called[0], "rerun");
    assert!(Path::new(called[1]).ends_with(RECORD), "{said}");
    assert_eq!(called[3..], ["--seeds=1,2,3", "--data-path=/d", "--tokenizer-path=/t"]);
    assert_eq!(std::fs::read_to_string(scene.path("work/report/report.txt")).unwrap(), said);
}

#[test]
fn scoring_needs_a_manifest_in_the_folder() {
    let scene = Scene::new(&record(RECORD.as_bytes()));
    scene.refuses(&[("RECHECK", "score")], "verify --init");
    let scene = Scene::new(&[record(RECORD.as_bytes()), vec![file("manifest.yaml", b"x")]].concat());
    let output = scene.recheck(&[("RECHECK", "score")]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.starts_with("score\n") && said.contains("/manifest.yaml\n"), "{said}");
}

#[test]
fn a_pull_request_that_moved_on_is_refused() {
    let scene = Scene::new(&record(RECORD.as_bytes()));
    let seen = scene.repository.git(&["rev-parse", "seven"]);
    scene.repository.import("eight", "seven", &[file("train_gpt.py", b"import os\n")]);
    scene.repository.git(&["update-ref", "refs/pull/7/head", "eight"]);
    scene.refuses(&[("COMMIT", &seen)], "look at it again");
}

#[test]
fn arguments_that_are_no_arguments_are_refused() {
    let scene = Scene::new(&record(RECORD.as_bytes()));
    for (name, value, words) in [
        ("RECORD", "../elsewhere", "inside of the repository"),
        ("RECORD", "records/../../x", "inside of the repository"),
        ("RECORD", "/etc", "inside of the repository"),
        ("RECORD", "-x", "inside of the repository"),
        ("RECORD", "records/none", "no folder of this commit"),
        ("RECORD", ":(glob)records/**", "no folder of this commit"),
        ("MANIFEST", "../../m.yaml", "inside of the record folder"),
        ("PULL_REQUEST", "7:refs/heads/x", "no number"),
        ("PULL_REQUEST", "8", "cannot be fetched"),
        ("COMMIT", "main", "40 digits"),
        ("SEEDS", "1 --sandbox=none", "a list such as"),
        ("RECHECK", "train", "neither score nor rerun"),
    ] {
        scene.refuses(&[(name, value)], words);
    }
}

#[test]
fn links_and_submodules_are_refused() {
    let link = ("120000", format!("{RECORD}/train.log").into_bytes(), b"/etc/passwd".to_vec());
    let module = ("160000", format!("{RECORD}/sub").into_bytes(), [b'1'; 40].to_vec());
    for entry in [link, module] {
        let scene = Scene::new(&[record(RECORD.as_bytes()), vec![entry]].concat());
        scene.refuses(&[], "a link or a submodule");
    }
}
