//! Seeds: how many, which, and whether they are different runs.

use super::Submission;

fn run(seed: u64, bpb: &str) -> String {
    format!("seed:{seed}\nfinal_int6 val_bpb:{bpb}\n")
}

fn folder(json: &str, logs: &[&str]) -> Submission {
    Submission::logged(json, logs)
}

#[test]
fn one_seed_says_nothing_about_the_spread() {
    let rule = "single_seed";
    let (a, b) = (run(1337, "1.1"), run(42, "1.2"));
    assert_eq!(folder("{}", &[&a]).says(rule), ["warning: one seed: 1337", "train0.log:1: seed 1337"]);
    assert_eq!(folder("{}", &[&a, &b]).says(rule), ["pass"]);
    // Claimed ones count, too.
    assert_eq!(folder("{\"seeds\": [1337, 42]}", &[&a]).says(rule), ["pass"]);
    assert_eq!(folder("{\"seeds\": [7]}", &[]).says(rule), ["warning: one seed: 7"]);
    assert_eq!(folder("{}", &[]).says(rule), ["unknown: neither a log nor submission.json names a seed"]);
    // Without a seed the line is that of the result.
    let unnamed = "x\nfinal_int6 val_bpb:1.1\n";
    assert_eq!(folder("{}", &[unnamed]).says(rule), ["warning: one seed: unnamed", "train0.log:2: seed unnamed"]);
    let other = "x\nfinal_int6 val_bpb:1.2\n";
    assert_eq!(folder("{}", &[unnamed, other]).says(rule), ["unknown: 2 runs, none of which names its seed"]);
    // Two results of one training are one run.
    let trains = "step:1 train_loss:2\nfinal_int6 val_bpb:1.3\n";
    assert_eq!(folder("{}", &[trains, other]).says(rule)[0], "warning: one seed: unnamed");
    let again = "step:2 train_loss:2\nfinal_int6 val_bpb:1.3\n";
    assert_eq!(folder("{}", &[trains, again]).says(rule), ["unknown: 2 runs, none of which names its seed"]);
    assert_eq!(folder("{}", &[trains, &a]).says(rule)[0], "warning: one seed: 1337");
}

#[test]
fn three_seeds_are_asked_for() {
    let rule = "fewer_than_3_seed_logs";
    let (a, b, c) = (run(1, "1.1"), run(2, "1.2"), run(3, "1.3"));
    assert_eq!(folder("{}", &[&a, &b, &c]).says(rule), ["pass: 3 seeds"]);
    assert_eq!(
        folder("{}", &[&b, &a]).says(rule),
        ["warning: 2 of 3 seeds logged: 1, 2", "train0.log:2: seed 2", "train1.log:2: seed 1"]
    );
    // One seed twice is one; a run that names none counts as another.
    assert_eq!(folder("{}", &[&a, &run(1, "1.4"), &b]).says(rule)[0], "warning: 2 of 3 seeds logged: 1, 2");
    assert_eq!(folder("{}", &[&a, &b, "final_int6 val_bpb:1.5\n"]).says(rule), ["pass: 3 seeds"]);
    let said = folder("{}", &[&a, "final_int6 val_bpb:1.5\n"]).says(rule);
    assert_eq!(said[0], "warning: 2 of 3 seeds logged: 1");
    assert_eq!(said[2], "train1.log:1: no seed named");
    assert_eq!(folder("{}", &["seed:1\n"]).says(rule), ["unknown: no log has a final value"]);
    // Logs that only train, and names, tell of seeds as well.
    let training = "seed:5\nstep:1 train_loss:2\n";
    assert_eq!(folder("{}", &[&a, &b, training]).says(rule), ["pass: 3 seeds"]);
    let named = Submission::of(&[("train_seed1.log", &run(9, "1.1")), ("train_seed2.log", &run(9, "1.2"))]);
    assert_eq!(named.says(rule), ["pass: 3 seeds"]);
}

#[test]
fn claimed_seeds_have_logs() {
    let rule = "claimed_seed_has_no_log";
    let a = run(1337, "1.1");
    let json = "{\n\"seeds\": [7, 42, 1337]}";
    assert_eq!(
        folder(json, &[&a]).says(rule),
        ["warning: no log for seed 7, 42", "submission.json:2: 7, 42 (a log for each)"]
    );
    assert_eq!(folder("{\"seeds\": [1337]}", &[&a]).says(rule), ["pass"]);
    let named = [("submission.json", "{\"seeds\": [7, 42]}"), ("a_seed7.log", "seed:42\n")];
    assert_eq!(Submission::of(&named).says(rule), ["pass"]);
    assert_eq!(folder("{}", &[&a]).says(rule), ["unknown: submission.json names no seeds"]);
    assert_eq!(folder(json, &[]).says(rule), ["unknown: there are no logs at all"]);
    assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);
}

#[test]
fn different_seeds_never_agree_to_six_digits() {
    let rule = "identical_metric_across_seeds";
    let says = |logs: &[(u64, &str)]| {
        let logs: Vec<String> = logs.iter().map(|(seed, bpb)| run(*seed, bpb)).collect();
        folder("{}", &logs.iter().map(String::as_str).collect::<Vec<_>>()).says(rule)
    };
    assert_eq!(
        says(&[(1337, "1.15981566"), (1339, "1.15981566")]),
        ["fail: 1 result(s) equal another seed's", "train1.log:2: 1.15981566 as in train0.log"]
    );
    assert_eq!(
        says(&[(1, "1.15981566"), (2, "1.15981566"), (3, "1.15981566")])[0],
        "fail: 3 result(s) equal another seed's"
    );
    assert_eq!(says(&[(1, "1.159815"), (2, "1.159815")]).len(), 2);
    assert_eq!(says(&[(1, "1.15981"), (2, "1.15981")]), ["pass"]);
    assert_eq!(says(&[(1, "1.15981566"), (2, "1.15981567")]), ["pass"]);
    // The same seed again, or none: nothing to say. A blank line makes the file another one.
    let again = format!("\n{}", run(1, "1.15981566"));
    assert_eq!(folder("{}", &[&run(1, "1.15981566"), &again]).says(rule), ["pass"]);
    let unnamed = "final_int6 val_bpb:1.15981566\n";
    assert_eq!(folder("{}", &[&run(1, "1.15981566"), unnamed]).says(rule), ["pass"]);
}
