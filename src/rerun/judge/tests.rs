//! Verdicts on runs that are made up.

use super::*;
use crate::digest::{ContentDigest, Digest};
use crate::rerun::record::{
    Ended, FileRecord, FinalValue, LogFacts, ModelRecord, Opening, Peak, Phase, RECORD_SCHEMA, Surroundings, Times,
};
use crate::rules::audit::Options;
use crate::stats::Board;
use crate::units::Bytes;

fn digest(bytes: u64) -> ContentDigest {
    ContentDigest { bytes: Bytes(bytes), sha256: Digest::from_bytes([1; 32]), blake3: Digest::from_bytes([2; 32]) }
}

/// A seed that ended well with this value.
fn record(seed: u64, bpb: f64) -> SeedRecord {
    let value = FinalValue { line: 9, label: "final".into(), val_bpb: bpb, val_loss: Some(bpb * 1.7) };
    SeedRecord {
        schema: RECORD_SCHEMA.into(),
        seed,
        key: Digest::from_bytes([0; 32]),
        started: 0,
        command: vec!["python3".into(), "train_gpt.py".into()],
        variables: [("SEED".to_string(), seed.to_string())].into(),
        surroundings: Surroundings {
            isolation: "bubblewrap with seccomp".into(),
            is_isolated: true,
            container: None,
            tried: vec![("network refused".into(), true, "Connection refused".into())],
            held: Vec::new(),
            missing: Vec::new(),
        },
        ended: Ended::Code(0),
        times: Times {
            total: 700.0,
            start: Some(10.0),
            training: Some(590.0),
            claimed_training: Some(588.0),
            evaluation: Some(90.0),
        },
        peak: Peak::default(),
        gpus: Default::default(),
        opened: Vec::new(),
        left_processes: 0,
        output: digest(1000),
        log: LogFacts {
            lines: 9,
            finals: vec![value],
            seed: Some(seed),
            eval_seconds: Some(89.0),
            model_bytes: Some(15_000_000),
            ..LogFacts::default()
        },
        artifact: Some(ModelRecord {
            file: FileRecord { path: "final_model.int8.ptz".into(), digest: digest(15_000_000) },
            content: "zlib > safetensors".into(),
            danger: None,
        }),
        other_models: Vec::new(),
        code_bytes: Bytes(50_000),
        changed: Vec::new(),
        oddities: Vec::new(),
        files: Vec::new(),
    }
}

fn claim(seeds: &[(u64, f64)]) -> Claim {
    let value = |bpb: f64| ClaimedValue { val_bpb: bpb, rounding: 5e-7, place: "submission.json:3".into() };
    let mean = seeds.iter().map(|(_, bpb)| bpb).sum::<f64>() / seeds.len() as f64;
    let seeds = seeds.iter().map(|(seed, bpb)| ClaimedSeed { seed: *seed, value: value(*bpb) }).collect();
    Claim { mean: Some(value(mean)), seeds, ..Claim::default() }
}

/// The verdict in the 10-minute track, on a folder without failures.
fn verdict(claim: Claim, records: &[SeedRecord], change: impl FnOnce(&mut Case)) -> Judgement {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/submissions/good");
    let audit = crate::rules::audit::folder(&root, "good".into(), &Options::default()).unwrap();
    let policy = Options::default().policy_for(Track::TenMinutes).unwrap();
    let mut case = Case {
        name: "good",
        claim,
        audit: &audit,
        track: Track::TenMinutes,
        limits: &policy.limits,
        records,
        kept: &[],
        missing: &[],
        unlike: &[],
        changed: &[],
        tolerance: None,
        is_smoke: false,
        machine: MachineFacts::default(),
        against: None,
        scoring: None,
    };
    change(&mut case);
    judge(&case, "runs/good".into())
}

const SEEDS: [(u64, f64); 3] = [(1, 1.1690), (2, 1.1695), (3, 1.1700)];

fn rerun(moved: f64) -> Vec<SeedRecord> {
    SEEDS.iter().map(|(seed, bpb)| record(*seed, bpb + moved)).collect()
}

fn kinds(judgement: &Judgement) -> Vec<&'static str> {
    judgement.remarks.iter().map(|remark| remark.kind).collect()
}

#[test]
fn what_lands_within_the_claims_spread_is_level_4() {
    // The spread of the three is 0.0005: a seed may be 3 sqrt 2 times that away, the mean 3 sqrt(2/3) times.
    let judgement = verdict(claim(&SEEDS), &rerun(0.001), |_| {});
    assert!((judgement.comparison.spread - 0.0005).abs() < 1e-9);
    assert!((judgement.comparison.seeds[0].allowed - 0.002_121_32).abs() < 1e-7);
    assert!((judgement.comparison.mean.allowed - 0.001_224_74).abs() < 1e-7);
    assert_eq!((judgement.level, judgement.level_word, judgement.conclusion()), (4, "rerun", Conclusion::Passed));
    assert!(judgement.remarks.is_empty() && judgement.reasons.is_empty(), "{:?}", judgement.remarks);
}

#[test]
fn what_lands_beside_it_is_not() {
    // 0.0013 for all: each seed is near enough, their mean is not.
    let judgement = verdict(claim(&SEEDS), &rerun(0.0013), |_| {});
    assert!(judgement.comparison.seeds.iter().all(|row| row.agreement == Agreement::Agrees));
    assert_eq!(judgement.comparison.mean.agreement, Agreement::Differs);
    assert_eq!((judgement.level, judgement.conclusion()), (1, Conclusion::Failed));
    assert!(!judgement.reasons.is_empty());
    // A stated tolerance is the reader's own.
    let judgement = verdict(claim(&SEEDS), &rerun(0.0013), |case| case.tolerance = Some(0.002));
    assert_eq!((judgement.level, judgement.conclusion()), (4, Conclusion::Passed));
    let judgement = verdict(claim(&SEEDS), &rerun(0.0), |case| case.tolerance = Some(0.0));
    assert_eq!(judgement.level, 4, "rounding of the claim is no difference");
}

#[test]
fn without_a_claim_there_is_nothing_to_compare() {
    let judgement = verdict(Claim::default(), &rerun(0.0), |_| {});
    assert_eq!((judgement.level, judgement.conclusion()), (1, Conclusion::Unchecked));
    // Another seed than any that is claimed still meets the headline.
    let judgement = verdict(claim(&SEEDS), &[record(7, 1.1696)], |_| {});
    assert_eq!(judgement.comparison.seeds[0].agreement, Agreement::NotClaimed);
    assert_eq!(
        (judgement.level, judgement.next_needs[0].as_str()),
        (4, "level 5 needs 3 seeds, and 1 ended with a result")
    );
}

#[test]
fn a_smoke_run_reproduces_nothing() {
    let judgement = verdict(claim(&SEEDS), &rerun(0.9), |case| case.is_smoke = true);
    assert_eq!((judgement.level, judgement.conclusion()), (1, Conclusion::Passed));
    assert!(text(&judgement).contains("no reproduction"));
}

/// The first remark about a run that differs from a good one.
fn remark(change: impl FnOnce(&mut SeedRecord)) -> (Severity, &'static str, String, Conclusion) {
    let mut records = rerun(0.0);
    change(&mut records[0]);
    let judgement = verdict(claim(&SEEDS), &records, |_| {});
    let first = &judgement.remarks[0];
    (first.severity, first.kind, first.message.clone(), judgement.conclusion())
}

#[test]
fn conduct_is_described() {
    use Conclusion::{Failed, Passed};
    type Change = fn(&mut SeedRecord);
    let cases: [(Change, Severity, &str, &str, Conclusion); 14] = [
        (|r| r.ended = Ended::Code(3), Severity::Fail, "ended_badly", "ended with code 3", Failed),
        (|r| r.ended = Ended::Signal(9), Severity::Fail, "ended_badly", "signal 9", Failed),
        (
            |r| r.ended = Ended::Bound("took 9 bytes".into()),
            Severity::Fail,
            "ended_badly",
            "stopped: it took 9",
            Failed,
        ),
        (|r| r.log.finals.clear(), Severity::Fail, "no_result", "no final val_bpb", Failed),
        (|r| r.artifact = None, Severity::Fail, "no_artifact", "no model", Failed),
        (|r| r.code_bytes = Bytes(1_000_001), Severity::Fail, "over_budget", "16,000,001 bytes, over", Failed),
        (|r| r.changed.push("train_gpt.py".into()), Severity::Fail, "changed_its_code", "train_gpt.py", Failed),
        (|r| r.log.model_bytes = Some(14_999_999), Severity::Warning, "size_differs_from_log", "14,999,999", Passed),
        (|r| r.log.seed = Some(8), Severity::Warning, "other_seed", "states seed 8", Passed),
        (|r| r.left_processes = 2, Severity::Warning, "left_processes", "2 processes", Passed),
        (|r| r.times.training = Some(650.0), Severity::Warning, "training_time_differs", "650.0 s apart", Passed),
        (
            |r| {
                (r.times.training, r.times.claimed_training) = (Some(640.0), Some(640.0));
            },
            Severity::Warning,
            "trained_over_cap",
            "640.0 s by our clock",
            Passed,
        ),
        (|r| r.surroundings.is_isolated = false, Severity::Warning, "no_sandbox", "without a sandbox", Passed),
        (|r| r.oddities.push("pipe: special".into()), Severity::Warning, "odd_file", "pipe", Passed),
    ];
    for (change, severity, kind, words, conclusion) in cases {
        let found = remark(change);
        assert_eq!((found.0, found.1, found.3), (severity, kind, conclusion), "{}", found.2);
        assert!(found.2.contains(words), "{}", found.2);
    }
    let early = remark(|r| {
        let open = |seconds, phase| Opening { path: "data/fineweb_val_000000.bin".into(), seconds, phase };
        r.opened = vec![open(3.0, Phase::Training)];
    });
    assert_eq!((early.0, early.1, early.3), (Severity::Note, "validation_data_opened_early", Passed), "{}", early.2);
    let honest = remark(|r| r.log.train_seconds = Some(611.0));
    assert_eq!((honest.0, honest.1, honest.3), (Severity::Fail, "trained_over_cap", Failed), "{}", honest.2);
    // Exactly at the cap.
    let mut records = rerun(0.0);
    records[0].code_bytes = Bytes(1_000_000);
    assert!(verdict(claim(&SEEDS), &records, |_| {}).remarks.is_empty());
}

#[test]
fn several_results_are_named_and_the_last_is_taken() {
    let mut records = rerun(0.0);
    let mut early = records[0].log.finals[0].clone();
    (early.val_bpb, early.line) = (0.9, 5);
    records[0].log.finals.insert(0, early.clone());
    let judgement = verdict(claim(&SEEDS), &records, |_| {});
    assert_eq!(kinds(&judgement), ["several_results"]);
    assert!(judgement.remarks[0].message.contains("0.9 in line 5"));
    // The same value with fewer digits is no other one, nor is another kind of evaluation.
    records[0].log.finals[0].val_bpb = 1.169;
    assert!(verdict(claim(&SEEDS), &records, |_| {}).remarks.is_empty());
    records[0].log.finals[0] = FinalValue { label: "before".into(), ..early };
    assert!(verdict(claim(&SEEDS), &records, |_| {}).remarks.is_empty());
}

#[test]
fn other_hardware_is_a_reason() {
    let mut claimed = claim(&SEEDS);
    claimed.hardware = vec!["H100 80GB HBM3".into()];
    claimed.steps = Some(6900);
    let mut records = rerun(0.05);
    records[0].log.steps = Some(900);
    let gpus = |name: &str| vec![name.to_string(); 8];
    let reasons = |gpus: Vec<String>| verdict(claimed.clone(), &records, |case| case.machine.gpus = gpus).reasons;
    let words = reasons(gpus("NVIDIA A100-SXM4-80GB")).join("\n");
    assert!(words.contains("900 here, 6900 in the logs") && words.contains("8 x NVIDIA A100"), "{words}");
    assert!(!reasons(gpus("NVIDIA H100 80GB HBM3")).join("\n").contains("other hardware"));
}

/// A board with one record of the ten-minute track: three runs, 0.0005 apart.
fn board(middle: f64) -> Board {
    let text = format!(
        "schema: golf-harness/board/v1\ntrack: 10min_16mb\nas_of: 2026-05-01\nrecords:\n\
         - {{pr: 10, title: a, date: '2026-03-20', val_bpb: {middle}, source: s, runs: [{{seed: 1, val_bpb: {}}}, \
         {{seed: 2, val_bpb: {middle}}}, {{seed: 3, val_bpb: {}}}]}}\n",
        middle - 0.0005,
        middle + 0.0005
    );
    Board::parse(&text, std::path::Path::new("b.yaml")).unwrap()
}

/// The verdict on eight H100 against such a board.
fn on_the_board(middle: f64, records: &[SeedRecord], change: impl FnOnce(&mut Case)) -> Judgement {
    let board: &'static Board = Box::leak(Box::new(board(middle)));
    verdict(claim(&SEEDS), records, |case| {
        case.machine.gpus = vec!["NVIDIA H100 80GB HBM3".into(); 8];
        case.against = Some(Against { board, date: Some("2026-03-25"), pr: None });
        change(case);
    })
}

#[test]
fn a_record_is_level_5() {
    let judgement = on_the_board(1.18, &rerun(0.0), |_| {});
    assert_eq!((judgement.level, judgement.level_word, judgement.conclusion()), (5, "record", Conclusion::Passed));
    assert!(judgement.next_needs.is_empty());
    let standing = judgement.standing.clone().unwrap();
    assert!(standing.beats && standing.is_record, "{standing:?}");
    assert_eq!((standing.record.as_deref(), standing.runs), (Some("PR #10 (2026-03-20)"), 3));
    let words = [text(&judgement), markdown(&judgement)];
    assert!(words[0].contains("board       against PR #10 (2026-03-20): record: mean 1.16950 bpb over 3 runs"));
    assert!(words[1].contains("**Board**: a record. against PR \\#10"), "{}", words[1]);
}

#[test]
fn what_a_record_lacks_is_said() {
    type Change = fn(&mut SeedRecord);
    type ChangeCase = fn(&mut Case);
    let of_records: [(Change, &str); 4] = [
        (|r| r.times.training = Some(601.5), "training within 600 s by our clock, and that of seed 1 took 601.5 s"),
        (|r| r.times.training = None, "the output of seed 1 has no marks"),
        (|r| r.times.evaluation = Some(600.5), "evaluation within 600 s by our clock, and that of seed 1 took 600.5 s"),
        (|r| r.times.evaluation = None, "the output of seed 1 has no marks"),
    ];
    let of_case: [(ChangeCase, &str); 7] = [
        (|c| c.records = &c.records[..2], "3 seeds, and 2 ended"),
        (|c| c.track = Track::NonRecord, "an entry in the 10-minute track"),
        (|c| drop(c.machine.gpus.pop()), "8 x H100, and this machine has 7 x NVIDIA H100"),
        (|c| c.machine.gpus.push("NVIDIA H100 80GB HBM3".into()), "this machine has 9 x NVIDIA H100"),
        (|c| c.machine.gpus = vec!["NVIDIA A100".into(); 8], "this machine has 8 x NVIDIA A100"),
        (|c| c.machine.gpus.clear(), "this machine has no GPU"),
        (|c| c.against = None, "which `--against BOARD.yaml` looks for"),
    ];
    let check = |judgement: Judgement, words: &str| {
        assert_eq!((judgement.level, judgement.next_needs.len()), (4, 1), "{words}: {:?}", judgement.next_needs);
        assert!(judgement.next_needs[0].contains(words), "{words}: {:?}", judgement.next_needs);
        assert!(text(&judgement).contains(&format!("next        {}", judgement.next_needs[0])));
    };
    for (change, words) in of_records {
        let mut records = rerun(0.0);
        change(&mut records[0]);
        check(on_the_board(1.18, &records, |_| {}), words);
    }
    for (change, words) in of_case {
        check(on_the_board(1.18, &rerun(0.0), change), words);
    }
    // 601 s: the step that crosses the cap is let through. A loss of 1.7 nats a bit makes the margin 0.0029 bpb.
    let mut records = rerun(0.0);
    (records[0].times.training, records[0].times.evaluation) = (Some(601.0), Some(600.0));
    assert_eq!(on_the_board(1.18, &records, |_| {}).level, 5);
    let standing = |judgement: &Judgement| judgement.standing.clone().unwrap();
    for (middle, words) in [(1.1724, "improvement too small"), (1.1726, "not shown"), (1.16, "no record")] {
        let judgement = on_the_board(middle, &rerun(0.0), |_| {});
        assert!(standing(&judgement).verdict.starts_with(words) || standing(&judgement).verdict.contains(words));
        assert!(!standing(&judgement).is_record);
        check(judgement, "which these runs do not show");
    }
    // What was there later is not in its way, and nothing to beat is no record.
    let early = on_the_board(1.18, &rerun(0.0), |case| {
        if let Some(against) = &mut case.against {
            against.date = Some("2026-03-19");
        }
    });
    assert!(standing(&early).verdict.contains("no record from before"), "{:?}", early.standing);
    check(early, "which these runs do not show");
    // Numbers that beat the board and not the claim are no record.
    let other = on_the_board(1.18, &rerun(-0.01), |_| {});
    assert!(standing(&other).beats && !standing(&other).is_record && other.level < 4);
}

#[test]
fn what_scripts_print_is_no_markup() {
    let mut records = rerun(0.0);
    records[0].oddities.push("![x](http://x) <img> @all `code` |\n# pipe".into());
    let comment = markdown(&verdict(claim(&SEEDS), &records, |_| {}));
    assert!(!comment.contains("![x]") && !comment.contains("<img>") && !comment.contains("\n# pipe"), "{comment}");
}
