//! Logs as evidence.

use super::Submission;

fn files(files: &[(&str, &str)]) -> Submission {
    Submission::of(files)
}

#[test]
fn without_logs_nothing_is_said_about_them() {
    for rule in [
        "log_encoding_not_utf8",
        "log_is_placeholder",
        "log_without_metrics",
        "log_without_final_metric",
        "log_has_error_trace",
        "log_has_nan",
        "calibration_on_validation_data",
    ] {
        assert_eq!(files(&[]).says(rule), ["not applicable"], "{rule}");
        assert_eq!(files(&[("train.log", "final_int6 val_bpb:1.1\n")]).says(rule), ["pass"], "{rule}");
    }
    assert_eq!(files(&[]).says("log_seed_differs_from_filename"), ["pass"]);
    assert_eq!(files(&[]).says("duplicate_log_files"), ["pass"]);
}

#[test]
fn encodings_are_named() {
    let folder = files(&[("a.log", "\u{feff}x:1\n"), ("b.log", "x:1\n"), ("c.log", "\u{feff}y:1\n")]);
    assert_eq!(
        folder.says("log_encoding_not_utf8"),
        [
            "note: 2 log(s) not plain UTF-8 (read here all the same)",
            "a.log: utf-8-bom (utf-8)",
            "c.log: utf-8-bom (utf-8)"
        ]
    );
}

#[test]
fn logs_that_say_nothing_and_logs_without_metrics() {
    let (placeholder, without) = ("log_is_placeholder", "log_without_metrics");
    let of = |name: &str, bytes: usize| files(&[(name, &"x".repeat(bytes))]);
    assert_eq!(of("train.log", 799).says(placeholder), ["warning: 1 log(s) that say nothing", "train.log: 799 bytes"]);
    assert_eq!(of("train.log", 799).says(without), ["pass"]);
    assert_eq!(of("train.log", 800).says(placeholder), ["pass"]);
    for name in ["Train.log", "seed.log", "run.log", "eval.log"] {
        assert_eq!(
            of(name, 800).says(without),
            [
                "warning: 1 log(s) without any loss or bits per byte".to_string(),
                format!("{name}: 800 bytes, no metric")
            ]
        );
    }
    // Build logs need none; a log that trains or scores has some.
    assert_eq!(of("build.log", 800).says(without), ["pass"]);
    for line in ["step:1 train_loss:2\n", "final_int6 val_bpb:1.1\n"] {
        for bytes in [0, 800] {
            let text = format!("{line}{}", "x".repeat(bytes));
            let folder = files(&[("train.log", &text)]);
            assert_eq!((folder.says(placeholder), folder.says(without)), (vec!["pass".into()], vec!["pass".into()]));
        }
    }
}

#[test]
fn a_training_log_ends_with_a_score() {
    let rule = "log_without_final_metric";
    let trains = "step:1 train_loss:2\n";
    let says = |text: &str| files(&[("train.log", text)]).says(rule);
    assert_eq!(
        says(&format!("{trains}step:2 val_bpb:1.5\nx\n")),
        ["warning: 1 log(s) that end before the final number", "train.log:2: last value of 3 lines"]
    );
    assert_eq!(says(&format!("{trains}x\ny\n"))[1], "train.log:3: last value of 3 lines");
    assert_eq!(says(&format!("{trains}final_int6 val_bpb:1.5\n")), ["pass"]);
    // A run that only trains scores the weights it trained; a value that is no number is no score.
    assert_eq!(says(&format!("{trains}pre-quant val_bpb:1.5\n")), ["pass"]);
    assert_eq!(says(&format!("{trains}pre-quant val_bpb:nan\n")).len(), 2);
    assert_eq!(says("step:2 val_bpb:1.5\n"), ["pass"]);
}

#[test]
fn other_ranks_and_evaluations_in_logs_of_their_own() {
    let trains = "seed:7\nstep:1 train_loss:2\n";
    let scored = format!("{trains}final_int6 val_bpb:1.5\n");
    let stopped = format!("{trains}stopping_early: wallclock_cap\n");
    let ranks = files(&[("seed7/rank0.log", &scored), ("seed7/rank1.log", trains), ("seed7/rank2.log", trains)]);
    let apart = files(&[("train_seed7.log", &stopped), ("eval_seed7.log", "seed:7\nfinal_int6 val_bpb:1.5\n")]);
    for folder in [&ranks, &apart] {
        assert_eq!(folder.says("log_without_final_metric"), ["pass"]);
        assert_eq!(folder.says("duplicate_log_files"), ["pass"]);
    }
    // A run that was cut is not at its end, and one of another seed is another.
    let cut = files(&[("train_seed7.log", trains), ("eval_seed7.log", "seed:7\nfinal_int6 val_bpb:1.5\n")]);
    assert!(cut.violates("log_without_final_metric"));
    let other = files(&[("train_seed7.log", &stopped), ("eval_seed8.log", "seed:8\nfinal_int6 val_bpb:1.5\n")]);
    assert!(other.violates("log_without_final_metric"));
}

#[test]
fn trouble_is_shown_three_times_a_log() {
    let trace = "Traceback (most recent call last):\n";
    let folder = files(&[("a.log", &format!("x\n{}", trace.repeat(4))), ("b.log", trace), ("c.log", "x\n")]);
    let quoted = "Traceback (most recent call last):";
    assert_eq!(
        folder.says("log_has_error_trace"),
        [
            "warning: 2 log(s): holds an error".to_string(),
            format!("a.log:2: {quoted}"),
            format!("a.log:3: {quoted}"),
            format!("a.log:4: {quoted}"),
            format!("b.log:1: {quoted}")
        ]
    );
    let nan = files(&[("a.log", "x\nstep:1 val_loss:nan val_bpb:nan\n")]);
    assert_eq!(
        nan.says("log_has_nan"),
        ["warning: 1 log(s): holds a loss that is not a number", "a.log:2: step:1 val_loss:nan val_bpb:nan"]
    );
    let calibrated = files(&[("a.log", "gptq:using validation data for calibration\n")]);
    assert_eq!(
        calibrated.says("calibration_on_validation_data"),
        ["review: 1 log(s): calibrates on validation data", "a.log:1: gptq:using validation data for calibration"]
    );
}

#[test]
fn a_log_states_the_seed_of_its_name() {
    let rule = "log_seed_differs_from_filename";
    let folder = files(&[
        ("train_seed0.log", "x\nseed:1337\nseed:1338\n"),
        ("train_seed1.log", "seed:1\n"),
        ("train_seed2.log", "seed:9\nseed:2\n"),
        ("train_seed3.log", "x\n"),
        ("train.log", "seed:5\n"),
    ]);
    assert_eq!(
        folder.says(rule),
        ["fail: train_seed0.log: another seed than its name says", "train_seed0.log:2: seed 1337 (seed 0)"]
    );
    assert_eq!(files(&[("train_seed1.log", "seed:1\n")]).says(rule), ["pass"]);
}

#[test]
fn copies_are_named_after_the_first() {
    let rule = "duplicate_log_files";
    let folder = files(&[
        ("a.log", "x\n"),
        ("b.log", "y\n"),
        ("c.log", "x\n"),
        ("d.log", "y\n"),
        ("e.log", "x\n"),
        ("f.log", "z\n"),
        ("g.log", ""),
        ("h.log", ""),
    ]);
    assert_eq!(
        folder.says(rule),
        [
            "warning: 3 log(s) are copies of another",
            "c.log: the same bytes as a.log",
            "e.log: the same bytes as a.log",
            "d.log: the same bytes as b.log"
        ]
    );
}
