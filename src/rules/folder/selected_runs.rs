//! Is the claim the mean of the best of several runs instead of all?

use std::collections::{BTreeMap, BTreeSet};

use super::carriers::{Part, parts};
use super::results::{NOTHING, claim, line};
use super::runs::same_number;
use super::{DEFAULT, cite};
use crate::manifest::ClaimedNumber;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::log::{Metric, SizeKind};
use crate::submission::{ClaimedField, LogFile, SubmissionJson};

pub(super) const SELECTED: Rule = Rule {
    id: RuleId("claim_is_mean_of_selected_runs"),
    statement: "The claim is the mean of the best of several runs of one experiment, not of all.",
    reference: "challenge README, rule 1: the mean over runs is judged; FAQ: no brute-forced seeds (#1769 declares its selection)",
    severity: Severity::Fail,
    evidence: EvidenceKind::Logs,
    why: "Leaving out the worse runs makes any method look better. A warning where the runs left out are not listed as seeds, a note where the README or submission.json declares the selection.",
    example: "seeds 1.1620, 1.1628, 1.1631, 1.1702 and 1.1714 listed; claimed 1.1626",
    check: Check::Folder(selected),
    ..DEFAULT
};

/// One run or one row of a table.
#[derive(Clone)]
struct Value<'a> {
    seed: u64,
    bpb: f64,
    /// Runs of one family differ in nothing but the seed by the names of their logs; rows of one table are one.
    family: &'a str,
    /// Whether the submission lists it among its seeds.
    is_listed: bool,
    place: Evidence,
}

/// More runs than these are a sweep, not seeds of a claim.
const MOST: usize = 12;

/// Decimals from which a mean tells which values it is of.
const TELLING_DECIMALS: u32 = 7;
/// Of more runs there are too many choices to tell.
const MOST_CHOICES: usize = 10;

fn selected(case: &FolderCase) -> Outcome {
    let Some((json, claim)) = claim(case) else { return Outcome::unknown(NOTHING) };
    let all = parts(case.folder);
    let groups = experiments(case, json, all.by_family());
    let tables = tables(case, json);
    if groups.iter().chain(&tables).all(|group| group.len() < 3) {
        return Outcome::unknown("fewer than three runs of one experiment are logged or listed");
    }
    let is_full_mean = |group: &Vec<Value>| group.len() >= 2 && same_number(&claim.number, mean(group), 6);
    // The mean of one experiment is a claim, and a table of the runs that were kept shows them apart from the rest.
    let is_logged_mean = groups.iter().any(is_full_mean);
    let is_shown_apart = tables.iter().any(is_full_mean);
    let looked_at = groups
        .iter()
        .filter(|_| !is_logged_mean)
        .chain(tables.iter().filter(|_| !is_shown_apart))
        .find_map(|group| left_out(&claim.number, group).map(|out| (group, out)));
    let Some((group, out)) = looked_at else { return Outcome::HOLDS };
    let violation = violation(case, json, &claim, group, &out);
    let seeds = json.seeds();
    let is_named = out.iter().any(|value| seeds.contains(&value.seed));
    let is_softer = (is_shown_apart || is_logged_mean && !is_named) && violation.severity > Some(Severity::Warning);
    Outcome::Violated(vec![if is_softer { violation.graded(Severity::Warning) } else { violation }])
}

fn violation(
    case: &FolderCase,
    json: &SubmissionJson,
    claim: &ClaimedField,
    group: &[Value],
    out: &[&Value],
) -> Violation {
    let names: Vec<String> = out.iter().map(|value| value.seed.to_string()).collect();
    let seeds = if names.len() == 1 { "seed" } else { "seeds" };
    let (kept, mean) = (group.len() - out.len(), mean(group));
    let message = format!(
        "{} is the mean of {kept} of {} runs, without {seeds} {}; the mean of all is {mean:.6}",
        claim.number,
        group.len(),
        names.join(", ")
    );
    let cited = cite(json, claim).expected(format!("{mean:.6}"));
    let evidence = std::iter::once(cited).chain(out.iter().map(|value| value.place.clone()));
    if let Some(place) = declaration(case, json, out) {
        let message = format!("{message}; that is declared");
        return Violation::new(message, evidence.chain([place]).collect()).graded(Severity::Note);
    }
    let is_listed = out.iter().any(|value| value.is_listed);
    let severity = if is_listed { Severity::Fail } else { Severity::Warning };
    Violation::new(message, evidence.collect()).graded(severity)
}

fn mean(values: &[Value]) -> f64 {
    values.iter().map(|value| value.bpb).sum::<f64>() / values.len().max(1) as f64
}

/// The runs that were left out, if the claim is the mean of the others and better than that of all.
fn left_out<'a, 'v>(claim: &ClaimedNumber, group: &'v [Value<'a>]) -> Option<Vec<&'v Value<'a>>> {
    // By value: whoever picks keeps the lowest.
    let mut sorted: Vec<&Value> = group.iter().collect();
    sorted.sort_by(|a, b| a.bpb.total_cmp(&b.bpb).then(a.seed.cmp(&b.seed)));
    let of_all = mean(group);
    // The values were rounded, too, before anybody here took their mean.
    let slack = 2.0 * claim.rounding() * (1.0 + 1e-9);
    let is_claim = |value: f64| (claim.value() - value).abs() <= slack;
    // One of the values itself is the best seed's rule.
    if sorted.len() > MOST || sorted.iter().any(|value| is_claim(value.bpb)) {
        return None;
    }
    // Of many digits no other choice comes to the same mean by chance.
    let any_choice = claim.decimals() >= TELLING_DECIMALS && sorted.len() <= MOST_CHOICES;
    let lowest = (2..sorted.len()).rev().map(|kept| (1u32 << kept) - 1);
    let choices = lowest.chain(if any_choice { 1..(1u32 << sorted.len()) - 1 } else { 0..0 });
    for choice in choices.filter(|choice| choice.count_ones() >= 2) {
        let (chosen, out): (Vec<_>, Vec<_>) = sorted.iter().enumerate().partition(|(at, _)| choice >> at & 1 == 1);
        let of_chosen = chosen.iter().map(|(_, value)| value.bpb).sum::<f64>() / chosen.len() as f64;
        if !is_claim(of_chosen) || of_all - of_chosen <= 2.0 * claim.rounding() {
            continue;
        }
        // Runs under other names that nobody lists are another experiment with the same script.
        let is_relative = |value: &Value| chosen.iter().any(|(_, chosen)| chosen.family == value.family);
        if out.iter().any(|(_, value)| value.is_listed || is_relative(value)) {
            return Some(out.into_iter().map(|(_, value)| *value).collect());
        }
    }
    None
}

/// What must be equal between runs of one experiment: the script, the settings, the machine, the last evaluation.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Settings<'a> {
    listing: Option<&'a str>,
    code: Option<u64>,
    /// Of logs that print neither listing nor code size, the family.
    family: Option<&'a str>,
    parameters: Option<u64>,
    world_size: Option<u64>,
    tokenizer: Option<&'a str>,
    val_tokens: Option<u64>,
    /// Training time in units within which runs under one cap lie.
    minutes: Option<u64>,
    label: &'a str,
}

fn settings<'a>(part: &Part<'a>, family: &'a str, last: &'a Metric) -> Settings<'a> {
    let log: &'a LogFile = part.log;
    let listing = log.listings.iter().rfind(|listing| listing.has_head && listing.first <= last.line);
    let listing = listing.or(log.listings.first()).map(|listing| listing.text.as_str());
    let code = log.sizes_of(SizeKind::Code).find(|size| part.lines.contains(size.line)).map(|size| size.bytes);
    Settings {
        listing,
        code,
        family: (listing.is_none() && code.is_none()).then_some(family),
        parameters: log.parameters.first().map(|noted| noted.value),
        world_size: log.world_size.as_ref().map(|noted| noted.value),
        tokenizer: log.tokenizer.as_ref().map(|noted| noted.value.as_str()),
        val_tokens: log.val_tokens.iter().map(|noted| noted.value).max(),
        minutes: log.train_seconds.as_ref().map(|noted| (noted.value / 60.0).round() as u64),
        label: &last.label,
    }
}

/// Logged runs by experiment, one a seed; a seed that stands for two things in one experiment leaves it to the names.
fn experiments<'a>(
    case: &FolderCase,
    json: &SubmissionJson,
    runs: impl Iterator<Item = (&'a str, &'a Part<'a>)>,
) -> Vec<Vec<Value<'a>>> {
    let mut listed: BTreeSet<u64> = json.seeds().into_iter().collect();
    let columns = case.folder.readme.as_ref().map(|readme| readme.seed_columns()).unwrap_or_default();
    listed.extend(columns.iter().flat_map(|column| column.seeds.iter().map(|(seed, _, _)| *seed)));
    let mut groups: BTreeMap<Settings, Vec<(Value, &str)>> = BTreeMap::new();
    for (family, part) in runs {
        let (Some(last), Some(seed)) = (part.last, part.seed) else { continue };
        let value = Value {
            seed,
            bpb: last.bpb,
            family,
            is_listed: listed.contains(&seed),
            place: line(part.log, last).expected(format!("seed {seed} counted")),
        };
        groups.entry(settings(part, family, last)).or_default().push((value, part.log.path.as_str()));
    }
    let mut experiments = Vec::new();
    for values in groups.into_values() {
        let seeds: BTreeSet<u64> = values.iter().map(|(value, _)| value.seed).collect();
        if seeds.len() == values.len() {
            experiments.push(values.into_iter().map(|(value, _)| value).collect());
            continue;
        }
        let mut families: BTreeMap<&str, BTreeMap<u64, Value>> = BTreeMap::new();
        for (value, _) in values {
            families.entry(value.family).or_default().insert(value.seed, value);
        }
        experiments.extend(families.into_values().map(|by_seed| by_seed.into_values().collect()));
    }
    experiments
}

/// Rows by seed of submission.json and of tables of the README.
fn tables<'a>(case: &FolderCase, json: &SubmissionJson) -> Vec<Vec<Value<'a>>> {
    let value = |seed: u64, bpb: &ClaimedNumber, place: Evidence| Value {
        seed,
        bpb: bpb.value(),
        family: "",
        is_listed: true,
        place: place.found(format!("seed {seed}: {bpb}")).expected("counted"),
    };
    let is_bpb = |bpb: &&ClaimedNumber| bpb.value() > 0.0 && bpb.decimals() >= 3;
    let results = json.seed_results();
    let of_json = results.iter().filter_map(|claim| {
        let bpb = claim.bpb.as_ref().filter(is_bpb)?;
        Some(value(claim.seed, bpb, Evidence::file(&json.path)))
    });
    let mut tables: Vec<Vec<Value>> = vec![of_json.collect()];
    if let Some(readme) = &case.folder.readme {
        for column in readme.seed_columns() {
            let rows = column.seeds.iter();
            tables.push(rows.map(|(seed, bpb, at)| value(*seed, bpb, Evidence::at(&readme.path, *at))).collect());
        }
    }
    // A table that names a seed twice compares something else.
    tables.retain(|rows| rows.iter().map(|row| row.seed).collect::<BTreeSet<_>>().len() == rows.len());
    tables
}

/// Where the README or submission.json says that runs were left out.
fn declaration(case: &FolderCase, json: &SubmissionJson, out: &[&Value]) -> Option<Evidence> {
    let readme = case.folder.readme.as_ref();
    let in_readme = readme.and_then(|readme| {
        let (at, text) = readme.text.lines().enumerate().find(|(_, text)| declares(text, out))?;
        Some(Evidence::at(&readme.path, at as u64 + 1).found(text))
    });
    in_readme.or_else(|| {
        let (key, text) = json.texts().into_iter().find(|(_, text)| declares(text, out))?;
        Some(Evidence::at(&json.path, json.line_of(key)).found(text))
    })
}

/// Words that a sentence about runs left out has.
const LEFT_OUT: &[&str] = &[
    "exclud",
    "dropped",
    "omitted",
    "discard",
    "outlier",
    "left out",
    "leaving out",
    "not counted",
    "not included",
    "without seed",
    "cherry",
];
/// Words before or behind a number of runs that were kept.
const KEPT: &[&str] = &["best", "lowest", "top", "selected", "fastest"];
const NUMBERS: &[&str] = &["two", "three", "four", "five", "six", "seven"];

fn declares(text: &str, out: &[&Value]) -> bool {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let about_runs = |word: &&str| {
        ["seed", "run"].iter().any(|what| word.starts_with(what))
            || out.iter().any(|value| value.seed.to_string() == **word)
    };
    if !words.iter().any(about_runs) {
        return false;
    }
    let is_number = |word: &str| NUMBERS.contains(&word) || word.len() == 1 && word.bytes().all(|b| b.is_ascii_digit());
    let is_kept = |word: &str| KEPT.contains(&word);
    let beside =
        words.windows(2).any(|pair| is_kept(pair[0]) && is_number(pair[1]) || is_number(pair[0]) && is_kept(pair[1]));
    beside || LEFT_OUT.iter().any(|word| lower.contains(word))
}
