//! The rerun against a board of standing records, and what else a record needs.
//!
//! The test is the one that `verify --against` makes of claimed runs, made here of the runs that were supervised.

use schemars::JsonSchema;
use serde::Serialize;

use super::Case;
use crate::manifest::Track;
use crate::report::quote;
use crate::rerun::record::SeedRecord;
use crate::stats::seeds::fewest_bytes_per_token;
use crate::stats::{Board, GateVerdict, RecordTerms, SeedRun, against_board};

/// A board, and the place of the submission on it.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The standing records.
    pub board: &'a Board,
    /// Day of the submission, `YYYY-MM-DD`: it stands against what was there. Without one, against everything.
    pub date: Option<&'a str>,
    /// Its own pull request, which it does not stand against.
    pub pr: Option<u64>,
}

/// How the reruns stand against a board.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Standing {
    /// The record to beat, such as `PR #1019 (2026-03-25)`; none if the board has none from before.
    pub record: Option<String>,
    /// Its mean, bits per byte.
    pub record_bpb: Option<f64>,
    /// Mean of the reruns, bits per byte.
    pub rerun_bpb: Option<f64>,
    /// Runs behind it.
    pub runs: usize,
    /// Whether the mean is better by the margin at the level of significance.
    pub beats: bool,
    /// That in a sentence.
    pub verdict: String,
    /// The tests, one by one.
    pub tests: Vec<String>,
    /// Whether it is a record: level 5.
    pub is_record: bool,
}

impl Standing {
    /// The verdict, then the tests, one line each.
    pub fn lines(&self) -> Vec<String> {
        let verdict = match &self.record {
            Some(record) => format!("Against {record}: {}", self.verdict),
            None => format!("Against the board: {}", self.verdict),
        };
        std::iter::once(verdict).chain(self.tests.iter().cloned()).collect()
    }

    fn undecided(runs: usize, verdict: impl Into<String>) -> Self {
        Standing {
            record: None,
            record_bpb: None,
            rerun_bpb: None,
            runs,
            beats: false,
            verdict: verdict.into(),
            tests: Vec::new(),
            is_record: false,
        }
    }
}

/// Sets the results against the record that stood when the submission was made.
pub(super) fn standing(case: &Case, against: &Against) -> Standing {
    let runs: Vec<SeedRun> = case
        .records
        .iter()
        .filter_map(|record| {
            let result = record.result()?;
            Some(SeedRun { seed: Some(record.seed), val_bpb: result.val_bpb, val_loss: result.val_loss })
        })
        .collect();
    let terms = RecordTerms { margin: case.limits.record_margin_nats, alpha: case.limits.record_p };
    let (day, ratio) = ((against.date, against.pr), fewest_bytes_per_token(&runs));
    let Some((entry, report)) = against_board(against.board, day, (&runs, &runs), ratio, &terms) else {
        return Standing::undecided(runs.len(), "not decided: the board has no record from before this submission");
    };
    let found = Standing {
        record: Some(quote(&entry.label())),
        record_bpb: Some(entry.val_bpb),
        ..Standing::undecided(runs.len(), "")
    };
    let report = match report {
        Ok(report) => report,
        Err(reason) => return Standing { verdict: format!("not decided: {reason}"), ..found },
    };
    Standing {
        rerun_bpb: Some(report.mean),
        beats: report.outcome == GateVerdict::Record && report.warnings.is_empty(),
        verdict: report.verdict_with_warnings(),
        tests: report.test_lines(),
        ..found
    }
}

/// What the runs lack of a record, one sentence each; none if they are one.
pub(super) fn lacks(case: &Case, standing: Option<&Standing>) -> Vec<String> {
    let limits = case.limits;
    let mut lacks = Vec::new();
    let made = case.records.iter().filter(|record| record.result().is_some()).count() as u64;
    if made < limits.seeds {
        lacks.push(format!("level 5 needs {} seeds, and {made} ended with a result", limits.seeds));
    }
    if case.track != Track::TenMinutes {
        lacks.push("level 5 needs an entry in the 10-minute track".into());
    }
    hardware(case, &mut lacks);
    caps(case, &mut lacks);
    match (standing, case.against.as_ref()) {
        (Some(_), Some(against)) if against.board.track != Track::TenMinutes => {
            lacks.push("level 5 needs a board of the 10-minute track".into());
        }
        (Some(standing), _) if standing.beats => {}
        (standing, _) => {
            let how = match standing {
                Some(_) => "which these runs do not show",
                None => "which `--against BOARD.yaml` looks for",
            };
            lacks.push(format!(
                "level 5 needs an improvement over the standing record by {} nats at p < {}, {how}",
                limits.record_margin_nats, limits.record_p
            ));
        }
    }
    lacks
}

fn hardware(case: &Case, lacks: &mut Vec<String>) {
    let (gpus, limits) = (&case.machine.gpus, case.limits);
    let is_kind = gpus.iter().all(|gpu| gpu.contains(limits.device_kind.as_str()));
    if gpus.len() as u64 == limits.devices && is_kind {
        return;
    }
    let here = match gpus.first() {
        Some(first) => format!("{} x {first}", gpus.len()),
        None => "no GPU".into(),
    };
    lacks.push(format!(
        "level 5 needs runs on {} x {}, and this machine has {here}",
        limits.devices, limits.device_kind
    ));
}

/// Both caps, by our clock. The step that crosses the cap on training is let through, as the rules do.
fn caps(case: &Case, lacks: &mut Vec<String>) {
    let limits = case.limits;
    type Measured = fn(&SeedRecord) -> Option<f64>;
    let mut check = |what: &str, cap: f64, allowed: f64, remark: &str, of: Measured| {
        let unmeasured: Vec<String> =
            case.records.iter().filter(|record| of(record).is_none()).map(|record| record.seed.to_string()).collect();
        if !unmeasured.is_empty() {
            lacks.push(format!(
                "level 5 needs {what} within {cap} s by our clock, and the output of seed {} has no marks to time it by",
                unmeasured.join(", ")
            ));
        }
        let measured = case.records.iter().filter_map(|record| Some((record.seed, of(record)?)));
        let longest = measured.max_by(|(_, a), (_, b)| a.total_cmp(b));
        if let Some((seed, seconds)) = longest.filter(|(_, seconds)| *seconds > allowed) {
            lacks.push(format!(
                "level 5 needs {what} within {cap} s by our clock, and that of seed {seed} took {seconds:.1} s{remark}"
            ));
        }
    };
    let between = ", validation between steps included";
    check("training", limits.train_seconds, limits.train_seconds_marginal, between, |record| record.times.training);
    if let Some(cap) = limits.eval_seconds {
        check("evaluation", cap, cap, "", |record| record.times.evaluation);
    }
}
