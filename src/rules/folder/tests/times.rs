//! Ten minutes of training, ten minutes of evaluation.

use super::Submission;

fn trained(ms: &[u64]) -> Submission {
    let logs: Vec<String> = ms.iter().map(|ms| format!("step:9/9 train_loss:2 train_time:{ms}ms\n")).collect();
    Submission::logged("{}", &logs.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn how_far_over_ten_minutes_decides() {
    let rule = "train_over_600s";
    assert_eq!(trained(&[599_000, 600_000]).says(rule), ["pass: 600.000 s"]);
    for (ms, severity, over, degree) in [
        (600_001, "note", "0.001", "no more than the last step explains"),
        (601_000, "note", "1.000", "no more than the last step explains"),
        (601_001, "warning", "1.001", "more than one step explains"),
        (610_000, "warning", "10.000", "more than one step explains"),
        (610_001, "fail", "10.001", "far over the cap"),
    ] {
        let seconds = format!("{:.3}", f64::from(ms) / 1000.0);
        assert_eq!(
            trained(&[1000, ms as u64]).says(rule),
            [
                format!("{severity}: trained {seconds} s, {over} s over: {degree}"),
                format!("train1.log:1: {seconds} s (at most 600 s)")
            ]
        );
    }
    let elsewhere = trained(&[700_000]).non_record();
    assert_eq!(
        elsewhere.says("train_over_600s_nonrecord")[0],
        "note: trained 700.000 s, 100.000 s over: far over the cap"
    );
}

#[test]
fn a_claimed_training_time_stands_in_for_logs() {
    let rule = "train_over_600s";
    for key in ["training_time_seconds", "train_time_seconds", "wallclock_seconds"] {
        let json = format!("{{\n\"{key}\": 605.5}}");
        assert_eq!(
            Submission::logged(&json, &[]).says(rule),
            [
                "warning: trained 605.500 s, 5.500 s over: more than one step explains".to_string(),
                format!("submission.json:2: {key}: 605.5 (at most 600 s)")
            ]
        );
        // Not in the other track.
        let other = Submission::logged(&json, &[]).non_record();
        assert_eq!(other.says("train_over_600s_nonrecord"), ["unknown: no log gives a training time"]);
    }
    assert_eq!(
        Submission::logged("{}", &[]).says(rule),
        ["unknown: neither a log nor submission.json gives a training time"]
    );
    assert_eq!(Submission::of(&[]).says(rule), ["unknown: no log gives a training time"]);
}

#[test]
fn training_with_making_the_artifact() {
    let rule = "artifact_production_over_600s";
    let log = |seconds: &str| format!("x\nartifact_production_wallclock: {seconds}s\n");
    let says =
        |logs: &[String]| Submission::logged("{}", &logs.iter().map(String::as_str).collect::<Vec<_>>()).says(rule);
    assert_eq!(says(&[log("600")]), ["pass"]);
    assert_eq!(
        says(&[log("967.399"), log("600.5"), log("12")]),
        ["note: 2 run(s) over 600 s", "train0.log:2: 967.399 s", "train1.log:2: 600.5 s"]
    );
    assert_eq!(says(&["x\n".to_string()]), ["unknown: no log says how long making the artifact took"]);
}

/// `final_int6 ... eval_time`, in seconds.
fn evaluated(seconds: &[(&str, f64)]) -> String {
    seconds.iter().map(|(label, s)| format!("{label} val_bpb:1.1 eval_time:{}ms\n", s * 1000.0)).collect()
}

#[test]
fn the_longest_evaluation_counts() {
    let rule = "eval_over_600s";
    let says = |log: &str| Submission::logged("{}", &[log]).says(rule);
    assert_eq!(says(&evaluated(&[("a", 20.0), ("final_b", 600.0)])), ["pass: 600.0 s"]);
    let over = evaluated(&[("a", 20.0), ("final_b", 706.3), ("c", 30.0)]);
    let evidence = "train0.log:2: final_b val_bpb: 706.3 s (at most 600 s)";
    assert_eq!(says(&over)[0], "fail: evaluated 706.3 s");
    assert_eq!(says(&over)[1].replace("final_b val_bpb", "final_b").replace("final_b", "final_b val_bpb"), evidence);
    // Fewer devices take longer: a warning in the record track, the rule's own severity elsewhere.
    let fewer = format!("world_size:1\n{over}");
    assert_eq!(says(&fewer)[0], "warning: evaluated 706.3 s, on fewer devices than the cap is for");
    assert_eq!(says(&format!("world_size:8\n{over}"))[0], "fail: evaluated 706.3 s");
    assert_eq!(
        Submission::logged("{}", &[&fewer]).non_record().says("eval_over_600s_nonrecord")[0],
        "note: evaluated 706.3 s, on fewer devices than the cap is for"
    );
    assert_eq!(says("x\n"), ["unknown: no log gives an evaluation time"]);
}

#[test]
fn without_a_cap_no_evaluation_is_too_long() {
    use crate::manifest::Track;
    use crate::rules::PolicyFile;
    let mut folder = Submission::logged("{}", &[&evaluated(&[("final_b", 706.3)])]);
    folder.policy = PolicyFile::builtin(Track::TenMinutes).unwrap().on(Some("2026-03-19"));
    assert_eq!(folder.says("eval_over_600s"), ["not applicable"]);
    assert_eq!(folder.says("eval_sum_over_600s"), ["not applicable"]);
}

#[test]
fn evaluations_of_one_log_add_up() {
    let rule = "eval_sum_over_600s";
    let says =
        |logs: &[String]| Submission::logged("{}", &logs.iter().map(String::as_str).collect::<Vec<_>>()).says(rule);
    let first = |logs: &[String]| says(logs).remove(0);
    assert_eq!(first(&[evaluated(&[("a", 190.0), ("b", 480.0)])]), "note: 670.0 s in all");
    assert_eq!(says(&[evaluated(&[("a", 190.0), ("b", 480.0)])]).len(), 3);
    assert_eq!(first(&[evaluated(&[("a", 200.0), ("b", 400.0)])]), "pass");
    assert_eq!(first(&[evaluated(&[("a", 200.0), ("b", 400.5)])]), "note: 600.5 s in all");
    // One that is over the cap itself is another rule's finding.
    assert_eq!(first(&[evaluated(&[("a", 190.0), ("b", 600.5)])]), "pass");
    assert_eq!(first(&[evaluated(&[("a", 190.0), ("b", 600.0)])]), "note: 790.0 s in all");
    // Times less than two seconds apart are one time printed twice.
    assert_eq!(first(&[evaluated(&[("a", 400.0), ("b", 401.9)])]), "pass");
    assert_eq!(first(&[evaluated(&[("a", 400.0), ("b", 402.0)])]), "note: 802.0 s in all");
    for diagnostic in ["diagnostic", "pre-quant", "pre_quant", "post_ema", "Post-EMA"] {
        assert_eq!(first(&[evaluated(&[(diagnostic, 190.0), ("b", 480.0)])]), "pass", "{diagnostic}");
    }
    // The log with the largest sum.
    let logs = [
        evaluated(&[("a", 190.0), ("b", 480.0)]),
        evaluated(&[("a", 290.0), ("b", 480.0)]),
        evaluated(&[("a", 191.0), ("b", 480.0)]),
    ];
    assert_eq!(first(&logs), "note: 770.0 s in all");
    assert!(says(&logs)[1..].iter().all(|line| line.starts_with("train1.log:")));
}
