//! Results of runs whose logs stop early.

use super::Submission;

const RULE: &str = "result_of_unfinished_log";
const WHOLE: &str = "seed:1\nstep:1/9 val_bpb:1.5000\nstep:2/9 val_bpb:1.2000\nfinal_int6_exact val_bpb:1.16320112\n";
const CUT: &str = "seed:2\nstep:1/9 val_bpb:1.5000\nstep:2/9 val_bpb:1.2000\nstopping_early: wallclock_cap\n";
const TABLE: &str = "| seed | val_bpb |\n|---|---|\n| 1 | 1.16320112 |\n| 2 | 1.16299999 |\n";

fn folder(json: &str, readme: &str, logs: &[&str]) -> Submission {
    let names: Vec<String> = (1..=logs.len()).map(|seed| format!("train_seed{seed}.log")).collect();
    let logs = names.iter().zip(logs).map(|(name, text)| (name.as_str(), *text));
    Submission::of(&[("submission.json", json), ("README.md", readme)].into_iter().chain(logs).collect::<Vec<_>>())
}

#[test]
fn a_stated_result_needs_a_log_that_reaches_it() {
    let json = "{\"val_bpb\": 1.16310055}";
    let said = folder(json, TABLE, &[WHOLE, CUT]).says(RULE);
    assert_eq!(
        said,
        [
            "fail: seed 2: a result is stated, the log stops before the final number",
            "README.md:4: seed 2: 1.16299999",
            "train_seed2.log:3: last value of 4 lines (seed 2: 1.16299999)",
        ]
    );
    assert_eq!(folder(json, TABLE, &[WHOLE, CUT]).non_record().says(RULE)[0][..7], *"warning");
    let by_seed = "{\"val_bpb\": 1.163, \"seed_results\": {\"2\": 1.16299999}}";
    assert_eq!(folder(by_seed, "", &[WHOLE, CUT]).says(RULE)[0][..4], *"fail");
    // Nothing stated; stated as logged; evaluated in another log; a value that stands in the log.
    assert_eq!(folder(json, "", &[WHOLE, CUT]).says(RULE), ["pass"]);
    let other = WHOLE.replace("seed:1", "seed:2").replace("1.16320112", "1.16299999");
    assert_eq!(folder(json, TABLE, &[WHOLE, &other]).says(RULE), ["pass"]);
    assert_eq!(folder(json, TABLE, &[WHOLE, CUT, "final_int6_exact val_bpb:1.16299999\n"]).says(RULE), ["pass"]);
    assert_eq!(folder(json, &TABLE.replace("1.16299999", "1.2000"), &[WHOLE, CUT]).says(RULE), ["pass"]);
}

#[test]
fn a_claim_of_which_no_log_comes_to_an_end() {
    assert_eq!(
        folder("{\"val_bpb\": 1.16310055}", "", &[CUT]).says(RULE),
        [
            "warning: 1.16310055 claimed; every log stops before its final number",
            "submission.json:1: val_bpb: 1.16310055",
            "train_seed1.log:3: last value of 4 lines",
        ]
    );
    // The claim is a value of the log, another rule's finding; nothing was trained.
    assert_eq!(folder("{\"val_bpb\": 1.2}", "", &[CUT]).says(RULE), ["pass"]);
    assert_eq!(folder("{\"val_bpb\": 1.2}", "", &["x\n"]).says(RULE), ["unknown: no log tells of a training run"]);
}
