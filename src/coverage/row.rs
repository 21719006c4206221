//! Records, from the board and from manifests, with what each lacks.

use super::{GAPS, Gap, Task};
use crate::manifest::Manifest;
use crate::stats::{Board, BoardEntry};

/// The pull request whose script the unchanged baseline is; the board names none for it.
const BASELINE: u64 = 2;

/// One record.
pub struct Row<'a> {
    /// Pull request.
    pub pr: u64,
    /// Title, where one is known.
    pub title: Option<&'a str>,
    /// Day of the claim.
    pub date: Option<&'a str>,
    /// Claimed mean, bits per byte, as printed.
    pub val_bpb: Option<String>,
    /// Whether it stands on the board.
    pub on_board: bool,
    /// Its manifest.
    pub manifest: Option<&'a Manifest>,
    /// What it has and a manifest cannot say.
    pub gaps: Vec<&'static Gap>,
}

/// Whether something can be done with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It can.
    Yes,
    /// It can, with another result because of these.
    Nearly(Vec<&'static str>),
    /// It cannot, because of these.
    No(Vec<&'static str>),
    /// There is no manifest, and the title says nothing against it.
    Unknown,
}

/// All records in the order of their pull requests.
pub fn rows<'a>(records: &'a [Manifest], board: &'a Board) -> Vec<Row<'a>> {
    let manifest = |pr| records.iter().find(|record| record.claim.pr() == Some(pr));
    let mut rows: Vec<Row<'a>> = Vec::new();
    for entry in &board.records {
        let pr = entry.pr.unwrap_or(BASELINE);
        rows.push(Row::new(pr, Some(entry), manifest(pr), board));
    }
    for record in records {
        if let Some(pr) = record.claim.pr().filter(|pr| rows.iter().all(|row| row.pr != *pr)) {
            rows.push(Row::new(pr, None, Some(record), board));
        }
    }
    rows.sort_by_key(|row| row.pr);
    rows
}

impl<'a> Row<'a> {
    fn new(pr: u64, entry: Option<&'a BoardEntry>, manifest: Option<&'a Manifest>, board: &Board) -> Self {
        let claim = manifest.map(|manifest| &manifest.claim);
        let title = entry.map(|entry| entry.title.as_str());
        let noted = |gap: &Gap| manifest.is_some_and(|m| m.notes.iter().any(|note| gap.is_noted(note)));
        let told = |gap: &Gap| manifest.is_none() && title.is_some_and(|title| is_told(gap, title, board));
        let claimed = claim.and_then(|claim| claim.metrics.val_bpb.as_ref()).map(|number| number.text().to_string());
        Row {
            pr,
            title: title.or(claim.and_then(|claim| claim.title.as_deref())),
            date: claim.and_then(|claim| claim.date.as_deref()).or(entry.map(|entry| entry.date.as_str())),
            val_bpb: claimed.or(entry.map(|entry| entry.val_bpb.to_string())),
            on_board: entry.is_some(),
            manifest,
            gaps: GAPS.iter().filter(|gap| noted(gap) || told(gap)).collect(),
        }
    }

    /// Whether a task can be done.
    pub fn answer(&self, task: Task) -> Answer {
        let names = |of: fn(&Gap) -> &'static [Task]| -> Vec<&'static str> {
            self.gaps.iter().filter(|gap| of(gap).contains(&task)).map(|gap| gap.name).collect()
        };
        let (prevents, changes) = (names(|gap| gap.prevents), names(|gap| gap.changes));
        match (self.manifest, prevents.is_empty(), changes.is_empty()) {
            (_, false, _) => Answer::No(prevents),
            (None, true, _) => Answer::Unknown,
            (Some(_), true, false) => Answer::Nearly(changes),
            (Some(_), true, true) => Answer::Yes,
        }
    }
}

/// Whether a title tells a gap, or names another record of the board whose title does: `on the stack of PR 1736`.
fn is_told(gap: &Gap, title: &str, board: &Board) -> bool {
    let named = title.rsplit_once("the stack of PR ").and_then(|(_, number)| number.parse().ok());
    let stack = named.and_then(|pr| board.entry(pr));
    gap.is_in_title(title) || stack.is_some_and(|stack| gap.is_in_title(&stack.title))
}
