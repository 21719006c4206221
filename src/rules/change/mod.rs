//! Rules about a pull request as a whole: exactly one new folder under `records/TRACK/`, nothing else touched.

use std::collections::BTreeSet;

use super::{ChangeCase, Check, EvidenceKind, Outcome, Rule, Tracks, Violation};
use crate::report::{Evidence, RuleId, Severity};
use crate::submission::change::{Change, ChangedFile, Entry, LeftOut, Status, TouchedFolder};

/// All of them, in report order.
pub(super) const RULES: &[Rule] = &[NO_SUBMISSION, SEVERAL, OUTSIDE, CHANGES_RECORD, NOT_FILES, CUT_SHORT];

/// Places shown for one finding.
const MAX_PLACES: usize = 8;

/// The tracks' folders.
const TRACK_FOLDERS: [&str; 2] = ["records/track_10min_16mb/", "records/track_non_record_16mb/"];

const fn rule(
    id: &'static str,
    statement: &'static str,
    severity: Severity,
    why: &'static str,
    example: &'static str,
    check: fn(&ChangeCase) -> Outcome,
) -> Rule {
    Rule {
        id: RuleId(id),
        statement,
        reference: "challenge README, submission process: a pull request only adds one new folder to a records track",
        severity,
        tracks: Tracks::Both,
        evidence: EvidenceKind::Change,
        why,
        example,
        check: Check::Change(check),
    }
}

/// Whether anything in the change looks like a submission or touches one: files in record folders, or loose ones in the
/// tracks, or what only a submission has, wherever it was put. Documentation beside the folders does not.
fn is_submission(change: &Change) -> bool {
    let is_part = |file: &ChangedFile| {
        let name = file.path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let is_text = [".md", ".rst", ".txt"].iter().any(|end| name.ends_with(end)) && name.starts_with("readme");
        let is_added = file.status == Status::Added;
        (file.path.starts_with("records/") && !is_text) || (is_added && name == "submission.json")
    };
    !change.folders.is_empty() || change.truncated || change.files.iter().any(is_part)
}

const NO_SUBMISSION: Rule = rule(
    "no_submission_in_pr",
    "The change touches records/, or brings a submission.json, and adds no folder to a records track.",
    Severity::Fail,
    "There is nothing to check, or it lies where nobody looks.",
    "records/lzma6/train_gpt.py",
    |case| {
        let in_track = |folder: &&TouchedFolder| TRACK_FOLDERS.iter().any(|track| folder.path.starts_with(track));
        match case.change.new_folders().find(in_track) {
            Some(folder) => Outcome::holds(format!("adds {}", folder.path)),
            None if !is_submission(case.change) => {
                Outcome::holds("nothing of a submission is touched: there is none to check")
            }
            None => {
                let other = case.change.new_folders().map(|folder| Evidence::file(&folder.path)).take(MAX_PLACES);
                Outcome::violated("the change adds no folder to a records track", other.collect())
            }
        }
    },
);

const SEVERAL: Rule = rule(
    "several_submissions_in_pr",
    "The change adds more than one record folder.",
    Severity::Warning,
    "One claim a pull request can be reviewed, merged or refused by itself.",
    "records/track_10min_16mb/2026-04-01_A and records/track_10min_16mb/2026-04-01_B",
    |case| {
        let folders = || case.change.new_folders();
        match folders().count() {
            0 => Outcome::NotApplicable,
            1 => Outcome::HOLDS,
            n => Outcome::violated(
                format!("the change adds {n} record folders"),
                folders().take(MAX_PLACES).map(|folder| Evidence::file(&folder.path)).collect(),
            ),
        }
    },
);

const OUTSIDE: Rule = rule(
    "touches_files_outside_folder",
    "The change touches files outside the folder it adds.",
    Severity::Fail,
    "458 of 1,798 submissions do; merging them changes the challenge itself.",
    "README.md modified beside a new record folder",
    |case| {
        if !is_submission(case.change) {
            return Outcome::NotApplicable;
        }
        let mut count = 0;
        let mut evidence = Vec::new();
        for file in case.change.outside() {
            count += 1;
            if evidence.len() < MAX_PLACES {
                evidence.push(Evidence::file(&file.path).found(word(file.status)));
            }
        }
        match count {
            0 => Outcome::HOLDS,
            1 => Outcome::violated("1 file outside the new folder is touched", evidence),
            n => Outcome::violated(format!("{n} files outside the new folder are touched"), evidence),
        }
    },
);

const CHANGES_RECORD: Rule = rule(
    "changes_existing_record",
    "The change adds to, modifies or deletes files of a record folder that was there before.",
    Severity::Fail,
    "A record that can be rewritten afterwards is none.",
    "records/track_10min_16mb/2026-03-20_Other/train.log modified",
    |case| {
        let changed = case.change.old_folders().map(|folder| {
            let files: Vec<_> = case.change.inside(folder).collect();
            let evidence =
                files.iter().take(MAX_PLACES).map(|file| Evidence::file(&file.path).found(word(file.status)));
            Violation::new(format!("{}: {} of its files changed", folder.path, files.len()), evidence.collect())
        });
        // On a file system that ignores case, the new folder's files replace the old one's.
        let twins = case.change.new_folders().filter_map(|folder| {
            let message =
                format!("{} differs only in case from {}, which is there", folder.path, folder.twin.as_ref()?);
            Some(Violation::new(message, vec![Evidence::file(&folder.path)]))
        });
        Outcome::from_violations(changed.chain(twins).collect())
    },
);

const NOT_FILES: Rule = rule(
    "links_or_submodules_in_pr",
    "The change adds symbolic links or submodules.",
    Severity::Fail,
    "What they point at is not part of the submission and can change later.",
    "records/track_10min_16mb/2026-04-01_A/train.log -> ../../../other/train.log",
    |case| {
        let odd: Vec<_> =
            case.change.files.iter().filter(|file| matches!(file.entry, Entry::Link | Entry::Submodule)).collect();
        let violations = odd.iter().take(MAX_PLACES).map(|file| {
            let what = if file.entry == Entry::Link { "a symbolic link" } else { "a submodule" };
            Violation::new(format!("{} is {what}", file.path), vec![Evidence::file(&file.path)])
        });
        Outcome::from_violations(violations.collect())
    },
);

const CUT_SHORT: Rule = rule(
    "change_not_fully_examined",
    "Files of the change were too many, too large or too oddly named to be examined.",
    Severity::Fail,
    "What was not read was not checked, and a check that could not be made must not look like one that passed.",
    "a 2 GB checkpoint inside the folder; more than 20,000 files",
    |case| {
        let mut violations = Vec::new();
        if case.change.truncated {
            let message = format!(
                "the list of changed files was cut off behind {} of them: what follows was not looked at",
                case.change.files.len()
            );
            let last = case.change.files.last().map(|file| Evidence::file(&file.path).found("the last one looked at"));
            violations.push(Violation::new(message, last.into_iter().collect()));
        }
        // Links and submodules have a rule of their own.
        let linked: BTreeSet<&str> = case
            .change
            .files
            .iter()
            .filter(|file| matches!(file.entry, Entry::Link | Entry::Submodule))
            .map(|file| file.path.as_str())
            .collect();
        let left_out: Vec<&LeftOut> = case.left_out.iter().filter(|out| !linked.contains(out.path.as_str())).collect();
        if !left_out.is_empty() {
            let evidence = left_out.iter().take(MAX_PLACES).map(|out| Evidence::file(&out.path).found(&out.reason));
            violations
                .push(Violation::not_examined(format!("{} not examined", count(left_out.len())), evidence.collect()));
        }
        Outcome::from_violations(violations)
    },
);

fn count(files: usize) -> String {
    if files == 1 { "1 file was".into() } else { format!("{files} files were") }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Added => "added",
        Status::Modified => "modified",
        Status::Deleted => "deleted",
    }
}
