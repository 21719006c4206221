//! A judgement for people: on a terminal, and as a comment for a pull request.

use std::fmt::{self, Write};

use super::{Agreement, Judgement, Row, Standing};
use crate::escape::visible;
use crate::report::Severity;
use crate::rerun::record::{GpuUse, SeedRecord};

/// For a terminal.
pub fn text(judgement: &Judgement) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_text(judgement, &mut out);
    out
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.8}"))
}

fn signed(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:+.8}"))
}

fn label(row: &Row) -> String {
    row.seed.map_or_else(|| "mean".into(), |seed| seed.to_string())
}

fn write_text(judgement: &Judgement, out: &mut String) -> fmt::Result {
    let comparison = &judgement.comparison;
    writeln!(out, "{:<12}{:>14}{:>14}{:>14}", "seed", "claimed", "rerun", "difference")?;
    for row in comparison.rows() {
        let (claimed, rerun, difference) = (number(row.claimed), number(row.rerun), signed(row.difference));
        write!(out, "{:<12}{claimed:>14}{rerun:>14}{difference:>14}   {}", label(row), row.agreement.words())?;
        match row.agreement {
            Agreement::Differs => writeln!(out, ", {:.6} allowed", row.allowed)?,
            _ => writeln!(out)?,
        }
    }
    writeln!(out, "allowed     three standard deviations of {} ({:.6})", comparison.spread_of, comparison.spread)?;
    if let Some(welch) = &comparison.welch {
        writeln!(out, "Welch       t {:.3}, df {:.2}, p {:.4} (two-sided)", welch.t, welch.df, welch.p)?;
    }
    if let Some(scoring) = &judgement.scoring {
        writeln!(out, "{:<12}{:>14}{:>14}{:>14}", "seed", "script", "scored here", "difference")?;
        for seed in &scoring.seeds {
            let (script, ours, difference) = (number(seed.script_bpb), number(seed.val_bpb), signed(seed.difference));
            writeln!(out, "{:<12}{script:>14}{ours:>14}{difference:>14}   {}", seed.seed, seed.words())?;
        }
        let engine = scoring.engine.as_deref().unwrap_or("no engine");
        writeln!(out, "scored      by {engine}; {} allowed, manifest {}", scoring.tolerance, scoring.manifest)?;
    }
    for record in &judgement.records {
        write_record(record, judgement.kept.contains(&record.seed), out)?;
    }
    if let Some(record) = judgement.records.first() {
        let held = record.surroundings.tried.iter().filter(|(_, held, _)| *held).map(|(promise, ..)| promise.as_str());
        let held: Vec<&str> = held.collect();
        writeln!(out, "sandbox     {}; tried from inside: {}", record.surroundings.isolation, held.join(", "))?;
    }
    if let Some(gpus) = gpu_use(judgement) {
        writeln!(out, "GPUs        {}", gpus.words())?;
    }
    for missing in &judgement.missing {
        writeln!(out, "seed {:<7}{}: {}", missing.seed, missing.state.word().to_uppercase(), missing.words)?;
    }
    for remark in &judgement.remarks {
        let seed = remark.seed.map_or(String::new(), |seed| format!("seed {seed}: "));
        writeln!(out, "{:<12}{}: {seed}{}", remark.severity, remark.kind, remark.message)?;
    }
    for (at, reason) in judgement.reasons.iter().enumerate() {
        writeln!(out, "{:<12}{reason}", if at == 0 { "may be" } else { "" })?;
    }
    if let Some(standing) = &judgement.standing {
        writeln!(out, "board       {}{}", against(standing), standing.verdict)?;
        for test in &standing.tests {
            writeln!(out, "            {test}")?;
        }
    }
    if judgement.is_smoke {
        writeln!(out, "smoke run   a few iterations: this is no reproduction")?;
    }
    writeln!(out, "verdict     level {}: {}", judgement.level, judgement.level_word)?;
    for (at, need) in judgement.next_needs.iter().enumerate() {
        writeln!(out, "{:<12}{need}", if at == 0 { "next" } else { "" })?;
    }
    writeln!(out, "files       {}", visible(&judgement.folder.to_string_lossy()))
}

/// The record that a standing names.
fn against(standing: &Standing) -> String {
    standing.record.as_ref().map_or_else(String::new, |record| format!("against {record}: "))
}

fn write_record(record: &SeedRecord, kept: bool, out: &mut String) -> fmt::Result {
    let times = &record.times;
    write!(out, "seed {:<7}", record.seed)?;
    if let (Some(artifact), Some(total)) = (&record.artifact, record.total_bytes()) {
        write!(out, "{total} bytes (code {} bytes, {}); ", record.code_bytes, artifact.file.path)?;
    }
    if let Some(training) = times.training {
        write!(out, "training {training:.1} s")?;
        times.claimed_training.map_or(Ok(()), |claimed| write!(out, " (log: {claimed:.1} s)"))?;
        write!(out, ", ")?;
    }
    if let Some(evaluation) = times.evaluation {
        write!(out, "evaluation {evaluation:.1} s, ")?;
    }
    write!(out, "{:.1} s in all by our clock; memory {} bytes", times.total, record.peak.memory)?;
    writeln!(out, "{}", if kept { "; kept from before" } else { "" })
}

/// What the GPUs did during the first seed.
pub(in crate::rerun) fn gpu_use(judgement: &Judgement) -> Option<&GpuUse> {
    judgement.records.first().map(|record| &record.gpus)
}

/// For a pull request.
pub fn markdown(judgement: &Judgement) -> String {
    let mut out = String::new();
    let _ = write_markdown(judgement, &mut out);
    out
}

/// Text inside of a table or a list: what could be markup is not.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '@' | '!' | '~' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn write_markdown(judgement: &Judgement, out: &mut String) -> fmt::Result {
    let comparison = &judgement.comparison;
    writeln!(out, "### Rerun of {}: level {}, {}\n", plain(&judgement.name), judgement.level, judgement.level_word)?;
    writeln!(out, "| seed | claimed | rerun | difference | |\n|---:|---:|---:|---:|---|")?;
    for row in comparison.rows() {
        let (claimed, rerun, difference) = (number(row.claimed), number(row.rerun), signed(row.difference));
        writeln!(out, "| {} | {claimed} | {rerun} | {difference} | {} |", label(row), row.agreement.words())?;
    }
    writeln!(out)?;
    if let Some(welch) = &comparison.welch {
        writeln!(out, "Welch's test: t {:.3}, df {:.2}, two-sided p {:.4}.\n", welch.t, welch.df, welch.p)?;
    }
    if let Some(scoring) = &judgement.scoring {
        writeln!(out, "| seed | script | scored by golf-harness | difference | |\n|---:|---:|---:|---:|---|")?;
        for seed in &scoring.seeds {
            let (script, ours, difference) = (number(seed.script_bpb), number(seed.val_bpb), signed(seed.difference));
            writeln!(out, "| {} | {script} | {ours} | {difference} | {} |", seed.seed, seed.words())?;
        }
        writeln!(out)?;
    }
    if let Some(standing) = &judgement.standing {
        let word = if standing.is_record { "a record" } else { "not a record" };
        writeln!(out, "**Board**: {word}. {}\n", plain(&format!("{}{}", against(standing), standing.verdict)))?;
        for need in judgement.next_needs.iter().filter(|_| !standing.is_record) {
            writeln!(out, "* {}", plain(need))?;
        }
        writeln!(out)?;
    }
    let machine = &judgement.machine;
    let gpus = match machine.gpus.first() {
        Some(first) => format!("{} x {}", machine.gpus.len(), plain(first)),
        None => "no GPU".into(),
    };
    writeln!(
        out,
        "* {gpus}, {} processors, {}, {}",
        machine.processors,
        plain(&machine.platform),
        plain(&machine.python)
    )?;
    if let Some(record) = judgement.records.first() {
        writeln!(out, "* Isolation: {}", plain(&record.surroundings.isolation))?;
    }
    if let Some(gpus) = gpu_use(judgement) {
        writeln!(out, "* GPUs by NVML: {}", plain(&gpus.words()))?;
    }
    for record in &judgement.records {
        if let (Some(artifact), Some(total)) = (&record.artifact, record.total_bytes()) {
            let sha256 = artifact.file.digest.sha256;
            writeln!(out, "* Seed {}: {total} bytes, artifact SHA-256 `{sha256}`", record.seed)?;
        }
    }
    for missing in &judgement.missing {
        writeln!(out, "* Seed {}: **{}**, {}", missing.seed, missing.state.word(), plain(&missing.words))?;
    }
    for remark in judgement.remarks.iter().filter(|remark| remark.severity > Severity::Note) {
        let seed = remark.seed.map_or(String::new(), |seed| format!("seed {seed}: "));
        writeln!(out, "* **{}** {seed}{}", remark.severity, plain(&remark.message))?;
    }
    for reason in &judgement.reasons {
        writeln!(out, "* A difference may come from: {}", plain(reason))?;
    }
    writeln!(out, "\n{}", plain(&judgement.harness))
}
