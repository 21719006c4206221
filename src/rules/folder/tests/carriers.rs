//! Logs that carry a claim beside logs that do not.

use super::Submission;

const JSON: &str = "{\n\"val_bpb\": 1.15000000,\n\"track\": \"10min_16mb\"}";

/// A run of this seed, its result, and seconds of training and evaluation.
fn run(seed: u64, bpb: &str, train: u64, eval: u64) -> String {
    format!(
        "seed:{seed}\nstep:0/9 val_loss:6.9 val_bpb:4.1 train_time:0ms\nstep:9/9 train_loss:2.1 train_time:{train}000ms\n\
         final_int6 val_loss:1.9 val_bpb:{bpb} eval_time:{eval}000ms\n"
    )
}

fn folder(files: &[(&str, &str)]) -> Submission {
    Submission::of(&[&[("submission.json", JSON)], files].concat())
}

#[test]
fn what_is_wrong_in_other_logs_is_a_warning_that_names_them() {
    // (1.14 + 1.16) / 2 = 1.15.
    let (a, b) = (run(1, "1.14000000", 599, 100), run(2, "1.16000000", 599, 100));
    let old = run(1, "1.17000000", 900, 700);
    for name in ["old_seed1.log", "first_try.txt", "train_seed1_v0.log", "rerun.log"] {
        let both = folder(&[("train_seed1.log", &a), ("train_seed2.log", &b), (name, &old)]);
        assert_eq!(
            both.says("train_over_600s")[0],
            format!(
                "warning: trained 900.000 s, 300.000 s over: far over the cap, in {name}, which does not carry the claim"
            )
        );
        assert_eq!(
            both.says("eval_over_600s")[0],
            format!("warning: evaluated 700 s, in {name}, which does not carry the claim")
        );
    }
    // The same fault in a run that carries the claim is a failure.
    let slow = run(2, "1.16000000", 900, 700);
    let carried = folder(&[("train_seed1.log", &a), ("train_seed2.log", &slow), ("old.log", &old)]);
    assert!(carried.says("train_over_600s")[0].starts_with("fail: "));
    assert!(carried.says("eval_over_600s")[0].starts_with("fail: "));
}

#[test]
fn several_runs_in_one_log_are_several_runs() {
    let all: String =
        [run(1, "1.14000000", 599, 1), run(2, "1.16000000", 599, 1), run(3, "1.15000000", 599, 1)].concat();
    let one = folder(&[("train.log", &all)]);
    assert_eq!(one.says("fewer_than_3_seed_logs"), ["pass: 3 seeds"]);
    assert_eq!(one.says("single_seed"), ["pass"]);
    assert_eq!(one.says("claimed_bpb_differs_from_log"), ["pass"]);
    // A second run with the same seed replaces the first.
    let again = [run(1, "1.30000000", 900, 1), run(1, "1.15000000", 599, 1)].concat();
    assert!(folder(&[("train.log", &again)]).says("single_seed")[0].starts_with("warning: "));
}

#[test]
fn logs_that_train_carry_what_other_logs_score() {
    let train = "seed:1\nmodel_params:9000000\nstep:9/9 train_loss:2.1 train_time:900000ms\n";
    let score = "seed:1\nmodel_params:9000000\nfinal_int6 val_loss:1.9 val_bpb:1.15000000 eval_time:1000ms\n";
    let folder_of =
        |train: &str| folder(&[("train_seed1.log", train), ("eval_seed1.log", score)]).says("train_over_600s");
    assert!(folder_of(train)[0].starts_with("fail: "));
    // A model of another size is another model.
    assert!(folder_of(&train.replace("9000000", "4000000"))[0].starts_with("warning: "));
}

#[test]
fn without_a_claim_names_and_the_readme_tell() {
    let (good, bad) = (run(1, "1.14", 599, 1), run(2, "1.3", 900, 1));
    let says = |readme: &str, name: &str| {
        let files = [("submission.json", "{}"), ("README.md", readme), ("train.log", &good), (name, &bad)];
        Submission::of(&files).says("train_over_600s")[0].split(':').next().unwrap_or_default().to_string()
    };
    assert_eq!(says("", "ablation_seed2.log"), "warning");
    assert_eq!(says("x.log is kept for history only", "x.log"), "warning");
    assert_eq!(says("x.log is a run", "x.log"), "fail");
}
