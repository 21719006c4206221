//! What changed since an earlier audit.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::names::without_common;
use crate::escape::visible;
use crate::regular_file;
use crate::report::{Audit, Level, PolicyRef, Report, Severity};

/// Largest report read: the audit of all submissions there are takes a tenth.
const MAX_BYTES: u64 = 512 << 20;

/// An earlier report of `verify --format json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    harness: String,
    /// By subject, without the folders that all share: trees are moved.
    reports: BTreeMap<String, EarlierReport>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct EarlierReport {
    policy: PolicyRef,
    level: Level,
    /// Rules that were not simply fine, each with the worst it came to.
    found: BTreeMap<String, Severity>,
}

/// An earlier report that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EarlierError {
    /// Not readable.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too large.
    #[error("{} is larger than {MAX_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not the JSON of an audit.
    #[error("{}: {source}; expected what `verify --format json` writes", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Another kind of document.
    #[error("{}: schema is `{found}`, expected `{}`", path.display(), Audit::SCHEMA)]
    Schema {
        /// The file.
        path: PathBuf,
        /// The schema it names.
        found: String,
    },
}

#[derive(Deserialize)]
struct Document {
    schema: String,
    harness: String,
    reports: Vec<DocumentReport>,
}

#[derive(Deserialize)]
struct DocumentReport {
    subject: String,
    policy: PolicyRef,
    assurance: DocumentAssurance,
    findings: Vec<DocumentFinding>,
}

#[derive(Deserialize)]
struct DocumentAssurance {
    level: Level,
}

#[derive(Deserialize)]
struct DocumentFinding {
    rule: String,
    severity: Severity,
}

/// How a subject differs from its earlier self.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What happened, in a word; empty if nothing did.
    pub word: &'static str,
    /// Each difference, in a sentence.
    pub lines: Vec<String>,
}

/// Differences between two audits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Of each subject, in order.
    pub of: Vec<Change>,
    /// Subjects that are not there any more.
    pub gone: Vec<String>,
    /// Version of the program that made the earlier report.
    pub harness: String,
}

impl Earlier {
    /// Reads a report of `verify --format json`.
    pub fn load(path: &Path) -> Result<Self, EarlierError> {
        let mut bytes = Vec::new();
        let file = regular_file::open(path);
        let read = file.and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        read.map_err(|source| EarlierError::Read { path: path.to_path_buf(), source })?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(EarlierError::TooLarge { path: path.to_path_buf() });
        }
        Self::parse(&bytes, path)
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, EarlierError> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|source| EarlierError::Parse { path: path.to_path_buf(), source })?;
        if document.schema != Audit::SCHEMA {
            let found = visible(&document.schema.chars().take(80).collect::<String>());
            return Err(EarlierError::Schema { path: path.to_path_buf(), found });
        }
        let subjects: Vec<&str> = document.reports.iter().map(|report| report.subject.as_str()).collect();
        let names = without_common(&subjects);
        let reports = names.into_iter().zip(document.reports).map(|(name, report)| {
            let found = worst(report.findings.into_iter().map(|finding| (finding.rule, finding.severity)));
            (name, EarlierReport { policy: report.policy, level: report.assurance.level, found })
        });
        Ok(Earlier { harness: visible(&document.harness), reports: reports.collect() })
    }

    /// What changed up to these reports.
    pub fn changes(&self, reports: &[Report]) -> Changes {
        let subjects: Vec<&str> = reports.iter().map(|report| report.subject.as_str()).collect();
        let names = without_common(&subjects);
        let of = names.iter().zip(reports).map(|(name, report)| match self.reports.get(name) {
            Some(earlier) => earlier.change(report),
            None => Change { word: "new", lines: vec!["not in the earlier audit".to_string()] },
        });
        let of = of.collect();
        let present: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let gone = self.reports.keys().filter(|name| !present.contains(name.as_str())).map(|name| visible(name));
        Changes { of, gone: gone.collect(), harness: self.harness.clone() }
    }
}

/// Of each rule the worst that was found, passes and open questions left out.
fn worst(findings: impl Iterator<Item = (String, Severity)>) -> BTreeMap<String, Severity> {
    let mut worst: BTreeMap<String, Severity> = BTreeMap::new();
    for (rule, severity) in findings.filter(|(_, severity)| !matches!(severity, Severity::Pass | Severity::Unknown)) {
        let known = worst.entry(rule).or_insert(severity);
        *known = severity.max(*known);
    }
    worst
}

impl EarlierReport {
    fn change(&self, report: &Report) -> Change {
        let found = worst(report.findings.iter().map(|finding| (finding.rule.0.to_string(), finding.severity)));
        let (mut better, mut worse, mut lines) = (0, 0, Vec::new());
        if self.policy != report.policy {
            let name = |policy: &PolicyRef| format!("{} of {}", visible(&policy.name), visible(&policy.effective));
            lines.push(format!("rules: {} became {}", name(&self.policy), name(&report.policy)));
        }
        if self.level != report.assurance.level {
            let level = report.assurance.level;
            *(if level > self.level { &mut better } else { &mut worse }) += 1;
            lines.push(format!("level: {} became {}", level_word(self.level), level_word(level)));
        }
        let rules: BTreeSet<&String> = self.found.keys().chain(found.keys()).collect();
        for rule in rules {
            let (before, after) = (self.found.get(rule), found.get(rule));
            if before == after {
                continue;
            }
            *(if after < before { &mut better } else { &mut worse }) += 1;
            let word = |severity: Option<&Severity>| severity.map_or("nothing", |severity| severity.word());
            lines.push(format!("{}: {} became {}", visible(rule), word(before), word(after)));
        }
        let word = match (better, worse, lines.is_empty()) {
            (_, _, true) => "",
            (_, 0, _) if better > 0 => "better",
            (0, _, _) if worse > 0 => "worse",
            _ => "changed",
        };
        Change { word, lines }
    }
}

fn level_word(level: Level) -> &'static str {
    if level == Level::Unreadable { "no level" } else { level.word() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::audit::{self, Options};

    fn report(fixture: &str) -> Report {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/submissions").join(fixture);
        audit::folder(&path, format!("new/place/{fixture}"), &Options::default()).unwrap()
    }

    fn earlier(reports: Vec<Report>) -> Earlier {
        let json = serde_json::to_vec(&Audit::new(reports, Vec::new())).unwrap();
        Earlier::parse(&json, Path::new("old.json")).unwrap()
    }

    #[test]
    fn an_audit_does_not_differ_from_itself_in_another_place() {
        let reports = vec![report("good"), report("over-budget")];
        let mut before = reports.clone();
        before.iter_mut().for_each(|report| report.subject = report.subject.replace("new/place", "old"));
        let changes = earlier(before).changes(&reports);
        assert!(changes.of.iter().all(|change| *change == Change::default()), "{changes:?}");
        assert!(changes.gone.is_empty());
    }

    #[test]
    fn differences_have_a_direction_and_a_sentence() {
        let (good, bad) = (report("good"), report("over-budget"));
        let mut became_bad = bad.clone();
        became_bad.subject = good.subject.clone();
        let other = report("best-seed");
        let changes = earlier(vec![good.clone(), bad.clone()]).changes(&[became_bad.clone(), other]);
        assert_eq!((changes.of[0].word, changes.of[1].word), ("worse", "new"));
        let said = changes.of[0].lines.join("\n");
        assert!(said.contains("over_budget: nothing became fail"), "{said}");
        assert!(said.contains("level: documented became no level"), "{said}");
        assert_eq!(changes.gone, ["over-budget"]);
        assert_eq!(earlier(vec![became_bad]).changes(&[good]).of[0].word, "better");
    }

    #[test]
    fn other_documents_are_refused() {
        let parse = |text: &str| Earlier::parse(text.as_bytes(), Path::new("x")).unwrap_err().to_string();
        assert!(parse("{}").contains("verify --format json"));
        assert!(parse(r#"{"schema": "\u001b[2J", "harness": "", "reports": []}"#).contains("`\\u{1b}[2J`"));
    }
}
