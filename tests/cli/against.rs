//! `verify --against BOARD.yaml`: is it a record?

use std::path::Path;

use crate::support::golf;

fn manifest(metrics: &str, seeds: &str) -> String {
    format!(
        "schema: golf-harness/manifest/v1\nname: claim\nclaim:\n  source: openai/parameter-golf#286\n  date: \
         '2026-03-20'\n  track: 10min_16mb\n  metrics: {{{metrics}}}\n  seeds: {seeds}\n"
    )
}

/// Exit code and the finding of the record rule, as severity and message.
fn against(manifest: &str, board: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("claim.yaml"), manifest).unwrap();
    std::fs::write(folder.path().join("board.yaml"), board).unwrap();
    let output = golf("verify")
        .current_dir(folder.path())
        .args(["claim.yaml", "--against", "board.yaml", "--format", "jsonl", "-v"])
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let line = stdout.lines().find(|line| line.contains("manifest_not_a_record")).unwrap_or_default();
    let finding: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let text = format!("{}: {}", finding["severity"], finding["message"]);
    (output.status.code().unwrap(), format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn shipped_board() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/board.yaml")).unwrap()
}

const PR_286: &str = "val_loss: '1.96338430', val_bpb: '1.16282670'";

#[test]
fn pr_286_is_no_record_on_its_day() {
    let (code, text) = against(&manifest(PR_286, "[1337]"), &shipped_board());
    assert_eq!(code, 1, "{text}");
    for words in ["fail", "against PR #180 (2026-03-20)", "no record", "0.02003 worse than 1.14280"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn pr_286_is_no_record_against_the_best_it_names_either() {
    let board = "schema: golf-harness/board/v1\ntrack: 10min_16mb\nas_of: '2026-03-20'\nrecords:\n  - {pr: 191, title: \
                 MLP x3, date: '2026-03-20', val_bpb: 1.1598, source: best of three seeds}\n";
    let (code, text) = against(&manifest(PR_286, "[1337]"), board);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("0.00303 worse than 1.15980 (-0.0051 nats per token, 0.005 asked for)"), "{text}");
}

#[test]
fn one_good_run_is_refused_and_a_mean_of_several_cannot_be_decided() {
    let good = "val_loss: '1.8', val_bpb: '1.0661'";
    let (code, text) = against(&manifest(good, "[1337]"), &shipped_board());
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("one run has no spread") && text.contains("runs with the usual spread"), "{text}");
    let (_, text) = against(&manifest(good, "[1, 2, 3]"), &shipped_board());
    assert!(text.contains("unknown") && text.contains("mean of 3 seeds"), "{text}");
}

#[test]
fn a_board_that_cannot_be_read_could_not_be_checked() {
    let (code, text) = against(&manifest(PR_286, "[1337]"), "schema: other\n");
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("board.yaml"), "{text}");
}
