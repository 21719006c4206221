//! The numbers and severities in force on a day, read from versioned YAML.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::{closest, find};
use crate::manifest::Track;
use crate::report::{PolicyRef, RuleId, Severity};
use crate::stats::{Board, RecordTerms};
use crate::units::Bytes;

/// The schema identifier every policy file starts with.
pub const POLICY_SCHEMA: &str = "golf-harness/policy/v1";

/// A policy file is a page of text; one larger than this is something else.
const MAX_POLICY_BYTES: u64 = 1024 * 1024;

/// The policies that come with the crate.
const TEN_MINUTES: &str = include_str!("../../manifests/10min_16mb.yaml");
const NON_RECORD: &str = include_str!("../../manifests/non_record.yaml");

/// A validation text that was replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlierText {
    /// Its UTF-8 bytes.
    pub bytes: u64,
    /// Submissions before this day (`YYYY-MM-DD`) may have been scored on it.
    pub before: String,
}

/// Limits of one revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Code plus compressed model, inclusive.
    pub budget_bytes: Bytes,
    /// Training cap, seconds.
    pub train_seconds: f64,
    /// Up to here the last step explains going over.
    pub train_seconds_marginal: f64,
    /// Up to here the run is a little over; above, grossly.
    pub train_seconds_small: f64,
    /// Evaluation cap, seconds; none before there was one.
    pub eval_seconds: Option<f64>,
    /// Accelerators a run is timed on.
    pub devices: u64,
    /// Their kind, as a part of the name the driver reports.
    pub device_kind: String,
    /// Runs with different seeds expected behind a record.
    pub seeds: u64,
    /// UTF-8 bytes of the validation text: the denominator of `val_bpb` whatever the tokenizer.
    pub val_text_bytes: u64,
    /// Relative part by which a denominator may be longer: what rounding of logged numbers explains.
    pub val_text_bytes_tolerance: f64,
    /// Relative part by which it may be shorter, if another: bytes left out make a score worse, not better.
    pub val_text_bytes_missing_tolerance: Option<f64>,
    /// Relative distance from a tokenizer's usual bytes per token that another split or another end of it explains.
    pub bytes_per_token_tolerance: Option<f64>,
    /// The text of data published earlier, where there was another.
    pub val_text_earlier: Option<EarlierText>,
    /// Outside this range `val_bpb` is no result.
    pub bpb_plausible: (f64, f64),
    /// Below this, so far only caches, leaks and wrong denominators have come.
    pub bpb_suspicious: f64,
    /// A record must be better by this, nats per token.
    pub record_margin_nats: f64,
    /// At this significance.
    pub record_p: f64,
}

impl Limits {
    /// Whether a text's length lies near enough to the expected one.
    ///
    /// `distance` is relative, positive for a text that is too long (which makes a score better than it is);
    /// `rounding` is half a unit in the last printed place, relative, and allowed twice.
    pub fn text_fits(&self, distance: f64, rounding: f64) -> bool {
        let longer = self.val_text_bytes_tolerance;
        let shorter = self.val_text_bytes_missing_tolerance.unwrap_or(longer);
        distance.abs() <= if distance > 0.0 { longer } else { shorter } + 2.0 * rounding
    }
}

/// The rules from one day on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Revision {
    effective: String,
    #[serde(rename = "why")]
    _why: String,
    limits: Limits,
    #[serde(default)]
    severities: BTreeMap<String, Severity>,
    #[serde(default)]
    allow: BTreeSet<String>,
}

/// A policy file: one track, its revisions by date.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    schema: String,
    name: String,
    track: Track,
    revisions: Vec<Revision>,
}

/// The policy in force on one day, with what the command line added.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    name: String,
    effective: String,
    /// The numbers.
    pub limits: Limits,
    severities: BTreeMap<String, Severity>,
    allow: BTreeSet<String>,
    board: Option<Board>,
}

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file could not be read.
    #[error("cannot read policy {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It does not parse or contradicts itself.
    #[error("policy {path}: {message}")]
    Invalid {
        /// Where it comes from.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// An unknown rule.
    #[error("no rule is called `{id}`{}", did_you_mean(*.closest))]
    UnknownRule {
        /// The name given.
        id: String,
        /// The nearest known one.
        closest: Option<&'static str>,
    },
}

/// Where the name that was meant is found.
fn did_you_mean(closest: Option<&str>) -> String {
    closest.map_or("; `verify --rules` lists them all".into(), |known| format!("; did you mean `{known}`?"))
}

impl PolicyError {
    /// No rule has this name; suggests the nearest.
    pub fn unknown_rule(id: &str) -> Self {
        PolicyError::UnknownRule { id: id.into(), closest: closest(id).map(|rule| rule.id.0) }
    }
}

/// Checks that a rule of this name exists.
fn known(id: &str) -> Result<(), PolicyError> {
    find(id).map(|_| ()).ok_or_else(|| PolicyError::unknown_rule(id))
}

/// Whether this is a calendar date `YYYY-MM-DD` (so that dates compare as text).
pub fn is_iso_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |part: &str, digits: usize| {
        (part.len() == digits && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<u32>().unwrap_or(0))
    };
    match parts.as_slice() {
        [year, month, day] => match (number(year, 4), number(month, 2), number(day, 2)) {
            (Some(year), Some(month @ 1..=12), Some(day)) => {
                let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
                let days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
                (1..=days[month as usize - 1]).contains(&day)
            }
            _ => false,
        },
        _ => false,
    }
}

impl PolicyFile {
    /// The file that comes with the crate for this track.
    pub fn builtin(track: Track) -> Result<Self, PolicyError> {
        static PARSED: [OnceLock<PolicyFile>; 2] = [const { OnceLock::new() }; 2];
        let (parsed, text, path) = match track {
            Track::TenMinutes => (&PARSED[0], TEN_MINUTES, "manifests/10min_16mb.yaml"),
            Track::NonRecord => (&PARSED[1], NON_RECORD, "manifests/non_record.yaml"),
        };
        // Asked for once a subject.
        match parsed.get() {
            Some(known) => Ok(known.clone()),
            None => {
                let file = Self::parse(text, path)?;
                Ok(parsed.get_or_init(|| file).clone())
            }
        }
    }

    /// Reads a policy file, at most one megabyte.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let read = |source| PolicyError::Read { path: path.to_path_buf(), source };
        let mut text = String::new();
        let file = crate::regular_file::open(path).map_err(read)?;
        file.take(MAX_POLICY_BYTES).read_to_string(&mut text).map_err(read)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses and checks policy text; `path` appears in errors only.
    pub fn parse(text: &str, path: &str) -> Result<Self, PolicyError> {
        let invalid = |message: String| PolicyError::Invalid { path: path.into(), message };
        let file: PolicyFile = serde_yaml::from_str(text).map_err(|error| invalid(error.to_string()))?;
        if file.schema != POLICY_SCHEMA {
            return Err(invalid(format!("schema is `{}`; this version reads `{POLICY_SCHEMA}`", file.schema)));
        }
        if file.revisions.is_empty() {
            return Err(invalid("has no revisions".into()));
        }
        for revision in &file.revisions {
            if !is_iso_date(&revision.effective) {
                return Err(invalid(format!("`{}` is not a date YYYY-MM-DD", revision.effective)));
            }
            if let Some(earlier) = revision.limits.val_text_earlier.as_ref()
                && !is_iso_date(&earlier.before)
            {
                return Err(invalid(format!("`{}` is not a date YYYY-MM-DD", earlier.before)));
            }
            revision.severities.keys().chain(&revision.allow).try_for_each(|id| known(id))?;
        }
        if !file.revisions.windows(2).all(|pair| pair[0].effective < pair[1].effective) {
            return Err(invalid("revisions must be in order of their dates, each date once".into()));
        }
        Ok(file)
    }

    /// The track it speaks about.
    pub fn track(&self) -> Track {
        self.track
    }

    /// The revision in force on `day` (`YYYY-MM-DD`); the latest without a day, the first before the first.
    pub fn on(&self, day: Option<&str>) -> Policy {
        let in_force =
            self.revisions.iter().rev().find(|revision| day.is_none_or(|day| revision.effective.as_str() <= day));
        // `parse` refuses an empty list.
        let revision = in_force.unwrap_or(&self.revisions[0]);
        Policy {
            name: self.name.clone(),
            effective: revision.effective.clone(),
            limits: revision.limits.clone(),
            severities: revision.severities.clone(),
            allow: revision.allow.clone(),
            board: None,
        }
    }
}

impl Policy {
    /// Turns violations of these rules into notes.
    pub fn allowing<'a>(mut self, rules: impl IntoIterator<Item = &'a str>) -> Result<Self, PolicyError> {
        for id in rules {
            known(id)?;
            self.allow.insert(id.to_string());
        }
        Ok(self)
    }

    /// Compares claims with these standing records as well.
    pub fn against(mut self, board: Option<Board>) -> Self {
        self.board = board;
        self
    }

    /// The standing records to compare with, if any were asked for.
    pub fn board(&self) -> Option<&Board> {
        self.board.as_ref()
    }

    /// What a record must show.
    pub fn record_terms(&self) -> RecordTerms {
        RecordTerms { margin: self.limits.record_margin_nats, alpha: self.limits.record_p }
    }

    /// The severity this policy gives to a rule's violations, if it does not leave it to the rule.
    pub fn severity(&self, rule: RuleId) -> Option<Severity> {
        self.severities.get(rule.0).copied()
    }

    /// Whether violations of this rule are suppressed.
    pub fn allows(&self, rule: RuleId) -> bool {
        self.allow.contains(rule.0)
    }

    /// How reports name it.
    pub fn reference(&self) -> PolicyRef {
        PolicyRef { name: self.name.clone(), effective: self.effective.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_in_force_depends_on_the_day() {
        let file = PolicyFile::builtin(Track::TenMinutes).unwrap();
        assert_eq!(file.on(Some("2026-03-19")).limits.eval_seconds, None);
        assert_eq!(file.on(Some("2026-03-20")).limits.eval_seconds, Some(600.0));
        assert_eq!(file.on(None).limits.eval_seconds, Some(600.0));
        assert_eq!(file.on(None).limits.budget_bytes, Bytes::BUDGET);
        assert_eq!(PolicyFile::builtin(Track::NonRecord).unwrap().on(None).limits.budget_bytes, Bytes::BUDGET);
    }

    #[test]
    fn a_rule_nobody_knows_is_refused_with_the_nearest_name() {
        let policy = PolicyFile::builtin(Track::TenMinutes).unwrap().on(None);
        let error = policy.allowing(["digest_mismach"]).unwrap_err();
        assert_eq!(error.to_string(), "no rule is called `digest_mismach`; did you mean `digest_mismatch`?");
    }

    #[test]
    fn dates_are_calendar_dates() {
        for good in ["2026-03-18", "2024-02-29", "2000-02-29"] {
            assert!(is_iso_date(good), "{good}");
        }
        for bad in
            ["", "2026-3-18", "2026-02-29", "1900-02-29", "2026-13-01", "2026-03-XX", "pending", "2026-03-18T10:00"]
        {
            assert!(!is_iso_date(bad), "{bad}");
        }
    }
}
