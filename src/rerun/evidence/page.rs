//! The page of a rerun, to open in a browser.

use std::path::Path;

use super::Inputs;
use crate::escape::visible;
use crate::report::{RunProfile, Severity};
use crate::rerun::judge::{self, Agreement, Judgement, Row, SeedScore};
use crate::rerun::record::SeedRecord;
use crate::rules::runs_of_log;
use crate::site::{Compared, RunReport, Seeds};
use crate::units::group_digits;

/// What the page says of a rerun whose run folder is `out`.
pub(super) fn page(judgement: &Judgement, inputs: &Inputs, out: &Path) -> RunReport {
    let records = &judgement.records;
    let found = records.iter().filter_map(|record| Some((record.seed, record.result()?.val_bpb))).collect();
    let claim = &judgement.claim;
    let mut files: Vec<_> = inputs.code.iter().map(|(name, digest)| (visible(name), *digest)).collect();
    files.extend(inputs.data.iter().map(|(name, digest)| (visible(name), *digest)));
    files.extend(records.iter().flat_map(seed_files));
    let mut remarks: Vec<(Severity, String)> = judgement
        .remarks
        .iter()
        .map(|remark| {
            let seed = remark.seed.map_or(String::new(), |seed| format!("seed {seed}: "));
            (remark.severity, format!("{seed}{}", remark.message))
        })
        .collect();
    remarks.extend(judgement.reasons.iter().map(|reason| (Severity::Note, format!("may come from: {reason}"))));
    if let Some(standing) = &judgement.standing {
        remarks.push((Severity::Note, format!("against the board: {}", standing.verdict)));
    }
    RunReport {
        name: judgement.name.clone(),
        kind: "Rerun",
        found_word: "rerun",
        verdict: judgement.conclusion().into(),
        verdict_words: verdict_words(judgement),
        bpb: judgement.comparison.mean.rerun,
        level: judgement.level,
        next_needs: judgement.next_needs.clone(),
        compared: judgement
            .comparison
            .rows()
            .map(compared)
            .chain(judgement.scoring.iter().flat_map(|scoring| &scoring.seeds).map(scored))
            .chain(records.iter().flat_map(measured))
            .collect(),
        seeds: Seeds {
            claimed: claim.seeds.iter().map(|claimed| (claimed.seed, claimed.value.val_bpb)).collect(),
            found,
            claimed_mean: claim.mean.as_ref().map(|mean| mean.val_bpb),
            p: judgement.comparison.welch.map(|welch| welch.p),
            test: "Welch's test",
        },
        claimed_runs: claim.runs.clone(),
        runs: records.iter().flat_map(|record| runs(record, out)).collect(),
        remarks,
        environment: environment(judgement),
        files,
        harness: judgement.harness.clone(),
    }
}

fn verdict_words(judgement: &Judgement) -> String {
    let level = format!("level {}: {}", judgement.level, judgement.level_word);
    match judgement.is_smoke {
        true => format!("{level}; a few iterations, which reproduce nothing"),
        false => level,
    }
}

/// The course of a seed by its own log; a log that is gone has none.
fn runs(record: &SeedRecord, out: &Path) -> Vec<RunProfile> {
    let name = format!("seed-{}/output.log", record.seed);
    let mut runs = runs_of_log(&out.join(&name), &name).unwrap_or_default();
    // What was asked for, whatever the script says.
    runs.iter_mut().for_each(|run| run.seed = Some(record.seed));
    runs
}

fn compared(row: &Row) -> Compared {
    Compared {
        name: row.seed.map_or_else(|| "mean bpb".to_string(), |seed| format!("bpb of seed {seed}")),
        claimed: row.claimed.map(|value| format!("{value:.6}")),
        found: row.rerun.map(|value| format!("{value:.6}")),
        difference: row.difference.map(|value| format!("{value:+.6}")),
        verdict: row.agreement.words().to_string(),
        is_against: matches!(row.agreement, Agreement::Differs | Agreement::NoResult),
    }
}

/// This program's own number of an artifact beside the script's.
fn scored(seed: &SeedScore) -> Compared {
    Compared {
        name: format!("bpb of seed {}: script, and scored here", seed.seed),
        claimed: seed.script_bpb.map(|value| format!("{value:.6}")),
        found: seed.val_bpb.map(|value| format!("{value:.6}")),
        difference: seed.difference.map(|value| format!("{value:+.6}")),
        verdict: seed.words().to_string(),
        is_against: matches!(seed.agreement, Agreement::Differs | Agreement::NoResult),
    }
}

/// What was measured of a seed and claimed by its log alone.
fn measured(record: &SeedRecord) -> Vec<Compared> {
    let row = |name: &str, claimed: Option<String>, found: Option<String>| {
        found.is_some().then(|| Compared {
            name: format!("{name} of seed {}", record.seed),
            claimed,
            found,
            verdict: "claimed by its own log".to_string(),
            ..Compared::default()
        })
    };
    let seconds = |value: Option<f64>| value.map(|value| format!("{value:.1} s"));
    let bytes = |value: u64| group_digits(i128::from(value));
    [
        row("total bytes", record.log.total_bytes.map(bytes), record.total_bytes().map(|total| bytes(total.0))),
        row("training", seconds(record.times.claimed_training), seconds(record.times.training)),
        row("evaluation", seconds(record.log.eval_seconds), seconds(record.times.evaluation)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn seed_files(record: &SeedRecord) -> Vec<(String, crate::digest::ContentDigest)> {
    let place = |name: &str| format!("seed-{}/{name}", record.seed);
    let output = (place("output.log"), record.output);
    let artifact = record.artifact.iter().map(|artifact| (place(&artifact.file.path), artifact.file.digest));
    std::iter::once(output).chain(artifact).collect()
}

fn environment(judgement: &Judgement) -> Vec<(String, String)> {
    let machine = &judgement.machine;
    let gpus = match machine.gpus.first() {
        Some(first) => format!("{} x {}", machine.gpus.len(), visible(first)),
        None => "none".to_string(),
    };
    let row = |name: &str, value: String| (name.to_string(), value);
    let mut rows = vec![
        row("GPUs", gpus),
        row("processors", format!("{}, {}", machine.processors, machine.platform)),
        row("interpreter", visible(&machine.python)),
    ];
    rows.extend(machine.driver.iter().map(|driver| row("driver", visible(driver))));
    rows.extend(judge::gpu_use(judgement).map(|gpus| row("GPUs by NVML", visible(&gpus.words()))));
    if let Some(record) = judgement.records.first() {
        rows.push(row("isolation", visible(&record.surroundings.isolation)));
        rows.push(row("command", visible(&record.command.join(" "))));
    }
    let packages: Vec<String> = machine.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
    if !packages.is_empty() {
        rows.push(row("packages", visible(&packages.join(", "))));
    }
    rows.push(row("claimed on", judgement.claim.hardware.join(", ")));
    rows.retain(|(_, value)| !value.is_empty());
    rows
}
