//! `verify FOLDER` and `verify TREE`: reports as people read them, exit codes, hostile input.

use std::path::Path;

use crate::support::{fixture, golf};

/// Runs `verify` in `folder`; exit code and stdout followed by stderr.
fn verify(folder: &Path, args: &[&str]) -> (i32, String) {
    let output = golf("verify").current_dir(folder).args(args).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

/// A report on one of the shipped folders, placed where it would stand in the challenge's repository.
fn report(name: &str) -> (i32, String) {
    let clone = tempfile::tempdir().unwrap();
    let place = clone.path().join("records/track_10min_16mb").join(name);
    std::fs::create_dir_all(&place).unwrap();
    for file in std::fs::read_dir(fixture("submissions").join(name)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), place.join(file.file_name())).unwrap();
    }
    verify(clone.path(), &[&format!("records/track_10min_16mb/{name}")])
}

#[test]
fn a_good_folder_passes() {
    let (code, text) = report("good");
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn an_over_budget_folder_fails_by_the_byte() {
    let (code, text) = report("over-budget");
    assert_eq!(code, 1, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_wrong_denominator_fails() {
    let (code, text) = report("wrong-denominator");
    assert_eq!(code, 1, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_damaged_folder_names_everything_that_is_wrong() {
    let (code, text) = report("damaged");
    assert_eq!(code, 1, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn the_best_seed_is_not_the_mean() {
    let (code, text) = report("best-seed");
    assert_eq!(code, 1, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_tree_prints_one_line_a_folder_and_counts() {
    let (code, text) = verify(&fixture("submissions"), &["."]);
    assert_eq!(code, 1, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn an_allowed_rule_is_a_note_and_an_unknown_one_is_refused() {
    let good = fixture("submissions/over-budget");
    let path = good.to_str().unwrap();
    let (code, text) = verify(Path::new("."), &[path, "--allow", "over_budget"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = verify(Path::new("."), &[path, "--allow", "over_bugdet"]);
    assert!(code == 2 && text.contains("did you mean `over_budget`?"), "{text}");
}

#[test]
fn rules_explain_themselves() {
    let (code, text) = verify(Path::new("."), &["--explain", "over_budget"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(text);
    assert_eq!(verify(Path::new("."), &["--explain", "nonsense"]).0, 2);
}

#[test]
fn init_writes_a_manifest_that_verify_reads() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["submission.json", "train_gpt.py", "train_seed42.log"] {
        std::fs::copy(fixture("submissions/good").join(file), folder.path().join(file)).unwrap();
    }
    let path = folder.path().to_str().unwrap();
    let (code, yaml) = verify(folder.path(), &["--init", path, "-o", "m.yaml"]);
    assert_eq!(code, 0, "{yaml}");
    let yaml = std::fs::read_to_string(folder.path().join("m.yaml")).unwrap();
    assert!(yaml.contains("GAP: artifact") && yaml.contains("62021632"), "{yaml}");
    let (code, text) = verify(folder.path(), &["m.yaml", "-v"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("bytes to spare"), "{text}");
}

#[cfg(unix)]
#[test]
fn hostile_folders_are_answered_with_findings() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("hostile");
    std::fs::create_dir(&root).unwrap();
    let write = |name: &str, content: &[u8]| std::fs::write(root.join(name), content).unwrap();
    write("submission.json", &b"[".repeat(1 << 20));
    write("train.log", &[&b"val_bpb:"[..], &vec![b'1'; 8 << 20], b"\nTraceback (most recent call last):\n"].concat());
    write("final_model.pt", &[0x80, 2, b'c', b'o', b's', b'\n', b's', b'y', b's', b't', b'e', b'm', b'\n', b'.']);
    std::os::unix::fs::symlink("/etc", root.join("etc")).unwrap();
    let (code, text) = verify(folder.path(), &["hostile"]);
    assert_eq!(code, 1, "{text}");
    for rule in ["json_unparseable", "link_in_folder", "log_has_error_trace", "too_much_to_read"] {
        assert!(text.contains(rule), "{rule} is missing from\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

/// A protocol-2 pickle of 70 MB, deflated into a torch zip of about 70 kB.
fn huge_pickle() -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let deflated = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    writer.start_file("archive/data.pkl", deflated).unwrap();
    writer.write_all(b"\x80\x02").unwrap();
    for _ in 0..70 {
        writer.write_all(&vec![b'}'; 1_000_000]).unwrap();
    }
    writer.write_all(b".").unwrap();
    writer.finish().unwrap().into_inner()
}

#[cfg(unix)]
#[test]
fn a_huge_pickle_and_names_that_are_no_text_are_findings() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("odd");
    std::fs::create_dir(&root).unwrap();
    let pickle = huge_pickle();
    assert!(pickle.len() < 1 << 20, "{} bytes", pickle.len());
    std::fs::write(root.join("final_model.pt"), pickle).unwrap();
    std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"tr\xffain.log")), "val_bpb:1.2\n").unwrap();
    std::fs::write(root.join("train\x1b[31m.log"), "val_bpb:1.2\n").unwrap();
    let (code, text) = verify(folder.path(), &["odd", "--fail-on", "review"]);
    assert_eq!(code, 1, "{text}");
    for words in ["odd_file_name", "artifact_not_opened", "more than 1048576 values"] {
        assert!(text.contains(words), "{words} is missing from\n{text}");
    }
    // Names reach the terminal without what could steer it.
    assert!(!text.contains('\u{1b}') && !text.contains("panicked"), "{text}");
}

#[test]
fn a_tree_shows_what_was_asked_for_in_the_order_asked_for() {
    let (code, text) = verify(&fixture("submissions"), &[".", "--only", "review"]);
    assert_eq!(code, 1, "what is not shown counts all the same\n{text}");
    insta::assert_snapshot!(text);
    let (_, csv) = verify(&fixture("submissions"), &[".", "--sort", "bpb", "--format", "csv-summary"]);
    let names: Vec<&str> = csv.lines().skip(1).filter_map(|row| row.split(',').next()).collect();
    let by_bpb = ["runnable", "wrong-denominator", "damaged", "best-seed", "good", "over-budget"];
    assert_eq!(names, by_bpb.map(|name| format!("./{name}")), "{csv}");
    let (_, csv) = verify(&fixture("submissions"), &[".", "--only", "review", "--format", "csv-summary"]);
    assert_eq!(csv.lines().count(), 2, "{csv}");
}

#[test]
fn a_whole_report_is_not_asked_for_in_part() {
    let (code, text) = verify(&fixture("submissions"), &["good", "--only", "fail", "--format", "json"]);
    assert!(code == 2 && text.contains("--only is for reports of format text, csv or csv-summary"), "{text}");
}
