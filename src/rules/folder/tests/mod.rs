//! Every rule about a folder on folders written here, with the answer worked out by hand.

mod bytes;
mod carriers;
mod code;
mod denominator;
mod digits;
mod disk;
mod documents;
mod fields;
mod logs;
mod machine;
mod numbers;
mod record;
mod results;
mod safety;
mod seed_values;
mod seeds;
mod selected_runs;
mod source;
mod step_times;
mod times;
mod unfinished;

use crate::manifest::Track;
use crate::report::Evidence;
use crate::rules::{Check, FolderCase, Outcome, Policy, PolicyFile, find};
use crate::submission::RecordFolder;

/// A folder that stands in the record track.
const PLACE: &str = "records/track_10min_16mb/2026-04-02_Test";

/// A record folder as it was read, and how it is checked.
struct Submission {
    folder: RecordFolder,
    track: Track,
    policy: Policy,
}

impl Submission {
    /// Text files in a folder of the record track.
    fn of(files: &[(&str, &str)]) -> Self {
        Self::at(PLACE, files)
    }

    /// submission.json and training logs, which are called `train0.log`, `train1.log` and so on.
    fn logged(json: &str, logs: &[&str]) -> Self {
        let names: Vec<String> = (0..logs.len()).map(|i| format!("train{i}.log")).collect();
        let logs = names.iter().zip(logs).map(|(name, text)| (name.as_str(), *text));
        Self::of(&[("submission.json", json)].into_iter().chain(logs).collect::<Vec<_>>())
    }

    /// Text files in a folder at this place.
    fn at(place: &str, files: &[(&str, &str)]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join(place);
        std::fs::create_dir_all(&root).unwrap();
        for (name, text) in files {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self {
            folder: RecordFolder::read(&root),
            track: Track::TenMinutes,
            policy: PolicyFile::builtin(Track::TenMinutes).unwrap().on(None),
        }
    }

    /// Judged by the rules of the other track.
    fn non_record(self) -> Self {
        Self { track: Track::NonRecord, ..self }
    }

    fn decide(&self, rule: &str) -> Outcome {
        let Check::Folder(check) = find(rule).unwrap_or_else(|| panic!("no rule {rule}")).check else {
            panic!("{rule} is not about folders")
        };
        check(&FolderCase { folder: &self.folder, track: self.track, policy: &self.policy })
    }

    /// What the rule says, a line each: `pass`, `pass: REMARK`, `unknown: MISSING`, `not applicable`; or `LEVEL:
    /// MESSAGE` of every violation, each followed by its evidence as `PATH:LINE: FOUND (EXPECTED)`.
    fn says(&self, rule: &str) -> Vec<String> {
        match self.decide(rule) {
            Outcome::Holds(None) => vec!["pass".into()],
            Outcome::Holds(Some(remark)) => vec![format!("pass: {remark}")],
            Outcome::Unknown(missing) => vec![format!("unknown: {missing}")],
            Outcome::NotApplicable => vec!["not applicable".into()],
            Outcome::Violated(violations) => violations
                .into_iter()
                .flat_map(|violation| {
                    let severity = violation.severity.unwrap_or(find(rule).unwrap().severity);
                    let message = format!("{}: {}", severity.word(), violation.message);
                    std::iter::once(message).chain(violation.evidence.iter().map(cited)).collect::<Vec<_>>()
                })
                .collect(),
        }
    }

    /// Whether the rule is violated; what it says otherwise does not matter.
    fn violates(&self, rule: &str) -> bool {
        matches!(self.decide(rule), Outcome::Violated(_))
    }
}

fn cited(evidence: &Evidence) -> String {
    let line = evidence.line.map(|line| format!(":{line}")).unwrap_or_default();
    let found = evidence.found.as_ref().map(|found| format!(": {found}")).unwrap_or_default();
    let expected = evidence.expected.as_ref().map(|expected| format!(" ({expected})")).unwrap_or_default();
    format!("{}{line}{found}{expected}", evidence.path)
}
