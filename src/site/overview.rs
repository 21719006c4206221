//! The overview: one row a subject, and pictures of all of them.

use std::collections::BTreeMap;

use askama::Template;
use serde::Serialize;

use super::data::ScriptData;
use super::earlier::{Change, Changes};
use super::names::Names;
use super::{LEVELS, Site, SiteError, SiteFile, render};
use crate::report::{Finding, Level, Report, Severity, Skipped, Status};

const PAGE: &str = "index.html";

#[derive(Template)]
#[template(path = "site/overview.html")]
struct Page<'a> {
    root: &'static str,
    title: String,
    harness: &'a str,
    status: Status,
    policies: Vec<String>,
    board: Option<String>,
    count: usize,
    skipped: &'a [Skipped],
    unexamined: Vec<Unexamined<'a>>,
    gone: &'a [String],
    compared: Option<&'a str>,
    links: Vec<(String, &'a str)>,
    data: ScriptData,
}

/// A subject that was not examined to its end.
struct Unexamined<'a> {
    page: String,
    name: &'a str,
    status: Status,
    why: Vec<&'a str>,
}

/// What the script draws.
#[derive(Serialize)]
struct Data<'a> {
    rows: Vec<Row<'a>>,
    /// Names of rules, by the numbers that rows use, with what they say.
    rules: Vec<(&'a str, &'a str)>,
    /// Standing records: day, bits per byte, name.
    board: Vec<(&'a str, f64, String)>,
    compared: bool,
    levels: Vec<&'static str>,
    severities: Vec<&'static str>,
}

/// One subject, as an array of cells to keep pages of thousands small. The script names their places.
#[derive(Serialize)]
struct Row<'a>(
    /// Page.
    String,
    /// Name.
    &'a str,
    /// Title of the claim.
    &'a str,
    /// Author.
    &'a str,
    /// Day.
    &'a str,
    /// Track.
    &'a str,
    /// Bits per byte, as claimed.
    &'a str,
    /// Level, 0 to 5.
    u8,
    /// Worst severity, 0 to 5, and whether something was not examined.
    (u8, u8),
    /// Failures, warnings, places to review.
    (usize, usize, usize),
    /// Bytes that count, the cap, and what the number rests on.
    Option<(u64, u64, &'a str)>,
    /// Seeds.
    usize,
    /// Probability of the test against the standing record, improvement, name of the record, verdict.
    Option<(Option<f64>, Option<f64>, &'a str, &'a str)>,
    /// Rules that found something: number of the rule, severity.
    Vec<(usize, u8)>,
    /// What changed, in a word and in sentences.
    Option<(&'static str, &'a [String])>,
);

/// The page.
pub fn page(site: &Site, names: &Names, changes: Option<&Changes>) -> Result<SiteFile, SiteError> {
    let audit = site.audit;
    let mut rules = RuleNumbers::default();
    let rows: Vec<Row> = (audit.reports.iter().enumerate())
        .map(|(index, report)| row(report, names, index, &mut rules, changes.and_then(|all| all.of.get(index))))
        .collect();
    let board = site.board.map_or_else(Vec::new, |board| {
        board.records.iter().map(|entry| (entry.date.as_str(), entry.val_bpb, entry.label())).collect()
    });
    let data = Data {
        rows,
        rules: rules.named(),
        board,
        compared: changes.is_some(),
        levels: LEVELS.map(level_word).to_vec(),
        severities: Severity::ALL.map(Severity::word).to_vec(),
    };
    let mut policies: Vec<String> =
        audit.reports.iter().map(|report| format!("{} of {}", report.policy.name, report.policy.effective)).collect();
    policies.sort();
    policies.dedup();
    let links = (0..audit.reports.len()).map(|index| (names.page(index), names.short(index))).collect();
    let page = Page {
        root: "",
        title: title(&audit.reports),
        harness: audit.harness,
        status: audit.status,
        policies,
        board: site.board.map(|board| board.as_of.clone()),
        count: audit.reports.len(),
        skipped: &audit.skipped,
        unexamined: unexamined(&audit.reports, names),
        gone: changes.map_or(&[], |changes| changes.gone.as_slice()),
        compared: changes.map(|changes| changes.harness.as_str()),
        links,
        data: ScriptData::of(PAGE, &data)?,
    };
    render(PAGE, &page)
}

/// `200 submissions of corpus`, by the folder that all subjects share.
fn title(reports: &[Report]) -> String {
    let noun = if reports.len() == 1 { "submission" } else { "submissions" };
    let count = crate::units::group_digits(reports.len() as i128);
    let first = reports.first().map_or("", |report| report.subject.as_str());
    let mut common: Vec<&str> = first.split('/').collect();
    common.pop();
    for report in reports {
        let shared = report.subject.split('/').zip(&common).take_while(|(a, b)| a == *b).count();
        common.truncate(shared);
    }
    let folder = common.iter().rfind(|part| !matches!(**part, "" | "." | ".."));
    match folder {
        Some(folder) if reports.len() > 1 => format!("{count} {noun} in {folder}"),
        _ => format!("{count} {noun}"),
    }
}

/// A subject that breaks a rule has no level, and is not unreadable.
pub fn level_word(level: Level) -> &'static str {
    if level == Level::Unreadable { "no level" } else { level.word() }
}

/// Numbers for the rules that rows name.
#[derive(Default)]
struct RuleNumbers(BTreeMap<&'static str, usize>);

impl RuleNumbers {
    fn number(&mut self, rule: &'static str) -> usize {
        let next = self.0.len();
        *self.0.entry(rule).or_insert(next)
    }

    fn named(&self) -> Vec<(&'static str, &'static str)> {
        let mut named: Vec<_> = self.0.iter().collect();
        named.sort_by_key(|(_, number)| **number);
        named.into_iter().map(|(rule, _)| (*rule, crate::rules::find(rule).map_or("", |rule| rule.statement))).collect()
    }
}

fn row<'a>(
    report: &'a Report,
    names: &'a Names,
    index: usize,
    rules: &mut RuleNumbers,
    change: Option<&'a Change>,
) -> Row<'a> {
    let fact = |name: &str| report.fact(name).unwrap_or_default();
    let profile = report.profile.as_deref();
    let day = profile.and_then(|profile| profile.day.as_deref()).unwrap_or_else(|| fact("date"));
    let size = profile.and_then(|profile| Some((profile.size.as_ref()?, profile.caps.bytes)));
    let record = profile.and_then(|profile| profile.record.as_ref());
    Row(
        names.page(index),
        names.short(index),
        fact("claim"),
        fact("author"),
        day,
        &report.policy.name,
        fact("val_bpb"),
        report.assurance.level.number(),
        (verdict(report) as u8, report.status as u8),
        (report.count(Severity::Fail), report.count(Severity::Warning), report.count(Severity::Review)),
        size.map(|(size, cap)| (size.total, cap, size.basis.as_str())),
        profile.map_or(0, |profile| profile.seeds.len()),
        record.map(|record| {
            let number = |value: Option<crate::report::Finite>| value.map(crate::report::Finite::get);
            (number(record.p), number(record.improvement), record.standing.as_str(), record.verdict.as_str())
        }),
        found(&report.findings, rules),
        change.filter(|change| !change.word.is_empty()).map(|change| (change.word, change.lines.as_slice())),
    )
}

/// The verdict in one word, and something that was not examined is no reason for calm.
pub fn verdict(report: &Report) -> Severity {
    match report.verdict_word() {
        Severity::Pass | Severity::Note if report.status > Status::Complete => Severity::Unknown,
        worst => worst,
    }
}

/// Each rule that found something to act on, with the worst it found, and those that could not examine something.
fn found(findings: &[Finding], rules: &mut RuleNumbers) -> Vec<(usize, u8)> {
    let mut worst: BTreeMap<usize, Severity> = BTreeMap::new();
    for finding in findings {
        if finding.severity >= Severity::Review || finding.status() > Status::Complete {
            let known = worst.entry(rules.number(finding.rule.0)).or_insert(finding.severity);
            *known = finding.severity.max(*known);
        }
    }
    let mut found: Vec<(usize, u8)> = worst.into_iter().map(|(rule, severity)| (rule, severity as u8)).collect();
    found.sort_by_key(|(_, severity)| std::cmp::Reverse(*severity));
    found
}

fn unexamined<'a>(reports: &'a [Report], names: &'a Names) -> Vec<Unexamined<'a>> {
    let not_whole = reports.iter().enumerate().filter(|(_, report)| report.status > Status::Complete);
    not_whole
        .map(|(index, report)| {
            let findings = report.findings.iter().filter(|finding| finding.status() > Status::Complete);
            Unexamined {
                page: names.page(index),
                name: names.short(index),
                status: report.status,
                why: findings.map(|finding| finding.message.as_str()).take(4).collect(),
            }
        })
        .collect()
}
