//! Results by seed against each seed's log, in tables of the README and as means of early values.

use super::Submission;

const RULE: &str = "seed_bpb_differs_from_log";

fn folder(claim: &str, readme: &str) -> Submission {
    let log = |seed: u64, early: &str, last: &str| {
        format!("seed:{seed}\npre-quant val_bpb:{early}\nfinal_int6_exact val_bpb:{last}\n")
    };
    let (a, b) = (log(1, "1.15320112", "1.16320112"), log(2, "1.15280344", "1.16280344"));
    let json = format!("{{\"val_bpb\": \"{claim}\"}}");
    Submission::of(&[
        ("submission.json", &json),
        ("README.md", readme),
        ("train_seed1.log", &a),
        ("train_seed2.log", &b),
    ])
}

#[test]
fn a_table_better_than_the_logs() {
    let table = |a: &str, b: &str| format!("| seed | val_bpb |\n|---|---|\n| 1 | {a} |\n| 2 | {b} |\n");
    assert_eq!(
        folder("1.1630", &table("1.16120112", "1.16080344")).says(RULE),
        [
            "warning: all 2 seeds in README.md are better than their logs",
            "README.md:3: seed 1: 1.16120112",
            "train_seed1.log:3: final_int6_exact: 1.16320112",
            "README.md:4: seed 2: 1.16080344",
            "train_seed2.log:3: final_int6_exact: 1.16280344",
        ]
    );
    // As logged, early values for comparison, one slip, worse, and other scores beside the one logged.
    for (a, b) in
        [("1.1632", "1.1628"), ("1.1532", "1.1528"), ("1.1622", "1.1628"), ("1.1652", "1.1648"), ("0.99", "0.98")]
    {
        assert!(!folder("1.1630", &table(a, b)).violates(RULE), "{a} {b}");
    }
    let two = "| seed | byte bpb | val_bpb |\n|---|---|---|\n| 1 | 1.1612 | 1.1632 |\n| 2 | 1.1608 | 1.1628 |\n";
    assert!(!folder("1.1630", two).violates(RULE));
}

#[test]
fn the_mean_of_values_from_before_quantization_is_no_result() {
    let rule = "claim_matches_only_prequant_or_step_value";
    let said = folder("1.15300228", "").says(rule);
    assert_eq!(said[0], "fail: 1.15300228 is not a final value; those have a mean of 1.163002");
    assert_eq!(folder("1.16300228", "").says(rule), ["pass"]);
}
