//! What a reproduction found, as a table for people.

use std::fmt::Write;

use super::scores::UnigramBounds;
use super::{Row, Stage, Table, Unit, Yardstick};
use crate::artifact::Budget;
use crate::data::DataGap;
use crate::manifest::{Manifest, ScoreRecord};
use crate::model;
use crate::report::{Conclusion, Report, RunProfile, Severity};
use crate::run_folder::RunFolder;
use crate::units::{Bytes, group_digits};

/// The artifact's score with test-time training.
const LEARNED: &str = "packed/sliding-ttt";

/// A finished reproduction.
pub struct Reproduction {
    /// The run folder's manifest, results filled in.
    pub manifest: Manifest,
    /// Where everything is.
    pub folder: RunFolder,
    /// What the rules say about it.
    pub report: Report,
    /// Byte-unigram and token-unigram entropy of the validation text.
    pub bounds: Option<UnigramBounds>,
    /// Wall-clock of the score stage, when it ran.
    pub eval_seconds: Option<f64>,
    /// Stages done in this run.
    pub done: Vec<Stage>,
    /// Stages kept from an earlier one.
    pub kept: Vec<Stage>,
    /// The claim's own runs, by the logs beside its manifest.
    pub claimed_runs: Vec<RunProfile>,
}

/// A reproduction that cannot start here.
pub struct Missing {
    /// What is not here.
    pub gaps: Vec<DataGap>,
    /// What could be checked anyway.
    pub report: Report,
}

impl Reproduction {
    /// Claimed against reproduced.
    pub fn table(&self) -> Table {
        let claim = &self.manifest.claim.metrics;
        let results = &self.manifest.results;
        let training = results.training.as_ref();
        let packed = self.headline();
        let non_overlapping = self.score("checkpoint/non-overlapping");
        let budget = self.budget();
        let bpb = Yardstick::Claim { tolerance: self.manifest.tolerance.retrained_bpb };
        // The same tolerance in nats per token: bpb = loss / ln 2 * tokens / bytes.
        let nats = |score: Option<&ScoreRecord>| Yardstick::Claim {
            tolerance: score.map_or(0.0, |score| {
                let bytes_per_token = score.bytes as f64 / score.tokens.max(1) as f64;
                self.manifest.tolerance.retrained_bpb * std::f64::consts::LN_2 * bytes_per_token
            }),
        };
        let parameters: usize =
            model::layout(&self.manifest.model).iter().map(|spec| spec.shape.iter().product::<usize>()).sum();
        let exact = Yardstick::Claim { tolerance: 0.0 };
        let cap = Yardstick::Cap { cap: Bytes::BUDGET.0 as f64 };
        let bytes = |bytes: Bytes| Some(bytes.0 as f64);
        let seconds = training.map(|training| training.train_time_ms.0 / 1000.0);
        let rows = [
            Row::new("parameters", Unit::Count, claim.parameters.as_ref(), Some(parameters as f64), exact),
            Row::new("steps", Unit::Count, claim.steps.as_ref(), training.map(|t| t.steps as f64), Yardstick::None),
            Row::new("train_seconds", Unit::Seconds, claim.train_seconds.as_ref(), seconds, Yardstick::None),
            Row::new(
                "pre_quant_val_loss",
                Unit::Nats,
                claim.pre_quant_val_loss.as_ref(),
                non_overlapping.map(|score| score.val_loss.0),
                nats(non_overlapping),
            ),
            Row::new(
                "pre_quant_val_bpb",
                Unit::BitsPerByte,
                claim.pre_quant_val_bpb.as_ref(),
                non_overlapping.map(|score| score.val_bpb.0),
                bpb,
            ),
            Row::new(
                "model_bytes",
                Unit::Bytes,
                claim.model_bytes.as_ref(),
                budget.and_then(|b| bytes(b.model)),
                Yardstick::None,
            ),
            Row::new(
                "code_bytes",
                Unit::Bytes,
                claim.code_bytes.as_ref(),
                budget.and_then(|b| bytes(b.code)),
                Yardstick::None,
            ),
            Row::new("total_bytes", Unit::Bytes, claim.total_bytes.as_ref(), budget.and_then(|b| bytes(b.total)), cap),
            Row::new(
                "val_tokens",
                Unit::Count,
                claim.val_tokens.as_ref(),
                packed.map(|score| score.tokens as f64),
                exact,
            ),
            Row::new("eval_seconds", Unit::Seconds, claim.eval_seconds.as_ref(), self.eval_seconds, Yardstick::None),
            Row::new(
                "val_loss",
                Unit::Nats,
                claim.val_loss.as_ref(),
                packed.map(|score| score.val_loss.0),
                nats(packed),
            ),
            Row::new("val_bpb", Unit::BitsPerByte, claim.val_bpb.as_ref(), packed.map(|score| score.val_bpb.0), bpb),
        ];
        let says_something = |row: &Row| row.claimed.is_some() || row.reproduced.is_some();
        Table(rows.into_iter().filter(says_something).collect())
    }

    /// 1 if a number does not hold or a rule fails, 2 if a rule could not be checked at all, else 0.
    pub fn conclusion(&self) -> Conclusion {
        if self.table().has_failure() { Conclusion::Failed } else { self.report.conclusion(Severity::Fail) }
    }

    /// The whole story for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = self.write_text(&mut out);
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}", self.table())?;
        self.write_scores(out)?;
        if let Some(budget) = self.budget() {
            let word = if budget.is_kept() { "to spare" } else { "OVER" };
            let margin = group_digits(budget.margin.abs());
            writeln!(out, "budget    {} of {} bytes, {margin} {word}", budget.total, budget.cap)?;
        }
        for finding in self.report.at_severity(Severity::Fail).chain(self.report.at_severity(Severity::Warning)) {
            writeln!(out, "{:<9} {}: {}", finding.severity, finding.rule, finding.message)?;
        }
        write_assurance(out, &self.report)?;
        writeln!(out, "files     {}", self.folder.root().display())
    }

    /// Checkpoint and artifact, non-overlapping and sliding: the quantization gap and what context is worth.
    fn write_scores(&self, out: &mut String) -> std::fmt::Result {
        let bpb = |label: &str| self.score(label).map(|score| score.val_bpb.0);
        writeln!(out, "{:<9} {:>15} {:>12}   bits per byte", "", "non-overlapping", "sliding")?;
        for subject in ["checkpoint", "packed"] {
            let (full, sliding) = (bpb(&format!("{subject}/non-overlapping")), bpb(&format!("{subject}/sliding")));
            if let (Some(full), Some(sliding)) = (full, sliding) {
                writeln!(out, "{subject:<10}{full:>15.6} {sliding:>12.6}")?;
            }
        }
        let gap =
            |kind: &str| bpb(&format!("packed/{kind}")).zip(bpb(&format!("checkpoint/{kind}"))).map(|(p, c)| p - c);
        if let (Some(full), Some(sliding)) = (gap("non-overlapping"), gap("sliding")) {
            writeln!(out, "{:<10}{full:>+15.6} {sliding:>+12.6}   lost to quantization", "gap")?;
        }
        if let (Some(still), Some(learned)) = (bpb("packed/sliding"), bpb(LEARNED)) {
            writeln!(
                out,
                "{:<10}{:>15} {learned:>12.6}   with test-time training: {:+.6}",
                "learning",
                "",
                learned - still
            )?;
        }
        if let Some((bytes, tokens)) = self.bounds {
            writeln!(
                out,
                "unigrams  {:>15.6} byte by byte, {:.6} token by token: the text without context",
                bytes.0, tokens.0
            )?;
        }
        writeln!(out)
    }

    /// The score of what was packed, by the recipe's windows: with weights that learn, where they do.
    pub(super) fn headline(&self) -> Option<&ScoreRecord> {
        self.score(LEARNED).or_else(|| self.score("packed/sliding"))
    }

    fn score(&self, label: &str) -> Option<&ScoreRecord> {
        self.manifest.results.scores.get(label)
    }

    pub(super) fn budget(&self) -> Option<Budget> {
        self.manifest.artifact.as_ref().map(|artifact| Budget::of(artifact.bytes, &self.manifest))
    }
}

impl Missing {
    /// What is missing, then what the manifest alone tells.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = self.write_text(&mut out);
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{} cannot be reproduced here; missing:", self.report.subject)?;
        for gap in &self.gaps {
            writeln!(out, "  - {gap}")?;
        }
        writeln!(out, "\nWhat can be checked anyway:")?;
        let spoken = [Severity::Fail, Severity::Warning, Severity::Review, Severity::Note, Severity::Pass];
        for finding in spoken.into_iter().flat_map(|severity| self.report.at_severity(severity)) {
            writeln!(out, "  {:<8} {}: {}", finding.severity, finding.rule, finding.message)?;
        }
        writeln!(out)?;
        write_assurance(out, &self.report)
    }
}

fn write_assurance(out: &mut String, report: &Report) -> std::fmt::Result {
    let assurance = &report.assurance;
    writeln!(out, "verdict   level {}: {}", assurance.level.number(), assurance.level)?;
    for (i, need) in assurance.next_needs.iter().enumerate() {
        writeln!(out, "{:<9} {need}", if i == 0 { "next" } else { "" })?;
    }
    Ok(())
}
