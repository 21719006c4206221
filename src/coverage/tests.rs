use std::path::Path;

use super::{Answer, FEATURES, GAPS, Row, Task, markdown, rows};
use crate::manifest::{Manifest, load};
use crate::stats::Board;

const PAGE: &str = "docs/coverage.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn records() -> Vec<Manifest> {
    let folder = root().join("manifests/records");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| load(path).unwrap()).collect()
}

fn row<'a>(rows: &'a [Row<'a>], pr: u64) -> &'a Row<'a> {
    rows.iter().find(|row| row.pr == pr).unwrap()
}

/// `UPDATE_DOCS=1 cargo test --lib coverage` writes the page anew.
#[test]
fn the_page_is_that_of_the_manifests_and_the_board() {
    let page = markdown(&records(), &Board::shipped().unwrap());
    let path = root().join(PAGE);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(published == page, "{PAGE} is stale; run `UPDATE_DOCS=1 cargo test --lib coverage`");
}

#[test]
fn every_row_of_the_board_and_every_manifest_is_there_once() {
    let (records, board) = (records(), Board::shipped().unwrap());
    let rows = rows(&records, &board);
    assert!(rows.windows(2).all(|pair| pair[0].pr < pair[1].pr));
    for entry in &board.records {
        assert!(rows.iter().any(|row| row.on_board && row.pr == entry.pr.unwrap_or(2)), "{}", entry.title);
    }
    for record in &records {
        assert!(rows.iter().any(|row| row.manifest.is_some_and(|m| m.name == record.name)), "{}", record.name);
    }
}

/// Claims of a record and its row on the board are one: a mean may have more digits in one of them.
#[test]
fn manifests_claim_what_the_board_says() {
    let (records, board) = (records(), Board::shipped().unwrap());
    let mut both = 0;
    for record in &records {
        let pr = record.claim.pr();
        let Some(entry) = board.records.iter().find(|entry| Some(entry.pr.unwrap_or(2)) == pr) else { continue };
        let claimed = record.claim.metrics.val_bpb.as_ref().unwrap();
        assert!((claimed.value() - entry.val_bpb).abs() <= 5e-5, "{}", record.name);
        assert!(record.claim.date.as_ref().is_none_or(|date| *date == entry.date), "{}", record.name);
        both += 1;
    }
    assert_eq!(both, 9);
}

#[test]
fn gaps_come_from_notes_and_from_titles() {
    let (records, board) = (records(), Board::shipped().unwrap());
    let rows = rows(&records, &board);
    let answer = |pr, task| row(&rows, pr).answer(task);
    assert_eq!(answer(180, Task::Pack), Answer::Yes);
    assert_eq!(answer(180, Task::Train), Answer::Yes);
    assert_eq!(answer(162, Task::Train), Answer::No(vec!["Not known"]));
    assert_eq!(answer(162, Task::Pack), Answer::No(vec!["Unknown export"]));
    assert_eq!(answer(414, Task::Score), Answer::Yes);
    assert_eq!(answer(549, Task::Score), Answer::Yes);
    assert_eq!(answer(1493, Task::Score), Answer::Nearly(vec!["Rotary tables"]));
    assert_eq!(answer(1736, Task::Score), Answer::No(vec!["Phased test-time training"]));
    assert_eq!(answer(1493, Task::Train), Answer::Nearly(vec!["Rotary tables", "Order of text"]));
    assert_eq!(answer(1493, Task::Pack), Answer::Nearly(vec!["Calibration text"]));
    assert_eq!(answer(414, Task::Pack), Answer::Yes);
    assert_eq!(answer(148, Task::Score), Answer::Unknown);
    assert_eq!(answer(1736, Task::Train), Answer::Unknown);
    // Its title names the stack of 1736, and a clip of its own.
    assert_eq!(answer(1769, Task::Train), answer(1736, Task::Train));
    assert_eq!(answer(1769, Task::Pack), Answer::Unknown);
    assert_eq!(answer(1868, Task::Score), Answer::No(vec!["SmearGate masked at BOS"]));
}

/// A gap or a feature that no record has is a word that nobody wrote so.
#[test]
fn every_gap_and_every_feature_is_of_some_record_and_of_no_other() {
    let (records, board) = (records(), Board::shipped().unwrap());
    let rows = rows(&records, &board);
    for gap in GAPS {
        assert!(rows.iter().any(|row| gap.is_of(row)), "{}", gap.name);
        assert!(!(gap.prevents.is_empty() && gap.changes.is_empty()), "{}", gap.name);
    }
    for feature in FEATURES {
        let users = records.iter().filter(|record| feature.is_stated(record) && (feature.is_used)(record)).count();
        assert!((1..records.len()).contains(&users), "{}: {users} of {}", feature.name, records.len());
    }
}

/// A name with a slip of the pen would be no gap.
#[test]
fn notes_that_begin_with_a_name_begin_with_one_that_is_known() {
    /// More words before a colon are a sentence.
    const WORDS: usize = 4;
    for record in records() {
        for note in &record.notes {
            let Some((name, _)) = note.split_once(": ") else { continue };
            if name.split(' ').count() <= WORDS && !["Without a source", "README and logs differ"].contains(&name) {
                assert!(GAPS.iter().any(|gap| gap.is_noted(note)), "{}: {note}", record.name);
            }
        }
    }
}
