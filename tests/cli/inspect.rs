//! `pack --inspect` on this program's files, foreign ones and damaged ones.

use std::path::Path;

use serde_json::Value;

use crate::support::{fixture, golf};

fn output(arguments: &[&str], code: i32) -> (String, String) {
    let assert = golf("pack").current_dir(fixture("")).args(arguments).assert().code(code);
    let output = assert.get_output();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_report_of_a_small_artifact() {
    insta::assert_snapshot!(output(&["--inspect", "fuzz/artifact/ans.golf"], 0).0);
    let (line, _) = output(&["--inspect", "fuzz/artifact/ans.golf", "--quiet"], 0);
    insta::assert_snapshot!(line, @"445 bytes, order-0 floor 47, row-cluster floor 45, 15,999,555 under the budget");
}

#[test]
fn json_has_the_same_numbers_and_they_add_up() {
    for (file, bytes) in [("fuzz/artifact/zstd.golf", 517), ("reference/export_baseline.ptz", 36_795)] {
        let report: Value = serde_json::from_str(&output(&["--inspect", file, "--json"], 0).0).unwrap();
        assert_eq!(report["digest"]["bytes"], bytes);
        let sum = |list: &str, field: &str| -> u64 {
            report[list].as_array().unwrap().iter().map(|line| line[field].as_u64().unwrap()).sum()
        };
        for lines in ["tensors", "totals"] {
            assert_eq!(sum(lines, "in_file_bytes") + sum("rest", "in_file_bytes"), bytes, "{file}");
            assert_eq!(sum(lines, "held_bytes") + sum("rest", "held_bytes"), report["unpacked_bytes"]);
        }
        assert_eq!(report["budget"]["margin"], 16_000_000 - bytes);
    }
}

#[test]
fn the_picture_is_written_beside_and_never_over_the_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("model.golf");
    std::fs::copy(fixture("fuzz/artifact/zstd.golf"), &artifact).unwrap();
    let svg = folder.path().join("bytes.svg");
    let flags = |svg: &Path| {
        let texts = ["--inspect".as_ref(), artifact.as_os_str(), "--svg".as_ref(), svg.as_os_str()];
        texts.map(|text| text.to_str().unwrap().to_string())
    };
    golf("pack").args(flags(&svg)).assert().success();
    let text = std::fs::read_to_string(&svg).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    assert!(document.root_element().has_tag_name(("http://www.w3.org/2000/svg", "svg")));
    let before = std::fs::read(&artifact).unwrap();
    let assert = golf("pack").args(flags(&artifact)).assert().code(2);
    let message = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(message.contains("is the artifact"), "{message}");
    assert_eq!(std::fs::read(&artifact).unwrap(), before);
}

#[test]
fn what_cannot_be_read_is_named_and_exits_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let golf_bytes = std::fs::read(fixture("fuzz/artifact/zstd.golf")).unwrap();
    let ptz = std::fs::read(fixture("reference/export_model.ptz")).unwrap();
    file("cut.golf", &golf_bytes[..300]);
    let mut flipped = golf_bytes;
    flipped[400] ^= 4;
    file("flipped.golf", &flipped);
    file("cut.ptz", &ptz[..20_000]);
    file("notes.txt", b"val_bpb: 1.1629");
    file("empty.pt", b"");
    let mut messages = String::new();
    for name in ["cut.golf", "flipped.golf", "cut.ptz", "notes.txt", "empty.pt", "missing.golf", "."] {
        let assert = golf("pack").current_dir(folder.path()).args(["--inspect", name]).assert().code(2);
        assert!(assert.get_output().stdout.is_empty(), "{name}");
        messages.push_str(&String::from_utf8_lossy(&assert.get_output().stderr));
    }
    insta::assert_snapshot!(messages);
}

#[test]
fn flags_of_packing_do_not_mix_with_it() {
    let artifact = "fuzz/artifact/zstd.golf";
    for flags in [
        &["manifest.yaml"][..],
        &["--codec", "ans"],
        &["-o", "x.golf"],
        &["--checkpoint", "w.safetensors"],
        &["--fit", "16000000"],
    ] {
        let (_, message) = output(&[&["--inspect", artifact], flags].concat(), 2);
        assert!(message.contains("cannot be used with"), "{flags:?}: {message}");
    }
    for flags in [&["--svg", "x.svg"][..], &["manifest.yaml", "--svg", "x.svg"], &[]] {
        let (_, message) = output(flags, 2);
        assert!(message.contains("required"), "{flags:?}: {message}");
    }
}

#[test]
fn the_page_shows_every_symbol_and_is_replaced_by_another_page_only() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("bytes.html");
    let arguments = ["--inspect", "reference/export_baseline.ptz", "--html", page.to_str().unwrap()];
    output(&arguments, 0);
    let text = std::fs::read_to_string(&page).unwrap();
    // The symbols of int8 that the class has, by its definition.
    assert_eq!(text.matches("class=\"bar\"").count(), 255, "{text}");
    for unsafe_part in ["<script", " style=", " src="] {
        assert!(!text.contains(unsafe_part), "{unsafe_part}");
    }
    output(&arguments, 0);
    assert_eq!(std::fs::read_to_string(&page).unwrap(), text);
    std::fs::write(&page, "notes").unwrap();
    output(&arguments, 2);
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "notes");
}
