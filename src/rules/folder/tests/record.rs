//! Which runs a claim of a record rests on. How they are compared: `stats::gate`.

use super::super::record::claimed_and_known;
use super::super::runs::runs;
use super::Submission;
use crate::stats::Board;

/// Seeds and values of a claim, and of everything known.
fn found(json: &str, logs: &[&str]) -> [Vec<(Option<u64>, f64)>; 2] {
    let folder = Submission::logged(json, logs).folder;
    let (claimed, known) = claimed_and_known(folder.submission.as_ref().unwrap(), &runs(&folder));
    [claimed, known].map(|runs| runs.iter().map(|run| (run.seed, run.val_bpb)).collect())
}

#[test]
fn listed_seeds_go_before_logs_and_logs_before_the_headline() {
    let (a, b) = ("seed:1\nfinal val_bpb:1.11\n", "seed:2\nfinal val_bpb:1.12\n");
    let of = |seed: u64, bpb: f64| (Some(seed), bpb);
    let listed = r#"{"val_bpb": 1.1, "seed_results": {"1": 1.21, "3": 1.23, "4": 0.0}}"#;
    // The log of seed 2 is known besides; that of seed 1 is listed.
    assert_eq!(found(listed, &[a, b]), [vec![of(1, 1.21), of(3, 1.23)], vec![of(1, 1.21), of(3, 1.23), of(2, 1.12)]]);
    assert_eq!(found(r#"{"val_bpb": 1.1}"#, &[a, b]), [vec![of(1, 1.11), of(2, 1.12)], vec![of(1, 1.11), of(2, 1.12)]]);
    // One listed seed, or one log, is no sweep: the headline, with the seed that a log or the claim names.
    let headline = |seed| [vec![(seed, 1.1)], vec![(seed, 1.1)]];
    assert_eq!(found(r#"{"val_bpb": 1.1, "seed_results": {"7": 1.21}}"#, &[]), headline(Some(7)));
    assert_eq!(found(r#"{"val_bpb": 1.1, "seed": 5}"#, &[a]), headline(Some(1)));
    assert_eq!(found(r#"{"val_bpb": 1.1, "seed": 5}"#, &[]), headline(Some(5)));
    assert_eq!(found(r#"{"val_bpb": 1.1}"#, &[]), headline(None));
    assert_eq!(found(r#"{"val_bpb": 0.0}"#, &[]), [vec![], vec![]]);
    // The same seed twice, or another evaluation at the end: ablations.
    let again = "seed:1\nfinal val_bpb:1.13\n";
    assert_eq!(found(r#"{"val_bpb": 1.1}"#, &[a, again]), headline(Some(1)));
    assert_eq!(found(r#"{"val_bpb": 1.1}"#, &[a, "seed:2\nother val_bpb:1.12\n"]), headline(Some(1)));
    // The losses of logs go along.
    let folder = Submission::logged("{}", &["seed:1\nfinal val_loss:1.9 val_bpb:1.11\n", b]).folder;
    let (claimed, _) = claimed_and_known(folder.submission.as_ref().unwrap(), &runs(&folder));
    assert_eq!(claimed[0].val_loss, Some(1.9));
}

#[test]
fn a_claim_is_set_against_the_record_of_its_day() {
    let rule = "not_a_record";
    let board = "schema: golf-harness/board/v1\ntrack: 10min_16mb\nas_of: '2026-05-01'\nrecords:\n  \
                 - {pr: 1, title: first, date: '2026-03-20', val_bpb: 1.2000, source: x}\n  \
                 - {pr: 2, title: second, date: '2026-04-01', val_bpb: 1.1000, source: x}\n";
    let board = Board::parse(board, std::path::Path::new("board.yaml")).unwrap();
    let against = |place: &str, json: &str| {
        let mut folder = Submission::at(&format!("records/track_10min_16mb/{place}"), &[("submission.json", json)]);
        assert_eq!(folder.says(rule), ["not applicable"]);
        folder.policy = folder.policy.against(Some(board.clone()));
        folder.says(rule).remove(0)
    };
    let says = |place: &str, json: &str, label: &str| {
        let said = against(place, json);
        assert!(said.contains(&format!("against {label}: ")), "{said}");
    };
    let (first, second) = ("PR #1 (2026-03-20)", "PR #2 (2026-04-01)");
    says("a", r#"{"val_bpb": 1.15, "date": "2026-04-02"}"#, second);
    says("a", r#"{"val_bpb": 1.15, "date": "2026-03-25"}"#, first);
    // The folder's name starts with its day; a date that is none does not hide it.
    says("2026-03-25_a", r#"{"val_bpb": 1.15}"#, first);
    says("2026-03-25_a", r#"{"val_bpb": 1.15, "date": "2026-03-XX"}"#, first);
    // A record does not stand against itself.
    says("a", r#"{"val_bpb": 1.15, "date": "2026-04-02", "pr": 2}"#, first);
    assert_eq!(against("a", "{}"), "unknown: no bits per byte are claimed");
    let mut none = Submission::of(&[]);
    none.policy = none.policy.against(Some(board.clone()));
    assert_eq!(none.says(rule), ["unknown: there is no submission.json"]);
}
