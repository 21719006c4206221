//! Claimed against rerun: numbers, conduct, and the level of assurance they come to.

mod claim;
mod compare;
mod conduct;
mod reasons;
mod scored;
mod standing;
#[cfg(test)]
mod tests;
mod text;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use claim::{Claim, ClaimedSeed, ClaimedValue};
pub use compare::{Agreement, Comparison, Row, Welch, compare};
pub use conduct::Remark;
pub use scored::{Scored, Scoring, SeedScore};
pub use standing::{Against, Standing};
pub(super) use text::gpu_use;
pub use text::{markdown, text};

use super::record::SeedRecord;
use crate::manifest::Track;
use crate::report::{Assurance, Conclusion, Level, Report, Severity};
use crate::rules::Limits;

/// The schema identifier of every judgement.
pub const REPORT_SCHEMA: &str = "golf-harness/rerun-report/v1";

/// What there is to judge.
pub struct Case<'a> {
    /// Name of the submission.
    pub name: &'a str,
    /// What it claims.
    pub claim: Claim,
    /// What the rules say about the folder.
    pub audit: &'a Report,
    /// Its track.
    pub track: Track,
    /// The rulebook's numbers.
    pub limits: &'a Limits,
    /// What was run.
    pub records: &'a [SeedRecord],
    /// Seeds that an earlier call finished.
    pub kept: &'a [u64],
    /// Seeds that were asked for and are not finished.
    pub missing: &'a [MissingSeed],
    /// Machines of the seeds, in words, where they are unlike.
    pub unlike: &'a [String],
    /// Files of submission and data that changed while it ran.
    pub changed: &'a [String],
    /// Allowed distance of a seed, bits per byte, if one is stated.
    pub tolerance: Option<f64>,
    /// A few iterations only: no reproduction.
    pub is_smoke: bool,
    /// This machine.
    pub machine: MachineFacts,
    /// Standing records, if they are asked about.
    pub against: Option<Against<'a>>,
    /// The artifacts, scored by this program, if that is asked for.
    pub scoring: Option<Scoring>,
}

/// What a reader needs to know of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MachineFacts {
    /// GPUs, by name.
    pub gpus: Vec<String>,
    /// Processors.
    pub processors: usize,
    /// Operating system and kind of processor.
    pub platform: String,
    /// Interpreter and its version.
    pub python: String,
    /// NVIDIA's driver, where there is one.
    pub driver: Option<String>,
    /// Packages that the script may use, with their versions.
    pub packages: std::collections::BTreeMap<String, String>,
    /// Packages that the script would use and that are not here.
    pub absent_packages: Vec<String>,
}

/// A seed that was asked for and is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MissingSeed {
    /// The seed.
    pub seed: u64,
    /// Where it is.
    pub state: SeedState,
    /// In words.
    pub words: String,
}

/// Where a seed is that is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeedState {
    /// It waits for a machine.
    Pending,
    /// It runs.
    Running,
    /// It ended and left no record.
    Failed,
    /// What is there was run by another recipe.
    Other,
    /// Nothing is known of it.
    Unknown,
}

impl SeedState {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            SeedState::Pending => "pending",
            SeedState::Running => "running",
            SeedState::Failed => "failed",
            SeedState::Other => "stale",
            SeedState::Unknown => "missing",
        }
    }
}

/// A rerun, judged.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Judgement {
    /// Always `golf-harness/rerun-report/v1`.
    #[schemars(extend("const" = REPORT_SCHEMA))]
    pub schema: &'static str,
    /// Name of the submission.
    pub name: String,
    /// This program.
    pub harness: String,
    /// What is claimed.
    pub claim: Claim,
    /// Numbers.
    pub comparison: Comparison,
    /// Conduct.
    pub remarks: Vec<Remark>,
    /// How the reruns stand against a board, if one is given.
    pub standing: Option<Standing>,
    /// The artifacts, scored by this program, if that is asked for.
    pub scoring: Option<Scoring>,
    /// What a difference can come from.
    pub reasons: Vec<String>,
    /// The level reached, 0 to 5.
    pub level: u8,
    /// Its word; level 4 of a rerun is `rerun`.
    pub level_word: &'static str,
    /// What the next level needs, one sentence each.
    pub next_needs: Vec<String>,
    /// A few iterations only: no reproduction.
    pub is_smoke: bool,
    /// The machine.
    pub machine: MachineFacts,
    /// Seeds that an earlier call of the same command finished.
    pub kept: Vec<u64>,
    /// Seeds that were asked for and are not finished.
    pub missing: Vec<MissingSeed>,
    /// What was run.
    pub records: Vec<SeedRecord>,
    /// Where everything is.
    pub folder: PathBuf,
}

/// Judges a rerun whose files are in `folder`.
pub fn judge(case: &Case, folder: PathBuf) -> Judgement {
    let comparison = compare(&case.claim, case.records, case.tolerance);
    let mut remarks: Vec<Remark> =
        case.records.iter().flat_map(|record| conduct::remarks(record, case.track, case.limits)).collect();
    if !case.changed.is_empty() {
        let shown: Vec<&str> = case.changed.iter().take(8).map(String::as_str).collect();
        let message =
            format!("{} files are not what they were before the runs: {}", case.changed.len(), shown.join(", "));
        remarks.push(Remark { seed: None, severity: Severity::Fail, kind: "inputs_changed", message });
    }
    if !case.unlike.is_empty() {
        let message = format!("seeds ran on unlike machines: {}", case.unlike.join("; "));
        remarks.push(Remark { seed: None, severity: Severity::Note, kind: "machines_differ", message });
    }
    remarks.extend(case.scoring.iter().flat_map(Scoring::remarks));
    remarks.sort_by_key(|remark| std::cmp::Reverse(remark.severity));
    let reasons = if comparison.differs() || case.is_smoke { reasons::reasons(case) } else { Vec::new() };
    let mut standing = case.against.as_ref().map(|against| standing::standing(case, against));
    let assurance = assurance(case, &comparison, &remarks, standing.as_ref());
    if let Some(standing) = &mut standing {
        standing.is_record = assurance.level == Level::Record;
    }
    let level_word = match assurance.level {
        Level::Retrained => "rerun",
        level => level.word(),
    };
    Judgement {
        schema: REPORT_SCHEMA,
        name: case.name.to_string(),
        harness: format!("golf-harness {}", env!("CARGO_PKG_VERSION")),
        claim: case.claim.clone(),
        comparison,
        remarks,
        standing,
        scoring: case.scoring.clone(),
        reasons,
        level: assurance.level.number(),
        level_word,
        next_needs: assurance.next_needs,
        is_smoke: case.is_smoke,
        machine: case.machine.clone(),
        kept: case.kept.to_vec(),
        missing: case.missing.to_vec(),
        records: case.records.to_vec(),
        folder,
    }
}

/// The level: what the folder reaches by itself, level 4, or 5 for a record.
fn assurance(case: &Case, comparison: &Comparison, remarks: &[Remark], standing: Option<&Standing>) -> Assurance {
    let failed: Vec<&str> = remarks.iter().filter(|r| r.severity == Severity::Fail).map(|remark| remark.kind).collect();
    let reached = &case.audit.assurance;
    if reached.level == Level::Unreadable {
        let needs = reached.next_needs.iter().map(|need| format!("level 1 needs {need}"));
        return Assurance { level: reached.level, next_needs: needs.collect() };
    }
    let mut needs = Vec::new();
    if case.is_smoke {
        needs.push("level 4 needs a whole run; a few iterations reproduce nothing".to_string());
    }
    if !case.missing.is_empty() {
        let seeds: Vec<String> = case.missing.iter().map(|missing| missing.seed.to_string()).collect();
        needs.push(format!("level 4 needs every seed that was asked for; not finished: {}", seeds.join(", ")));
    }
    if !failed.is_empty() {
        let mut kinds = failed;
        kinds.dedup();
        needs.push(format!("level 4 needs runs without these failures: {}", kinds.join(", ")));
    }
    if case.claim.is_empty() {
        needs.push("level 4 needs a claimed val_bpb to compare with".into());
    } else if comparison.differs() {
        needs.push("level 4 needs a rerun that lands within the claim's own spread".into());
    } else if !comparison.agrees() {
        needs.push("level 4 needs a result of every seed that is claimed and was run".into());
    }
    if !needs.is_empty() {
        return Assurance { level: reached.level, next_needs: needs };
    }
    let needs = standing::lacks(case, standing);
    let level = if needs.is_empty() { Level::Record } else { Level::Retrained };
    Assurance { level, next_needs: needs }
}

impl Judgement {
    /// 1 if a number differs or a run failed, 2 if nothing could be compared or seeds are not finished or not
    /// scored, else 0.
    pub fn conclusion(&self) -> Conclusion {
        let failed = self.remarks.iter().any(|remark| remark.severity == Severity::Fail);
        let is_smoke = self.is_smoke;
        if failed || !is_smoke && self.comparison.differs() || self.level == 0 && !is_smoke {
            Conclusion::Failed
        } else if self.missing.is_empty()
            && self.scoring.as_ref().is_none_or(Scoring::is_whole)
            && (is_smoke || self.comparison.agrees())
        {
            Conclusion::Passed
        } else {
            Conclusion::Unchecked
        }
    }
}
