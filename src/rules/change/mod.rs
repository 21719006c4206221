//! Rules about a pull request as a whole: exactly one new folder under `records/TRACK/`, nothing else touched.

use super::{ChangeCase, Check, EvidenceKind, Outcome, Rule, Tracks, Violation};
use crate::report::{Evidence, RuleId, Severity};
use crate::submission::change::{Entry, Status};

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

const NO_SUBMISSION: Rule = rule(
    "no_submission_in_pr",
    "The change adds no folder under records/track_10min_16mb/ or records/track_non_record_16mb/.",
    Severity::Fail,
    "There is nothing to check, or it lies where nobody looks.",
    "records/lzma6/train_gpt.py",
    |case| {
        let in_track = |folder: &&String| TRACK_FOLDERS.iter().any(|track| folder.starts_with(track));
        match case.change.new_folders.iter().find(in_track) {
            Some(folder) => Outcome::holds(format!("adds {folder}")),
            None => {
                let other = case.change.new_folders.iter().map(Evidence::file).take(MAX_PLACES);
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
    |case| match case.change.new_folders.as_slice() {
        [] => Outcome::NotApplicable,
        [_] => Outcome::HOLDS,
        folders => Outcome::violated(
            format!("the change adds {} record folders", folders.len()),
            folders.iter().take(MAX_PLACES).map(Evidence::file).collect(),
        ),
    },
);

const OUTSIDE: Rule = rule(
    "touches_files_outside_folder",
    "The change touches files outside the folder it adds.",
    Severity::Fail,
    "458 of 1,798 submissions do; merging them changes the challenge itself.",
    "README.md modified beside a new record folder",
    |case| {
        let mut count = 0;
        let mut evidence = Vec::new();
        for file in case.change.outside().filter(|file| !case.is_in_old_folder(&file.path)) {
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
        let violations = case.change.old_folders.iter().map(|folder| {
            let files: Vec<_> = case.change.inside(folder).collect();
            let evidence =
                files.iter().take(MAX_PLACES).map(|file| Evidence::file(&file.path).found(word(file.status)));
            Violation::new(format!("{folder}: {} of its files changed", files.len()), evidence.collect())
        });
        Outcome::from_violations(violations.collect())
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
    Severity::Warning,
    "What was not read was not checked.",
    "a 2 GB checkpoint inside the folder",
    |case| {
        let mut evidence: Vec<Evidence> =
            case.left_out.iter().take(MAX_PLACES).map(|out| Evidence::file(&out.path).found(&out.reason)).collect();
        if case.change.truncated {
            evidence.push(Evidence::default().found("the list of changed files was cut off"));
        }
        match (evidence.is_empty(), case.left_out.len()) {
            (true, _) => Outcome::HOLDS,
            (false, n) => {
                let message = format!("{n} files were not examined");
                Outcome::Violated(vec![Violation::not_examined(message, evidence)])
            }
        }
    },
);

fn word(status: Status) -> &'static str {
    match status {
        Status::Added => "added",
        Status::Modified => "modified",
        Status::Deleted => "deleted",
    }
}
