//! The page of one subject: its claim against the evidence, and every finding with what it rests on.

mod bars;
mod dispute;
mod findings;

use askama::Template;
use serde::Serialize;

use super::data::ScriptData;
use super::earlier::Change;
use super::names::Names;
use super::overview::{level_word, verdict};
use super::{LEVELS, SiteError, SiteFile, render};
use crate::report::{Audit, ClaimRow, Event, Fact, Finite, Point, Profile, Report, RunProfile, Severity, Status};
use crate::units::group_digits;
use bars::{BudgetBar, TimeBar};
use findings::{Group, groups};

#[derive(Template)]
#[template(path = "site/subject.html")]
struct Page<'a> {
    root: &'static str,
    title: String,
    harness: &'a str,
    name: &'a str,
    report: &'a Report,
    verdict: Severity,
    verdict_words: String,
    facts: Vec<&'a Fact>,
    bpb: Option<&'a str>,
    author: Option<&'a str>,
    day: Option<&'a str>,
    levels: Vec<(u8, &'static str)>,
    profile: Option<&'a Profile>,
    rows: Vec<ClaimView<'a>>,
    runs: Vec<RunView<'a>>,
    has_curves: bool,
    budget: Option<BudgetBar>,
    groups: Vec<Group<'a>>,
    quiet: Vec<Group<'a>>,
    change: Option<&'a Change>,
    dispute: String,
    previous: Option<(&'a str, &'a str)>,
    next: Option<(&'a str, &'a str)>,
    data: Option<ScriptData>,
}

struct ClaimView<'a> {
    name: &'a str,
    claimed: &'a str,
    claimed_at: &'a str,
    evidence: &'a str,
    evidence_at: &'a str,
    difference: String,
}

struct RunView<'a> {
    run: &'a RunProfile,
    bpb: String,
    bytes: String,
    train: Option<TimeBar>,
    eval: Option<TimeBar>,
}

/// The curves of one run, as the script draws them.
#[derive(Serialize)]
struct Curve<'a> {
    name: String,
    carries: bool,
    train: &'a [Point],
    loss: &'a [Point],
    bpb: &'a [Point],
    events: &'a [(Event, u64)],
}

#[derive(Serialize)]
struct Data<'a> {
    runs: Vec<Curve<'a>>,
    cap: Finite,
    claimed: Option<f64>,
}

/// The page of the report at `index`.
pub fn page(audit: &Audit, names: &Names, index: usize, change: Option<&Change>) -> Result<SiteFile, SiteError> {
    let path = names.page(index);
    let Some(report) = audit.reports.get(index) else { return Ok(SiteFile::new(path, "")) };
    let profile = report.profile.as_deref();
    let fact = |name: &str| report.fact(name);
    let runs = profile.map_or(&[][..], |profile| profile.runs.as_slice());
    let has_curves =
        runs.iter().any(|run| [&run.train_loss, &run.val_loss, &run.validation].iter().any(|s| s.len() > 1));
    let (quiet, groups): (Vec<Group>, Vec<Group>) =
        groups(report).into_iter().partition(|group| matches!(group.severity, Severity::Pass | Severity::Unknown));
    let neighbor = |index: Option<usize>| index.and_then(|index| Some((names.beside(index)?, names.short(index))));
    let data = profile.filter(|_| has_curves).map(|profile| data(&path, profile, fact("val_bpb"))).transpose()?;
    let shown_elsewhere = ["claim", "author", "date", "val_bpb"];
    let page = Page {
        root: "../",
        title: fact("claim").unwrap_or_else(|| names.short(index)).to_string(),
        harness: audit.harness,
        name: names.short(index),
        report,
        verdict: verdict(report),
        verdict_words: verdict_words(report),
        facts: report.facts.iter().filter(|fact| !shown_elsewhere.contains(&fact.name)).collect(),
        bpb: fact("val_bpb"),
        author: fact("author"),
        day: profile.and_then(|profile| profile.day.as_deref()).or_else(|| fact("date")),
        levels: LEVELS.map(|level| (level.number(), level_word(level))).to_vec(),
        profile,
        rows: profile.map_or_else(Vec::new, claims),
        runs: profile.map_or_else(Vec::new, |profile| runs.iter().map(|run| run_view(run, profile)).collect()),
        has_curves,
        budget: profile.and_then(BudgetBar::of),
        groups,
        quiet,
        change: change.filter(|change| !change.word.is_empty()),
        dispute: dispute::text(audit, report),
        previous: neighbor(index.checked_sub(1)),
        next: neighbor(Some(index + 1)),
        data,
    };
    render(&path, &page)
}

fn verdict_words(report: &Report) -> String {
    let count = |severity, one: &str, many: &str| match report.count(severity) {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    let mut parts: Vec<String> = [
        count(Severity::Fail, "failure", "failures"),
        count(Severity::Warning, "warning", "warnings"),
        count(Severity::Review, "place to review", "places to review"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if report.status > Status::Complete {
        parts.insert(0, format!("audit {}", report.status.word()));
    }
    if parts.is_empty() { "nothing found".to_string() } else { parts.join(", ") }
}

fn claims<'p>(profile: &'p Profile) -> Vec<ClaimView<'p>> {
    let view = |row: &'p ClaimRow| {
        let ClaimRow { name, claimed, claimed_at, evidence, evidence_at, difference } = row;
        ClaimView {
            name,
            claimed: claimed.as_deref().unwrap_or("-"),
            claimed_at: claimed_at.as_deref().unwrap_or_default(),
            evidence: evidence.as_deref().unwrap_or("-"),
            evidence_at: evidence_at.as_deref().unwrap_or_default(),
            difference: difference.map_or(String::new(), |difference| signed(difference.get())),
        }
    };
    profile.claims.iter().map(view).collect()
}

/// A difference with its sign: whole numbers grouped, others to seven decimals.
fn signed(value: f64) -> String {
    if value == 0.0 {
        return "0".to_string();
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        let sign = if value > 0.0 { "+" } else { "" };
        return format!("{sign}{}", group_digits(value as i128));
    }
    let text = format!("{value:+.7}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if matches!(short, "+0" | "-0") { "0".to_string() } else { short.to_string() }
}

fn run_view<'a>(run: &'a RunProfile, profile: &Profile) -> RunView<'a> {
    let bar = |cited: Option<crate::report::Cited>, cap: Option<Finite>| {
        cited.map(|cited| TimeBar::new(cited.value.get(), cap.map(Finite::get)))
    };
    RunView {
        run,
        bpb: run.val_bpb.map_or_else(|| "-".to_string(), |cited| format!("{:.5}", cited.value.get())),
        bytes: run.total_bytes.map_or_else(|| "-".to_string(), |cited| group_digits(cited.value.get() as i128)),
        train: bar(run.train_seconds, Some(profile.caps.train_seconds)),
        eval: bar(run.eval_seconds, profile.caps.eval_seconds),
    }
}

fn data(page: &str, profile: &Profile, claimed: Option<&str>) -> Result<ScriptData, SiteError> {
    let curve = |run: &'_ RunProfile| -> String {
        match run.seed {
            Some(seed) => format!("seed {seed}"),
            None => run.log.rsplit('/').next().unwrap_or_default().to_string(),
        }
    };
    let names: Vec<String> = profile.runs.iter().map(curve).collect();
    let curves = profile.runs.iter().zip(&names).map(|(run, name)| {
        // Two runs of one seed are told apart by their logs.
        let is_alone = names.iter().filter(|other| *other == name).count() == 1;
        Curve {
            name: match (is_alone, run.first_line) {
                (true, _) => name.clone(),
                (false, 1) => format!("{name}, {}", run.log),
                (false, line) => format!("{name}, {}:{line}", run.log),
            },
            carries: run.carries,
            train: &run.train_loss,
            loss: &run.val_loss,
            bpb: &run.validation,
            events: &run.events,
        }
    });
    let claimed = claimed.and_then(|claimed| claimed.parse().ok()).filter(|claimed: &f64| claimed.is_finite());
    ScriptData::of(page, &Data { runs: curves.collect(), cap: profile.caps.train_seconds, claimed })
}
