//! Seeds: how many, which, and whether they are really different runs.

use super::DEFAULT;
use super::runs::{runs, seed, seeds};
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Tracks};

const SEEDS: Rule = Rule {
    evidence: EvidenceKind::Logs,
    reference: "challenge README, rule 1 and file list 3: p < 0.01, three runs are usually enough",
    ..DEFAULT
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("single_seed"),
        statement: "There is one seed only.",
        why: "One run says nothing about the spread; seeds differ by more than most records improve.",
        example: "seed 1337 in the only log",
        check: Check::Folder(single),
        ..SEEDS
    },
    Rule {
        id: RuleId("fewer_than_3_seed_logs"),
        statement: "Fewer than three seeds are logged.",
        tracks: Tracks::TenMinutes,
        why: "A record is judged on the mean of several runs.",
        example: "train_seed42.log and train_seed1337.log",
        check: Check::Folder(fewer),
        ..SEEDS
    },
    Rule {
        id: RuleId("claimed_seed_has_no_log"),
        statement: "A claimed seed has no log.",
        why: "Its result is not supported by anything.",
        example: "\"seeds\": [7, 42, 1337] with the log of seed 1337 only",
        check: Check::Folder(no_log),
        ..SEEDS
    },
    Rule {
        id: RuleId("identical_metric_across_seeds"),
        statement: "Two seeds have the same result to all digits.",
        severity: Severity::Fail,
        why: "Different seeds never agree to eight digits: it is the same run twice.",
        example: "1.15981566 for seeds 1337 and 1339",
        check: Check::Folder(identical),
        ..SEEDS
    },
];

fn single(case: &FolderCase) -> Outcome {
    let runs = runs(case.folder);
    let logged = seeds(&runs);
    let claimed = case.folder.submission.as_ref().map(|json| json.seeds()).unwrap_or_default();
    let unnamed = runs.iter().filter(|run| run.seed.is_none()).count();
    if runs.is_empty() && claimed.is_empty() {
        return Outcome::unknown("neither a log nor submission.json names a seed");
    }
    let many = logged.len() > 1 || claimed.len() > 1;
    // An evaluation of a checkpoint is no run of its own.
    let trained_once = case.folder.logs.iter().filter(|log| log.trains).count() == 1;
    if !many && logged.is_empty() && unnamed > 1 && !trained_once {
        return Outcome::unknown(format!("{unnamed} runs, none of which names its seed"));
    }
    if many {
        return Outcome::HOLDS;
    }
    let name = logged.first().or(claimed.first()).map_or("unnamed".to_string(), u64::to_string);
    let evidence = runs.first().map(|run| {
        let line = run.log.seeds.first().map_or(run.last.line, |seed| seed.line);
        Evidence::at(&run.log.path, line).found(format!("seed {name}"))
    });
    Outcome::violated(format!("one seed: {name}"), evidence.into_iter().collect())
}

fn fewer(case: &FolderCase) -> Outcome {
    let runs = runs(case.folder);
    if runs.is_empty() {
        return Outcome::unknown("no log has a final value");
    }
    // A script that evaluates a checkpoint states its own default seed; the name then tells the run.
    let mut logged = seeds(&runs);
    logged.extend(runs.iter().filter_map(|run| super::runs::seed_in_name(&run.log.path)));
    logged.extend(case.folder.logs.iter().filter(|log| log.trains).filter_map(seed));
    logged.sort_unstable();
    logged.dedup();
    let unnamed = runs.iter().filter(|run| run.seed.is_none()).count();
    let have = (logged.len() + unnamed) as u64;
    let wanted = case.policy.limits.seeds;
    if have >= wanted {
        return Outcome::holds(format!("{have} seeds"));
    }
    let list: Vec<String> = logged.iter().map(u64::to_string).collect();
    let evidence = runs
        .iter()
        .map(|run| {
            Evidence::at(&run.log.path, run.last.line)
                .found(run.seed.map_or("no seed named".into(), |s| format!("seed {s}")))
        })
        .collect();
    Outcome::violated(format!("{have} of {wanted} seeds logged: {}", list.join(", ")), evidence)
}

fn no_log(case: &FolderCase) -> Outcome {
    let Some(json) = &case.folder.submission else { return Outcome::NotApplicable };
    let claimed = json.seeds();
    if claimed.is_empty() {
        return Outcome::unknown("submission.json names no seeds");
    }
    if case.folder.logs.is_empty() {
        return Outcome::unknown("there are no logs at all");
    }
    let logged: Vec<u64> = case
        .folder
        .logs
        .iter()
        .flat_map(|log| log.seeds.iter().map(|s| s.value).chain(seed(log)).chain(super::runs::seed_in_name(&log.path)))
        .collect();
    let missing: Vec<String> = claimed.iter().filter(|seed| !logged.contains(seed)).map(u64::to_string).collect();
    if missing.is_empty() {
        return Outcome::HOLDS;
    }
    Outcome::violated(
        format!("no log for seed {}", missing.join(", ")),
        vec![Evidence::at(&json.path, json.line_of("seeds")).found(missing.join(", ")).expected("a log for each")],
    )
}

/// Two different runs do not agree to this many digits.
const TELLING_DIGITS: u32 = 6;

fn identical(case: &FolderCase) -> Outcome {
    let runs = runs(case.folder);
    let mut evidence = Vec::new();
    for (i, a) in runs.iter().enumerate() {
        for b in &runs[i + 1..] {
            let different = matches!((a.seed, b.seed), (Some(a), Some(b)) if a != b);
            if different && a.last.decimals >= TELLING_DIGITS && a.last.bpb == b.last.bpb {
                evidence
                    .push(Evidence::at(&b.log.path, b.last.line).found(format!("{} as in {}", b.last.bpb, a.log.path)));
            }
        }
    }
    if evidence.is_empty() {
        return Outcome::HOLDS;
    }
    Outcome::violated(format!("{} result(s) equal another seed's", evidence.len()), evidence)
}
