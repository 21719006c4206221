//! Times that one clock cannot have printed.

use super::Submission;

const RULE: &str = "step_times_contradict";

/// A log of lines every 500 steps at 80 ms, the first at `start`, with these lines changed.
fn log(start: u64, changed: &[(u64, u64)]) -> String {
    let line = |step: u64| {
        let ms = changed.iter().find(|(at, _)| *at == step).map_or((step - start) * 80, |(_, ms)| *ms);
        format!("step:{step}/9000 train_loss:2.1 train_time:{ms}ms step_avg:80.00ms\n")
    };
    (1..=16).map(|k| line(start + 500 * k)).collect()
}

#[test]
fn one_clock_agrees_with_itself() {
    for start in [0, 4000] {
        assert_eq!(Submission::logged("{}", &[&log(start, &[])]).says(RULE), ["pass: 16 lines agree"]);
    }
    // Two runs in one log, and a little over a step of difference.
    let twice = log(0, &[]) + &log(0, &[(8000, 640_100)]);
    assert_eq!(Submission::logged("{}", &[&twice]).says(RULE), ["pass: 32 lines agree"]);
}

#[test]
fn an_edited_end_fails_and_an_odd_line_within_is_a_warning() {
    let end = Submission::logged("{}", &[&log(0, &[(8000, 599_871)])]).says(RULE);
    assert_eq!(end[0], "fail: 1 of 16 lines contradict the average beside them");
    assert_eq!(end[1], "train0.log:16: train_time 599871 ms, step_avg 80.00 ms (about 640000 ms)");
    let within = Submission::logged("{}", &[&log(0, &[(3000, 264_978)])]).says(RULE);
    assert_eq!(within[0], "warning: 1 of 16 lines contradict the average beside them");
}

#[test]
fn another_meaning_of_the_average_is_no_contradiction() {
    // The average of the last hundred steps, which swings.
    let windowed: String = (1..=16)
        .map(|k| format!("step:{}/9000 train_time:{}ms step_avg:{}ms\n", 500 * k, 40_000 * k, 60 + (k * 37) % 41))
        .collect();
    let says = "unknown: no log prints both on enough lines";
    assert_eq!(Submission::logged("{}", &[&windowed]).says(RULE), [says]);
    assert_eq!(Submission::logged("{}", &["step:500/9 train_time:9ms step_avg:80.00ms\n"]).says(RULE), [says]);
}
