//! Forged submissions, by the kind, and the share of each that `verify` lets pass.
//!
//! `cargo test --release --test attacks -- --nocapture` prints the table of `docs/attacks.md`;
//! with `UPDATE_DOCS=1` it writes it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failed test is a panic")]

mod forgery;
mod kinds;
mod page;
mod story;
mod weights;

use std::path::Path;

use forgery::{Kind, Outcome, ToldBy, outcome, said};
use golf_harness::random::RandomStream;
use golf_harness::report::{Audit, Detail, Format, Level, Report, Severity, Status};
use golf_harness::rules::info;
use page::Row;
use story::Story;

/// What the forgeries are drawn from.
const SEED: u64 = 2026;
/// Where the table stands in the repository.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/attacks.md");

#[test]
fn what_files_can_decide_never_passes() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let honest = honest(root.path());
    let rows: Vec<Row> = kinds::all().map(|kind| attack(kind, root.path(), &honest)).collect();
    let page = page::markdown(&rows);
    println!("{page}");
    for row in &rows {
        println!("{}:", row.kind.name);
        row.outcomes.iter().for_each(|(outcome, said)| println!("  {outcome:?} {said:?}"));
    }
    assert!(rows.len() >= 15, "{} kinds", rows.len());
    assert!(rows.iter().map(|row| row.outcomes.len()).sum::<usize>() >= 100);
    let fooled: Vec<_> = rows.iter().filter(|row| !row.as_promised()).map(|row| row.kind.name).collect();
    assert!(fooled.is_empty(), "{fooled:?}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, &page).expect("docs/attacks.md");
    }
    assert_eq!(std::fs::read_to_string(PAGE).expect("docs/attacks.md"), page, "UPDATE_DOCS=1 writes the page anew");
}

/// The honest submission gets nothing above a note, whatever the random numbers, but that its weights are a pickle.
#[test]
fn the_honest_submission_is_not_accused() {
    let root = tempfile::tempdir().expect("a temporary folder");
    for n in 0..8 {
        let story = Story::honest(&mut RandomStream::new(SEED + n, "honest"));
        let report = forgery::Forgery::from(story).audit(root.path(), &format!("honest-{n}"));
        let accused: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.severity >= Severity::Review && finding.rule.0 != "pickle_present")
            .collect();
        assert!(accused.is_empty(), "{accused:#?}");
    }
}

fn honest(root: &Path) -> Report {
    forgery::Forgery::from(Story::honest(&mut RandomStream::new(SEED, "honest"))).audit(root, "honest")
}

/// Makes the forgeries of one kind and has them audited.
fn attack(kind: &'static Kind, root: &Path, honest: &Report) -> Row {
    let outcomes = (0..kind.variants)
        .map(|n| {
            let mut random = RandomStream::new(SEED + n as u64, kind.name);
            let name = format!("{}-{n}", kind.name.replace(' ', "-").replace(',', ""));
            let report = (kind.forge)(&mut random, n).audit(root, &name);
            shows_no_control_characters(&report);
            std::fs::remove_dir_all(root.join(&name)).expect("the forged folder");
            let said = said(&report, honest);
            let outcome = match kind.told_by {
                ToldBy::Level if report.assurance.level <= Level::Sealed => Outcome::Refused,
                ToldBy::Level => Outcome::Passed,
                // What was not examined whole never exits with 0.
                _ if report.status != Status::Complete => Outcome::Refused,
                _ => outcome(&said),
            };
            (outcome, said)
        })
        .collect();
    Row { kind, outcomes }
}

/// A terminal shows what the report says, not what a submission wrote.
fn shows_no_control_characters(report: &Report) {
    let audit = Audit::new(vec![report.clone()], Vec::new());
    let mut text = Vec::new();
    Format::Text.reporter(Detail::Full, Severity::Fail, info).write(&audit, &mut text).expect("memory");
    let text = anstream::adapter::strip_bytes(&text).into_vec();
    let text = String::from_utf8(text).expect("reports are UTF-8");
    let bad = |c: &char| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c);
    assert_eq!(text.chars().find(bad), None, "{text:?}");
}
