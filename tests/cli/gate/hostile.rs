//! The gate on repositories that are made to mislead it: what is there must be found, said, and never run.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{OLD_RECORD, RECORD, Repository, found, gate};
use crate::support::golf;

/// What a test hands in as content.
const README: &[u8] = b"# A record\n";
const SCRIPT: &[u8] = b"import torch\n";
const CLAIM: &[u8] = b"{\"val_bpb\": 1.2}\n";

/// An entry of a commit: mode, path as bytes, content.
pub type Entry = (&'static str, Vec<u8>, Vec<u8>);

pub fn record(folder: &[u8]) -> Vec<Entry> {
    let file = |name: &str, content: &[u8]| ("100644", [folder, b"/", name.as_bytes()].concat(), content.to_vec());
    vec![file("README.md", README), file("train_gpt.py", SCRIPT), file("submission.json", CLAIM)]
}

impl Repository {
    /// A branch off `from` with these entries added, whatever their names: through `git fast-import`.
    pub fn import(&self, branch: &str, from: &str, entries: &[Entry]) {
        let quoted = |path: &[u8]| path.iter().map(|byte| format!("\\{byte:03o}")).collect::<String>();
        let mut stream = format!(
            "commit refs/heads/{branch}\ncommitter t <t@example.org> 1700000000 +0000\ndata 1\nx\nfrom {from}\n"
        )
        .into_bytes();
        for (mode, path, content) in entries {
            if *mode == "160000" {
                let id = String::from_utf8(content.clone()).unwrap();
                stream.extend(format!("M 160000 {id} \"{}\"\n", quoted(path)).bytes());
            } else {
                stream.extend(format!("M {mode} inline \"{}\"\ndata {}\n", quoted(path), content.len()).bytes());
                stream.extend(content);
                stream.push(b'\n');
            }
        }
        let mut child = Command::new("git")
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .args(["fast-import", "--quiet"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&stream).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Rules that a report of the branch's audit names at this severity.
    fn rules(audit: &serde_json::Value, report: usize, severity: &str) -> Vec<String> {
        let findings = audit["reports"][report]["findings"].as_array().unwrap();
        let rules = findings.iter().filter(|finding| finding["severity"] == severity);
        rules.map(|finding| finding["rule"].as_str().unwrap().to_string()).collect()
    }

    /// What `verify FOLDER` says about the same files outside a repository.
    fn as_folder(folder: &[u8], entries: &[Entry]) -> serde_json::Value {
        use std::os::unix::ffi::OsStrExt;
        let place = tempfile::tempdir().unwrap();
        for (_, path, content) in entries {
            let path = place.path().join(std::ffi::OsStr::from_bytes(path));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let output =
            golf("verify").arg("--json").arg(place.path().join(std::ffi::OsStr::from_bytes(folder))).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn odd_names_are_judged_as_they_are_in_a_tree() {
    let repository = Repository::new();
    for (i, name) in [
        &b"2026-04-01_plain"[..],
        b"2026:04:01",
        b"back\\slash",
        b"tab\there",
        b"new\nline",
        b"not\xff\xfeutf8",
        b"-dash",
        b"--output=x",
        b"glob*[a]?",
        b":(exclude)x",
        "\u{202e}reversed".as_bytes(),
        b" space ",
    ]
    .into_iter()
    .enumerate()
    {
        let folder = [b"records/track_10min_16mb/", name].concat();
        let entries = record(&folder);
        let branch = format!("odd{i}");
        repository.import(&branch, "main", &entries);
        let (code, audit) = repository.audit(&branch);
        assert_eq!(repository.verify(&branch).1, [], "{}", String::from_utf8_lossy(name));
        let tree = Repository::as_folder(&folder, &entries);
        for severity in ["fail", "warning", "review", "unknown", "note"] {
            let there = Repository::rules(&tree, 0, severity);
            assert_eq!(Repository::rules(&audit, 1, severity), there, "{}", String::from_utf8_lossy(name));
        }
        assert!(matches!(code, 0 | 1));
    }
}

#[test]
fn files_with_odd_names_are_read_and_impossible_ones_fail() {
    let repository = Repository::new();
    let file = |name: &[u8]| ("100644", [RECORD.as_bytes(), b"/", name].concat(), b"x".to_vec());
    let odd = [record(RECORD.as_bytes()), vec![file(b"a:b\\c\td\n.txt"), file(b"\xff"), file(b"*?[")]].concat();
    repository.import("odd", "main", &odd);
    assert_eq!(repository.verify("odd").1, []);
    for (branch, name) in [
        ("long", vec![b'n'; 300]),
        ("deep", [[b'd'; 250].as_slice(), b"/"].concat().repeat(17).into_iter().chain(*b"f").collect()),
    ] {
        repository.import(branch, "main", &[record(RECORD.as_bytes()), vec![file(&name)]].concat());
        let (code, findings) = repository.verify(branch);
        assert_eq!((code, findings), (1, found("change_not_fully_examined", "fail")), "{branch}");
    }
}

#[test]
fn thousands_of_files_are_read_and_more_fail_openly() {
    let repository = Repository::new();
    let many = |n: usize| -> Vec<Entry> {
        let file = |i: usize| ("100644", format!("{RECORD}/notes/n{i}.md").into_bytes(), b"x".to_vec());
        record(RECORD.as_bytes()).into_iter().chain((0..n).map(file)).collect()
    };
    repository.import("many", "main", &many(1000));
    assert_eq!(repository.verify("many").1, []);
    // What comes last in the list is what such a list would hide.
    let blob = |path: String| ("100644", path.into_bytes(), b"x".to_vec());
    let with = |files: &mut dyn Iterator<Item = String>| -> Vec<Entry> {
        record(RECORD.as_bytes()).into_iter().chain(files.map(blob)).collect()
    };
    repository.import("too-many", "main", &with(&mut (0..20_100).map(|i| format!("a/n{i}.md"))));
    // Long names fill the listing before there are as many files.
    let long = format!("{}/", "l".repeat(200)).repeat(18);
    repository.import("long-names", "main", &with(&mut (0..18_500).map(|i| format!("a/{long}{i:05}"))));
    for branch in ["too-many", "long-names"] {
        let (code, findings) = repository.verify(branch);
        assert_eq!(code, 1);
        assert!(findings.contains(&found("change_not_fully_examined", "fail")[0]), "{branch}: {findings:?}");
    }
}

#[test]
fn links_and_submodules_are_named_wherever_they_point() {
    let repository = Repository::new();
    let commit = repository.git(&["rev-parse", "main"]).into_bytes();
    for (branch, mode, target) in [
        ("inside", "120000", b"train_gpt.py".to_vec()),
        ("outside", "120000", b"/etc/passwd".to_vec()),
        ("above", "120000", b"../../../README.md".to_vec()),
        ("module", "160000", commit),
    ] {
        let entry = (mode, format!("{RECORD}/data").into_bytes(), target);
        // `ignore = all` hides submodules from some of git's commands.
        let ignore = b"[submodule \"m\"]\n\tpath = data\n\tignore = all\n".to_vec();
        let modules = ("100644", format!("{RECORD}/.gitmodules").into_bytes(), ignore);
        repository.import(branch, "main", &[record(RECORD.as_bytes()), vec![entry, modules]].concat());
        repository.git(&["config", "diff.ignoreSubmodules", "all"]);
        let (code, audit) = repository.audit(branch);
        let own = Repository::rules(&audit, 0, "fail");
        assert_eq!((code, own), (1, vec!["links_or_submodules_in_pr".to_string()]), "{branch}");
        assert!(!audit.to_string().contains("root:x:0"), "{branch}");
    }
}

#[test]
fn folders_cannot_be_moved_edited_or_shadowed() {
    let repository = Repository::new();
    repository.branch("moved-out", |r| {
        std::fs::create_dir_all(r.path().join("attic")).unwrap();
        std::fs::rename(r.path().join(OLD_RECORD), r.path().join("attic/old")).unwrap();
    });
    repository.branch("moved-within", |r| {
        let to = r.path().join("records/track_non_record_16mb/2026-03-20_Old");
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::rename(r.path().join(OLD_RECORD), to).unwrap();
    });
    repository.branch("edits-another", |r| {
        r.add_record(RECORD);
        r.write(&format!("{OLD_RECORD}/notes.md"), "mine\n");
    });
    for branch in ["moved-out", "moved-within", "edits-another"] {
        let (code, findings) = repository.verify(branch);
        assert_eq!(code, 1, "{branch}");
        assert!(findings.contains(&found("changes_existing_record", "fail")[0]), "{branch}: {findings:?}");
    }
    let shadow = OLD_RECORD.to_uppercase().replace("RECORDS/TRACK_10MIN_16MB", "records/track_10min_16mb");
    repository.import("case", "main", &record(shadow.as_bytes()));
    assert_eq!(repository.verify("case").1, found("changes_existing_record", "fail"));
    let twice =
        [record(RECORD.as_bytes()), record(RECORD.to_ascii_uppercase().replace("RECORDS", "records").as_bytes())];
    repository.import("twice", "main", &twice.concat());
    assert_eq!(repository.verify("twice").0, 1);
}

#[test]
fn merges_and_moved_bases_leave_the_pull_requests_own_change() {
    let repository = Repository::new();
    repository.branch("merged", |r| r.add_record(RECORD));
    repository.write("README.md", "main goes on\n");
    repository.add_record("records/track_10min_16mb/2026-03-25_Between");
    repository.commit("meanwhile");
    repository.git(&["checkout", "-q", "merged"]);
    repository.git(&["merge", "-q", "--no-edit", "main"]);
    repository.git(&["checkout", "-q", "main"]);
    assert_eq!(repository.verify("merged").1, []);
    // A merge that brings something of its own.
    repository.git(&["checkout", "-q", "-b", "evil-merge", "merged~1"]);
    repository.git(&["merge", "-q", "--no-commit", "--no-ff", "main"]);
    repository.write(&format!("{OLD_RECORD}/train_gpt.py"), "import os\n");
    repository.commit("merge");
    repository.git(&["checkout", "-q", "main"]);
    let findings = repository.verify("evil-merge").1;
    assert!(findings.contains(&found("changes_existing_record", "fail")[0]), "{findings:?}");
    // The base was pushed anew, without common history.
    repository.git(&["checkout", "-q", "--orphan", "rewritten"]);
    repository.commit("another beginning");
    repository.git(&["branch", "-f", "main", "rewritten"]);
    let output = gate(&repository, "main", "merged", Path::new("/dev/null"), Path::new(""));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no common ancestor"));
}

#[test]
fn shallow_and_partial_clones_could_not_be_checked() {
    let repository = Repository::new();
    repository.branch("good", |r| r.add_record(RECORD));
    repository.write("README.md", "main goes on\n");
    repository.commit("meanwhile");
    repository.git(&["config", "uploadpack.allowFilter", "true"]);
    let source = format!("file://{}", repository.path().display());
    for (kind, words) in [("--depth=1", "fetch-depth: 0"), ("--filter=blob:none", "partial clone")] {
        let folder = tempfile::tempdir().unwrap();
        let clone = folder.path().to_str().unwrap();
        repository.git(&["clone", "-q", "--bare", "--no-single-branch", kind, &source, clone]);
        let output = golf("verify").args(["--base=main", "--head=good", "--repository", clone]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{kind}: {said}");
        assert!(said.contains(words), "{kind}: {said}");
    }
}

#[test]
fn neither_configuration_nor_attributes_nor_replacements_count() {
    use std::os::unix::fs::PermissionsExt;
    let repository = Repository::new();
    let mark = repository.path().join(".git/executed");
    let trap = repository.path().join(".git/trap.sh");
    std::fs::write(&trap, format!("#!/bin/sh\ntouch '{}'\nexit 0\n", mark.display())).unwrap();
    std::fs::set_permissions(&trap, std::fs::Permissions::from_mode(0o755)).unwrap();
    let attributes = b"* filter=x diff=x merge=x text eol=crlf ident export-subst working-tree-encoding=UTF-16\n";
    let mut bad = record(RECORD.as_bytes());
    bad.push(("100644", b"other.py".to_vec(), SCRIPT.to_vec()));
    bad.push(("100644", b".gitattributes".to_vec(), attributes.to_vec()));
    let blob = b"$Format:%H$ $Id$\n".to_vec();
    bad.push(("100644", format!("{RECORD}/train.log").into_bytes(), blob.clone()));
    repository.import("bad", "main", &bad);
    let (code, findings) = repository.verify("bad");
    let trap = trap.to_str().unwrap();
    for (key, value) in [
        ("core.fsmonitor", trap),
        ("core.pager", trap),
        ("core.sshCommand", trap),
        ("core.gitProxy", trap),
        ("core.alternateRefsCommand", trap),
        ("core.askPass", trap),
        ("core.editor", trap),
        ("core.hooksPath", "/work-does-not-exist"),
        ("diff.external", trap),
        ("diff.x.textconv", trap),
        ("diff.x.command", trap),
        ("filter.x.smudge", trap),
        ("filter.x.clean", trap),
        ("filter.x.process", trap),
        ("merge.x.driver", trap),
        ("gpg.program", trap),
        ("log.showSignature", "true"),
        ("credential.helper", trap),
        ("uploadpack.packObjectsHook", trap),
        ("remote.origin.url", "ext::sh -c touch% executed"),
        ("remote.origin.promisor", "true"),
        ("extensions.partialClone", "origin"),
        ("protocol.allow", "always"),
        ("diff.renames", "copies"),
        ("diff.noprefix", "true"),
        ("diff.relative", "true"),
        ("diff.orderFile", "/dev/null"),
        ("core.quotePath", "true"),
        ("core.abbrev", "7"),
        ("alias.diff-tree", "!touch executed"),
    ] {
        repository.git(&["config", key, value]);
    }
    // A replaced commit and a graft that would hide what the branch adds.
    let (base, head) = (repository.git(&["rev-parse", "main"]), repository.git(&["rev-parse", "bad"]));
    repository.git(&["-c", "core.fsmonitor=false", "replace", &head, &base]);
    std::fs::create_dir_all(repository.path().join(".git/info")).unwrap();
    std::fs::write(repository.path().join(".git/info/grafts"), format!("{head}\n")).unwrap();
    std::fs::write(repository.path().join(".git/info/attributes"), "* filter=x diff=x\n").unwrap();
    let _ = std::fs::remove_file(&mark);
    let (again, audit) = repository.audit("bad");
    assert_eq!(again, code);
    assert_eq!(Repository::rules(&audit, 0, "fail"), vec!["touches_files_outside_folder"]);
    assert_eq!(findings, found("touches_files_outside_folder", "fail"));
    // Bytes as they are in the objects: nothing filled in, no line ends or encodings converted.
    let files = audit["reports"][1]["files"].as_array().unwrap();
    let log = files.iter().find(|file| file["path"] == "train.log").unwrap();
    assert_eq!(log["bytes"], blob.len());
    assert!(!mark.exists() && !repository.path().join("executed").exists(), "something was executed");
}

#[test]
fn a_range_is_read_from_any_folder_of_the_repository() {
    let repository = Repository::new();
    repository.branch("edits", |r| r.write(&format!("{OLD_RECORD}/train_gpt.py"), "import os\n"));
    let folder = repository.path().join("records/track_10min_16mb");
    let output = golf("verify").args(["--base=main", "--head=edits", "--repository"]).arg(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(1) && text.contains("changes_existing_record"), "{text}");
}

#[test]
fn pointers_count_with_what_they_stand_for() {
    let repository = Repository::new();
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 17500123\n", "ab".repeat(32));
    let entry = ("100644", format!("{RECORD}/final_model.ptz").into_bytes(), pointer.into_bytes());
    repository.import("pointer", "main", &[record(RECORD.as_bytes()), vec![entry]].concat());
    let (code, audit) = repository.audit("pointer");
    assert_eq!(code, 1);
    assert!(Repository::rules(&audit, 1, "fail").contains(&"over_budget".to_string()));
    assert!(audit.to_string().contains("17,500,123"));
}
