//! The page.

use std::fmt::Write;

use super::{Answer, FEATURES, GAPS, Row, Task, rows};
use crate::escape::markdown::text;
use crate::manifest::Manifest;
use crate::stats::Board;

/// Records that have no manifest and no row on the board, and what a source says of them.
const UNWRITTEN: [(u64, &str); 5] = [
    (49, "nothing"),
    (50, "sliding windows with a stride of 64, of 2026-03-19, by mattqlf (PR #979's README)"),
    (52, "nothing"),
    (65, "SmearGate is from it, by aquariouseworkman (PR #1395's README)"),
    (265, "XSA is from it, by unnir (PR #1413's README)"),
];

/// `docs/coverage.md` for these manifests and this board.
pub fn markdown(records: &[Manifest], board: &Board) -> String {
    let rows = rows(records, board);
    let mut page = String::from(HEAD);
    page +=
        "| record | title | date | val_bpb | scored | trained again | packed alike |\n|---|---|---|---|---|---|---|\n";
    for row in &rows {
        let cell = |found: Option<&str>| found.map_or_else(String::new, text);
        let [score, train, pack] = Task::ALL.map(|task| words(&row.answer(task)));
        let (title, date, bpb) = (cell(row.title), cell(row.date), cell(row.val_bpb.as_deref()));
        let _ = writeln!(page, "| {} | {title} | {date} | {bpb} | {score} | {train} | {pack} |", link(row));
    }
    page += "\n## What is missing\n\n| | what it is | prevents | changes | records |\n|---|---|---|---|---|\n";
    for gap in GAPS {
        let prs: Vec<String> = rows.iter().filter(|row| gap.is_of(row)).map(|row| row.pr.to_string()).collect();
        let (prevents, changes) = (tasks(gap.prevents), tasks(gap.changes));
        let _ = writeln!(page, "| {} | {} | {prevents} | {changes} | {} |", gap.name, gap.what, prs.join(", "));
    }
    page += FEATURES_HEAD;
    let written: Vec<(&Row<'_>, &Manifest)> = rows.iter().filter_map(|row| Some((row, row.manifest?))).collect();
    let heads: Vec<String> = written.iter().map(|(row, _)| row.pr.to_string()).collect();
    let _ = writeln!(page, "| | {} |\n|---|{}", heads.join(" | "), ":-:|".repeat(written.len()));
    for feature in FEATURES {
        let mark = |manifest: &Manifest| match (feature.is_stated(manifest), (feature.is_used)(manifest)) {
            (false, _) => "?",
            (true, true) => "x",
            (true, false) => "",
        };
        let marks: Vec<&str> = written.iter().map(|(_, manifest)| mark(manifest)).collect();
        let _ = writeln!(page, "| {} | {} |", feature.name, marks.join(" | "));
    }
    page += "\n## No manifest\n\nThere are too few facts for these.\n\n| record | known |\n|---|---|\n";
    for row in rows.iter().filter(|row| row.manifest.is_none()) {
        let _ = writeln!(page, "| {} | its row on the board |", row.pr);
    }
    for (pr, known) in UNWRITTEN {
        let _ = writeln!(page, "| {pr} | {known} |");
    }
    page
}

/// The record's number, linked to its manifest.
fn link(row: &Row<'_>) -> String {
    match row.manifest {
        Some(manifest) => format!("[{}](../manifests/records/{}.yaml)", row.pr, manifest.name),
        None => row.pr.to_string(),
    }
}

fn words(answer: &Answer) -> String {
    match answer {
        Answer::Yes => "yes".to_string(),
        Answer::Nearly(gaps) => format!("nearly: {}", gaps.join(", ")),
        Answer::No(gaps) => format!("no: {}", gaps.join(", ")),
        Answer::Unknown => "no manifest".to_string(),
    }
}

fn tasks(tasks: &[Task]) -> String {
    let word = |task: &Task| match task {
        Task::Score => "scoring",
        Task::Train => "training",
        Task::Pack => "packing",
    };
    tasks.iter().map(word).collect::<Vec<_>>().join(", ")
}

const HEAD: &str = "\
# Coverage

Records of the 10-minute track, and what can be done with each here. Made from `manifests/records/` and
`manifests/board.yaml`:

```
UPDATE_DOCS=1 cargo test --lib coverage
```

writes it anew, and `cargo test` fails when it is out of date. Numbers are pull requests of openai/parameter-golf; 2 is
the script of the naive baseline.

* **Scored**: `score` computes the claimed number from the record's weights, its tokenizer and the validation shards, none
  of which are shipped.
* **Trained again**: `train` follows the record's recipe. Each of them ends with the time, so that another machine takes
  other numbers of steps and reaches another score.
* **Packed alike**: `pack` rounds the weights to the same integers with the same scales. The container is this program's
  own, and its size another, unless `quantization.container` names the script's.

*Nearly*: it is done, and what is named makes the result another. *No*: what is named is missing. *No manifest*: there
are too few facts, and the title names nothing that is missing.

";

const FEATURES_HEAD: &str = "
## Features

Of records with a manifest, as its fields say; `?` where it leaves out what would say it.

";
