//! What is no honest part of a submission, or could not be read.

use super::Submission;
use crate::submission::walk::{Anomaly, AnomalyKind};
use crate::submission::{Opened, OpenedArtifact};

#[test]
fn anomalies_go_to_the_rule_of_their_kind() {
    let rules = [
        (AnomalyKind::Link, "link_in_folder", "fail: a.log is a link to b"),
        (AnomalyKind::Special, "special_file", "fail: a.log is b"),
        (AnomalyKind::Name, "odd_file_name", "warning: a.log has an odd name: b"),
        (AnomalyKind::Unreadable, "unreadable_file", "fail: a.log cannot be read: b"),
        (AnomalyKind::TooMuch, "too_much_to_read", "unknown: a.log was not read whole: b"),
    ];
    for (kind, own, message) in rules {
        let mut folder = Submission::of(&[]);
        folder.folder.anomalies.push(Anomaly { path: "a.log".into(), kind, detail: "b".into() });
        for (_, rule, _) in rules {
            let expected: &[&str] = if rule == own { &[message, "a.log: b"] } else { &["pass"] };
            assert_eq!(folder.says(rule), expected, "{kind:?}");
        }
    }
}

#[test]
fn logs_that_were_not_read_whole() {
    let rule = "too_much_to_read";
    let mut folder = Submission::of(&[("train.log", "x\n")]);
    assert_eq!(folder.says(rule), ["pass"]);
    folder.folder.logs[0].cut_short = true;
    assert_eq!(folder.says(rule), ["unknown: train.log was read up to 2 bytes only", "train.log"]);
    folder.folder.logs[0].cut_short = false;
    folder.folder.logs[0].overlong = 1;
    let long = "note: 1 lines of train.log are longer than a line of a log can be";
    assert_eq!(folder.says(rule), [long, "train.log"]);
    // In the file itself: a line of 64 KiB and one byte.
    let line = "x".repeat(64 * 1024);
    assert_eq!(Submission::of(&[("train.log", &line)]).says(rule), ["pass"]);
    assert_eq!(Submission::of(&[("train.log", &format!("{line}x"))]).says(rule), [long, "train.log"]);
}

fn with(content: Opened) -> Submission {
    let mut folder = Submission::of(&[]);
    folder.folder.artifacts = vec![OpenedArtifact { path: "m.pt".into(), content, pickles: 0, unclaimed: Vec::new() }];
    folder
}

#[test]
fn artifacts_that_import_code_or_were_not_opened() {
    let (imports, ambiguous, not_opened) = ("artifact_imports_code", "artifact_ambiguous", "artifact_not_opened");
    let model = Opened::Model { description: "torch zip".into(), tensors: 3, values: 10 };
    let pass = || vec!["pass"];
    for (content, imported, differs, opened) in [
        (model, pass(), pass(), vec!["pass: m.pt: torch zip, 3 tensors"]),
        (Opened::Refused("bad".into()), vec!["fail: bad", "m.pt: bad"], pass(), vec!["not applicable"]),
        (Opened::Ambiguous("two".into(), None), pass(), vec!["fail: two", "m.pt: two"], vec!["not applicable"]),
        (Opened::Unknown, pass(), pass(), vec!["unknown: m.pt is in no format this tool reads", "m.pt"]),
        (Opened::Other, pass(), pass(), vec!["unknown: m.pt is in no format this tool reads", "m.pt"]),
        (Opened::Damaged("cut".into()), pass(), pass(), vec!["unknown: cut", "m.pt"]),
    ] {
        let folder = with(content);
        assert_eq!(folder.says(imports), imported);
        assert_eq!(folder.says(ambiguous), differs);
        assert_eq!(folder.says(not_opened), opened);
    }
    for rule in [imports, ambiguous, not_opened, "artifact_bytes_unclaimed"] {
        assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);
    }
}

#[test]
fn bytes_that_belong_to_no_tensor_are_a_warning() {
    let rule = "artifact_bytes_unclaimed";
    let mut folder = with(Opened::Model { description: "torch zip".into(), tensors: 3, values: 10 });
    assert_eq!(folder.says(rule), ["pass"]);
    folder.folder.artifacts[0].unclaimed = vec!["9 bytes behind the end of the zlib stream".into()];
    let words = "m.pt: 9 bytes behind the end of the zlib stream";
    assert_eq!(folder.says(rule), [format!("warning: {words}"), format!("m.pt: {words}")]);
}

#[test]
fn pickles_are_known_by_name_and_by_their_first_bytes() {
    let rule = "pickle_present";
    for name in ["m.pt", "m.pth", "m.pkl", "m.pickle", "m.ckpt"] {
        assert_eq!(
            Submission::of(&[(name, "1234")]).says(rule),
            ["warning: 1 pickled file(s); never load them".to_string(), format!("{name}: 4 bytes")]
        );
    }
    assert_eq!(Submission::of(&[("m.bin", "1234"), ("m.ptz", "1234")]).says(rule), ["pass"]);
    assert_eq!(Submission::of(&[("m.bin", "PK\u{3}\u{4}")]).says(rule)[1], "m.bin: 4 bytes");
    assert_eq!(Submission::of(&[("m.bin", "PK\u{3}\u{5}")]).says(rule), ["pass"]);
    for (protocol, is_pickle) in [(1, false), (2, true), (3, true), (5, true), (6, false)] {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("m.bin"), [0x80, protocol, b'c']).unwrap();
        let read = crate::submission::RecordFolder::read(temporary.path());
        let folder = Submission { folder: read, ..Submission::of(&[]) };
        assert_eq!(folder.violates(rule), is_pickle, "protocol {protocol}");
    }
    // A pickle that is no model file is not counted as one.
    assert_eq!(Submission::of(&[("notes.zip", "PK\u{3}\u{4}")]).says(rule), ["pass"]);
}

/// More runs than any log has, each of which every rule would look at.
#[test]
fn runs_beyond_what_is_told_apart_are_said_not_to_be() {
    let root = tempfile::tempdir().unwrap();
    let run =
        |seed: u32| format!("seed:{seed}\nstep:0/5 val_bpb:1.2\nfinal_int8_zlib_roundtrip_exact val_bpb:1.1{seed}\n");
    for (runs, incomplete) in [(200, false), (1_000, true)] {
        let log: String = (0..runs).map(run).collect();
        std::fs::write(root.path().join("train.log"), log).unwrap();
        let folder = crate::submission::RecordFolder::read(root.path());
        assert_eq!(folder.logs[0].run_starts.len() >= crate::submission::log::MAX_RUNS, incomplete, "{runs}");
    }
}
