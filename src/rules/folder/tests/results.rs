//! The claimed score against the logs.

use super::Submission;

const RULES: [&str; 4] = [
    "claimed_bpb_differs_from_log",
    "claim_matches_only_prequant_or_step_value",
    "claim_is_not_last_logged_metric",
    "claim_is_best_seed_not_mean",
];

/// What rules say that are violated; the others have to hold or to be undecided.
fn said(folder: &Submission) -> Vec<String> {
    RULES.iter().filter(|rule| folder.violates(rule)).flat_map(|rule| folder.says(rule)).collect()
}

fn claiming(bpb: &str, logs: &[&str]) -> Submission {
    Submission::logged(&format!("{{\n\"val_bpb\": \"{bpb}\"}}"), logs)
}

/// A run of this seed that ends with these values, one a line.
fn run(seed: u64, finals: &[(&str, &str)]) -> String {
    let lines = finals.iter().map(|(label, bpb)| format!("{label} val_bpb:{bpb}\n"));
    std::iter::once(format!("seed:{seed}\n")).chain(lines).collect()
}

#[test]
fn a_claim_that_no_log_has() {
    let log = "step:1 val_bpb:1.5\nfinal_int6 val_bpb:1.16445102\n";
    assert_eq!(said(&claiming("1.16445102", &[log])), [""; 0]);
    // Printed with fewer digits, rounded or cut off.
    assert_eq!(said(&claiming("1.1645", &[log])), [""; 0]);
    assert_eq!(said(&claiming("1.1644", &[log])), [""; 0]);
    assert_eq!(
        said(&claiming("1.13361", &[log])),
        [
            "fail: 1.13361 claimed; the nearest logged value is 1.16445102, 0.030841 away",
            "submission.json:2: val_bpb: 1.13361",
            "train0.log:2: final_int6 val_bpb: 1.16445102"
        ]
        .map(|line| line.replace("final_int6 val_bpb", "final_int6"))
    );
    // Who claims less than was reached gains nothing.
    assert_eq!(
        claiming("1.19361", &[log]).says("claimed_bpb_differs_from_log")[0],
        "warning: 1.19361 claimed; the nearest logged value is 1.16445102, 0.029159 away; the runs end better than that"
    );
    // Up to 5e-4 is a mean made by hand.
    assert_eq!(said(&claiming("1.16495101", &[log])), [""; 0]);
    assert_eq!(said(&claiming("1.16395103", &[log])), [""; 0]);
    assert_eq!(said(&claiming("1.16495103", &[log])).len(), 3);
    assert_eq!(said(&claiming("1.16395101", &[log])).len(), 3);
}

#[test]
fn the_nearest_value_is_shown_with_what_it_is() {
    let log = "step:1 val_bpb:1.5000\nrunning_bpb:1.4000\npre-quant val_bpb:1.3000\nfinal_int6 val_bpb:1.2000\nx val_bpb:nan\n";
    let line = |bpb: &str| said(&claiming(bpb, &[log])).pop().unwrap();
    assert_eq!(line("1.54"), "train0.log:1: validation during training: 1.5000");
    assert_eq!(line("1.42"), "train0.log:2: running value: 1.4000");
    assert_eq!(line("1.32"), "train0.log:3: before quantization: 1.3000");
    assert_eq!(line("1.22"), "train0.log:4: final_int6: 1.2000");
}

#[test]
fn nothing_can_be_said_without_both() {
    let missing = ["unknown: a claim and a logged value are not both there"];
    let log = "final_int6 val_bpb:1.2\n";
    for rule in RULES {
        assert_eq!(claiming("0.0", &[log]).says(rule), missing, "{rule}");
        assert_eq!(claiming("-1.2", &[log]).says(rule), missing, "{rule}");
        assert_eq!(Submission::of(&[]).says(rule), missing, "{rule}");
    }
    for rule in &RULES[..3] {
        assert_eq!(claiming("1.2", &[]).says(rule), missing, "{rule}");
        assert_eq!(claiming("1.2", &["final_int6 val_bpb:nan\n"]).says(rule), missing, "{rule}");
    }
    for rule in ["mean_wrong", "claimed_val_loss_differs_from_log", "seed_bpb_differs_from_log"] {
        let expected = if rule == "mean_wrong" { missing[0] } else { "not applicable" };
        assert_eq!(Submission::of(&[]).says(rule), [expected], "{rule}");
    }
}

#[test]
fn a_claim_from_before_the_end_of_a_run() {
    let log = "step:6038 val_bpb:1.15677\npre-quant val_bpb:1.1600\nfinal_int6 val_bpb:1.17825\n";
    assert_eq!(
        said(&claiming("1.15677", &[log])),
        [
            "fail: 1.15677 is not a final value; those have a mean of 1.178250",
            "submission.json:2: val_bpb: 1.15677",
            "train0.log:1: validation during training: 1.15677"
        ]
    );
    assert_eq!(said(&claiming("1.1600", &[log])).len(), 3);
    let rule = "claim_matches_only_prequant_or_step_value";
    assert_eq!(claiming("1.5", &["step:1 val_bpb:1.5\n"]).says(rule), ["unknown: no log has a final value"]);
    assert_eq!(claiming("1.5", &["step:1 val_bpb:1.5\n"]).says("claimed_bpb_differs_from_log"), ["pass"]);
}

#[test]
fn a_claim_of_a_final_value_that_is_not_the_last() {
    let log = "final_sliding val_bpb:1.1200\nfinal_ttt val_bpb:1.1100\n";
    assert_eq!(
        said(&claiming("1.1200", &[log])),
        [
            "note: 1.1200 is a final value; the log ends with 1.1100",
            "submission.json:2: val_bpb: 1.1200",
            "train0.log:1: final_sliding: 1.1200"
        ]
    );
    assert_eq!(said(&claiming("1.1100", &[log])), [""; 0]);
    // Not worth a word up to 5e-4.
    let near =
        |last: &str| said(&claiming("1.12000001", &[&format!("final_a val_bpb:1.12000001\nfinal_b val_bpb:{last}\n")]));
    assert_eq!(near("1.12050000"), [""; 0]);
    assert_eq!(near("1.12050002").len(), 3);
    assert_eq!(near("1.11950003"), [""; 0]);
    assert_eq!(near("1.11949999").len(), 3);
}

#[test]
fn a_mean_of_the_runs_is_a_headline() {
    let runs = [run(1, &[("final", "1.2120")]), run(2, &[("final", "1.2160")]), run(3, &[("final", "1.2175")])];
    let logs: Vec<&str> = runs.iter().map(String::as_str).collect();
    // All three, and any two: (1.2120 + 1.2160) / 2 and so on.
    for bpb in ["1.2151667", "1.21400", "1.21475", "1.21675"] {
        assert_eq!(said(&claiming(bpb, &logs)), [""; 0], "{bpb}");
    }
    // One unit of the fourth place off is rounding, more is another number: 1.2151667 + 0.0002.
    assert_eq!(said(&claiming("1.2152660", &logs)), [""; 0]);
    let rule = "claimed_bpb_differs_from_log";
    assert_eq!(
        claiming("1.2100", &logs).says(rule)[0],
        "fail: 1.2100 claimed; the nearest logged value is 1.2120, 0.002000 away"
    );
    // Of two runs no mean of one is made, and one run has no others.
    assert_eq!(claiming("1.2140", &logs[..2]).says(rule), ["pass"]);
    assert!(claiming("1.2140", &logs[..1]).violates(rule));
    // The last run of a seed counts, and so does the mean over all runs.
    let again = run(1, &[("final", "1.2220")]);
    let twice = [logs[0], logs[1], &again];
    // (1.2220 + 1.2160) / 2 by seed, (1.2120 + 1.2160 + 1.2220) / 3 over runs.
    assert_eq!(claiming("1.219000", &twice).says(rule), ["pass"]);
    assert_eq!(claiming("1.216666", &twice).says(rule), ["pass"]);
}

#[test]
fn of_more_than_twelve_runs_no_subsets_are_made() {
    let bpb = |i: u64| format!("{:.4}", 1.1 + 0.01 * i as f64);
    let logs = |n: u64| (0..n).map(|i| run(i, &[("final", &bpb(i))])).collect::<Vec<_>>();
    // Without the first of n runs from 1.10 in steps of 0.01 the mean is 1.10 + 0.01 n / 2: 1.16 or 1.165.
    for (n, claim, found) in [(12, "1.160001", true), (13, "1.165001", false)] {
        let logs = logs(n);
        let folder = claiming(claim, &logs.iter().map(String::as_str).collect::<Vec<_>>());
        // 1.16 and 1.17 are logged values, too: 1.165 is 5 thousandths from both.
        assert_eq!(folder.says("claimed_bpb_differs_from_log") == ["pass"], found, "{n}");
    }
}

#[test]
fn a_mean_of_an_earlier_evaluation_is_a_headline() {
    let runs = [
        run(1, &[("final_sliding", "1.2000"), ("final_ttt", "1.1000")]),
        run(2, &[("final_sliding", "1.2200"), ("final_ttt", "1.1200")]),
    ];
    let logs: Vec<&str> = runs.iter().map(String::as_str).collect();
    assert_eq!(said(&claiming("1.210000", &logs)), [""; 0]);
    assert_eq!(said(&claiming("1.110000", &logs)), [""; 0]);
    let rule = "claimed_bpb_differs_from_log";
    assert!(claiming("1.211000", &logs).violates(rule));
    // Of several labels the one whose mean is nearest, first or last.
    let three = [
        run(1, &[("final_a", "1.4000"), ("final_b", "1.3000"), ("final_c", "1.2000"), ("final", "1.1000")]),
        run(2, &[("final_a", "1.4200"), ("final_b", "1.3200"), ("final_c", "1.2200"), ("final", "1.1200")]),
    ];
    for bpb in ["1.410000", "1.310000", "1.210000"] {
        assert_eq!(said(&claiming(bpb, &[&three[0], &three[1]])), [""; 0], "{bpb}");
    }
    // A label that one log alone has makes no mean.
    let one =
        [run(1, &[("final_a", "1.2000"), ("final", "1.1000")]), run(2, &[("final_b", "1.2200"), ("final", "1.1200")])];
    assert!(claiming("1.210000", &[&one[0], &one[1]]).violates(rule));
    // The last value under a label is a log's.
    let twice =
        [run(1, &[("final_a", "1.3000"), ("final_a", "1.2000"), ("final", "1.1000")]), runs[1].replace("sliding", "a")];
    assert_eq!(claiming("1.210000", &[&twice[0], &twice[1]]).says(rule), ["pass"]);
    assert!(claiming("1.260000", &[&twice[0], &twice[1]]).violates(rule));
}

#[test]
fn the_best_seed_is_not_the_mean() {
    let rule = "claim_is_best_seed_not_mean";
    let runs = [run(7, &[("final", "1.2160")]), run(8, &[("final", "1.2120")]), run(9, &[("final", "1.2174")])];
    let logs: Vec<&str> = runs.iter().map(String::as_str).collect();
    // (1.2120 + 1.2160 + 1.2174) / 3 = 1.215133.
    assert_eq!(
        claiming("1.2120", &logs).says(rule),
        [
            "fail: 1.2120 is the best of 3 seeds; their mean is 1.215133",
            "submission.json:2: val_bpb: 1.2120 (1.215133)",
            "train1.log:2: final: 1.2120"
        ]
    );
    for bpb in ["1.21513", "1.2160", "1.2174", "1.21400"] {
        assert_eq!(claiming(bpb, &logs).says(rule), ["pass"], "{bpb}");
    }
    // With two runs of a seed nothing is concluded from two results alike.
    let same = run(8, &[("final", "1.2120"), ("final", "1.2120")]);
    let undecided = ["unknown: fewer than two seeds are logged or listed"];
    assert_eq!(claiming("1.21200", &[logs[0], logs[1], &same]).says(rule), ["pass"]);
    // Said openly, and outside the record track, it is a warning.
    let open = |readme: &str| {
        let json = "{\n\"val_bpb\": \"1.2120\"}";
        Submission::of(&[("submission.json", json), ("README.md", readme), ("s7.log", logs[0]), ("s8.log", logs[1])])
    };
    assert!(open("Submitted: seed 8 (best)").says(rule)[0].starts_with("warning: "));
    assert!(open("Three seeds").says(rule)[0].starts_with("fail: "));
    assert!(open("Three seeds").non_record().says(rule)[0].starts_with("warning: "));
    // Runs that end with another evaluation are not compared with these: (1.2160 + 1.2120) / 2.
    let other = run(10, &[("other", "1.2174")]);
    assert_eq!(
        claiming("1.21200", &[logs[0], logs[1], &other]).says(rule)[0],
        "fail: 1.21200 is the best of 2 seeds; their mean is 1.214000"
    );
    assert_eq!(claiming("1.2160", &logs[..1]).says(rule), undecided);
    let again = run(8, &[("final", "1.2190")]);
    assert_eq!(claiming("1.2120", &[logs[1], &again]).says(rule), undecided);
    // The mean of the seeds listed is a mean: 1.2120 of 1.2100 and 1.2140.
    let again = run(8, &[("final", "1.2130")]);
    let listed = |text: &str| {
        let json = format!("{{\n\"val_bpb\": \"1.21200\",\n\"seed_results\": {text}}}");
        Submission::logged(&json, &[logs[0], logs[1], &again])
    };
    assert_eq!(listed("{\"1\": \"1.2100\", \"2\": \"1.2140\"}").says(rule), ["pass"]);
    assert!(listed("{\"1\": \"1.2100\", \"2\": \"1.2150\"}").violates(rule));
    assert!(listed("{\"1\": \"1.2120\"}").violates(rule));
}

#[test]
fn the_best_of_the_seeds_that_are_listed() {
    let rule = "claim_is_best_seed_not_mean";
    let listed = |bpb: &str, seeds: &str, logs: &[&str]| {
        Submission::logged(&format!("{{\n\"val_bpb\": \"{bpb}\",\n\"seed_results\": {seeds}}}"), logs).says(rule)
    };
    let seeds = "{\"1\": \"1.1480\", \"2\": \"1.1460\", \"3\": \"1.1470\"}";
    assert_eq!(
        listed("1.1460", seeds, &[]),
        [
            "fail: 1.1460 is the best of 3 seeds listed; their mean is 1.147000",
            "submission.json:2: val_bpb: 1.1460 (1.147000)"
        ]
    );
    let undecided = ["unknown: fewer than two seeds are logged or listed"];
    assert_eq!(listed("1.14700", seeds, &[]), undecided);
    assert_eq!(listed("1.14800", seeds, &[]), undecided);
    assert_eq!(listed("1.14600", "{\"1\": \"1.1460\"}", &[]), undecided);
    // Best and mean alike in four decimals.
    assert_eq!(listed("1.1460", "{\"1\": \"1.1460\", \"2\": \"1.14601\"}", &[]), undecided);
    // Where logs have other seeds, what is listed decides, unless the claim is a value of theirs.
    let logs = [run(1, &[("final", "1.2480")]), run(2, &[("final", "1.2460")])];
    let logs: Vec<&str> = logs.iter().map(String::as_str).collect();
    assert_eq!(listed("1.1460", seeds, &logs)[0], "fail: 1.1460 is the best of 3 seeds listed; their mean is 1.147000");
    assert_eq!(listed("1.14700", seeds, &logs), ["pass"]);
}

#[test]
fn a_better_run_may_not_stand_for_the_other_in_silence() {
    let logs = [run(1, &[("final", "1.20412345")]), run(2, &[("final", "1.20012345")])];
    let says = |seed: u64, readme: &str| {
        let json = format!("{{\n\"val_bpb\": 1.20012345,\n\"seed\": {seed}}}");
        let [first, second] = &logs;
        let papers = [("submission.json", json.as_str()), ("README.md", readme)];
        let logs = [("train0.log", first.as_str()), ("train1.log", second.as_str())];
        Submission::of(&[papers, logs].concat()).says("claim_is_best_seed_not_mean")
    };
    assert_eq!(
        says(2, "Seed 2.")[0],
        "warning: 1.20012345 is seed 2 alone, the best of 2 that are logged; their mean is 1.202123"
    );
    for (seed, readme) in [(2, "Seed 1 came to 1.2041."), (1, "Seed 1.")] {
        assert!(!says(seed, readme)[0].starts_with("warning: 1.20012345 is seed"), "{seed} {readme}");
    }
}

#[test]
fn the_best_seed_of_an_earlier_evaluation() {
    let rule = "claim_is_best_seed_not_mean";
    let runs = |extra: &[(&str, &str)]| {
        let finals = |sliding, last| [&[("final_sliding", sliding)], extra, &[("final_ttt", last)]].concat();
        [run(1, &finals("1.20400000", "1.10")), run(2, &finals("1.20000000", "1.12"))]
    };
    let says =
        |bpb: &str, logs: &[String]| claiming(bpb, &logs.iter().map(String::as_str).collect::<Vec<_>>()).says(rule);
    assert_eq!(
        says("1.20000000", &runs(&[])),
        [
            "fail: 1.20000000 is the best of 2 seeds; their mean is 1.202000",
            "submission.json:2: val_bpb: 1.20000000 (1.202000)",
            "train1.log:2: final_sliding: 1.20000000"
        ]
        .map(String::from)
    );
    assert_eq!(says("1.20400001", &runs(&[])), ["pass"]);
    assert_eq!(says("1.20200001", &runs(&[])), ["pass"]);
    // Two labels with the claim among their values, or a seed twice, leave it open.
    assert_eq!(says("1.20000001", &runs(&[("final_other", "1.20000001")])), ["pass"]);
    let [a, b] = runs(&[]);
    assert_eq!(says("1.20000001", &[a.clone(), b.clone(), b.replace("1.12", "1.13")]), ["pass"]);
    // One seed under the label is no sweep.
    let alone = [a.replace("final_sliding", "final_x"), b];
    assert_eq!(says("1.20000001", &alone), ["pass"]);
}

#[test]
fn the_claim_is_the_mean_of_the_seeds_listed() {
    let rule = "mean_wrong";
    let says = |bpb: &str, seeds: &str| {
        Submission::logged(&format!("{{\n\"val_bpb\": \"{bpb}\",\n\"seed_results\": {seeds}}}"), &[]).says(rule)
    };
    // (1.1467032 + 1.1460000 + 1.1470000) / 3 = 1.1465677.
    let seeds = "{\"1\": \"1.1470000\", \"2\": \"1.1460000\", \"3\": \"1.1467032\"}";
    assert_eq!(
        says("1.1467032", seeds),
        [
            "warning: 1.1467032 claimed, the mean of 3 seeds is 1.146568",
            "submission.json:2: val_bpb: 1.1467032 (1.146568)"
        ]
    );
    // Better than the mean by more than a slip.
    assert_eq!(says("1.1400000", seeds)[0], "fail: 1.1400000 claimed, the mean of 3 seeds is 1.146568");
    // 5e-5 are a slip; the best seed is another rule's finding.
    for (bpb, holds) in [
        ("1.1465677", true),
        ("1.1466176", true),
        ("1.1466179", false),
        ("1.1465178", true),
        ("1.1465175", false),
        ("1.1460000", true),
    ] {
        assert_eq!(says(bpb, seeds) == ["pass"], holds, "{bpb}");
    }
    // Fewer digits, more rounding: twice 5e-3 of a claim with two decimals, and twice that of the seeds; around 1.24.
    let coarse = "{\"1\": \"1.30\", \"2\": \"1.20\", \"3\": \"1.22\"}";
    let fine = "{\"1\": \"1.30000\", \"2\": \"1.2\", \"3\": \"1.22\"}";
    for (bpb, seeds, holds) in [
        ("1.25", coarse, true),
        ("1.27", coarse, false),
        ("1.2500", coarse, true),
        ("1.2502", coarse, false),
        ("1.2300", coarse, true),
        ("1.2298", coarse, false),
        ("1.25", fine, true),
        ("1.26", fine, false),
        ("1.24004", fine, true),
        ("1.24006", fine, false),
    ] {
        assert_eq!(says(bpb, seeds) == ["pass"], holds, "{bpb} {seeds}");
    }
    let few = ["unknown: submission.json lists fewer than two seeds"];
    assert_eq!(says("1.1", "{\"1\": \"1.2\"}"), few);
    // A seed of 0 is a placeholder and none.
    assert_eq!(says("1.1", "{\"1\": \"1.2\", \"2\": \"0.0\"}"), few);
    assert_eq!(says("1.1", "{\"1\": \"1.2\", \"2\": \"-1.0\"}"), few);
    assert_eq!(says("1.2", "{\"1\": \"1.2\", \"2\": \"1.2\"}"), ["pass"]);
}

#[test]
fn every_listed_seed_has_its_value_in_its_log() {
    let rule = "seed_bpb_differs_from_log";
    let says = |seeds: &str, logs: &[(&str, &str)]| {
        let json = format!("{{\"seed_results\": {seeds}}}");
        let files: Vec<_> = [("submission.json", json.as_str())].into_iter().chain(logs.iter().copied()).collect();
        Submission::of(&files).says(rule)
    };
    let log = "seed:1337\nstep:1 val_bpb:1.1141\npre-quant val_bpb:1.1000\nfinal val_bpb:1.114792\n";
    assert_eq!(says("{\"1337\": \"1.1148\"}", &[("a.log", log)]), ["pass"]);
    assert_eq!(says("{\"1337\": \"1.1000\"}", &[("a.log", log)]), ["pass"]);
    assert_eq!(
        says("{\"1337\": \"1.1168\", \"42\": \"1.3\"}", &[("a.log", log)]),
        ["warning: 1 of 1 seeds differ from their logs", "a.log:4: final: 1.114792 (seed 1337: 1.1168)"]
    );
    assert_eq!(
        says("{\"1337\": \"1.1020\"}", &[("a.log", log)])[1],
        "a.log:3: before quantization: 1.1000 (seed 1337: 1.1020)"
    );
    // A step's value is found, but not shown as the nearest.
    assert_eq!(says("{\"1337\": \"1.1141\"}", &[("a.log", log)]), ["pass"]);
    // By what the log states, or by its name.
    assert_eq!(says("{\"42\": \"1.114792\"}", &[("seed42.log", log)]), ["pass"]);
    assert_eq!(
        says("{\"42\": \"1.05\", \"1337\": \"1.05\"}", &[("seed42.log", log)])[0],
        "fail: 2 of 2 seeds differ from their logs"
    );
    let none = ["unknown: no listed seed has a log"];
    assert_eq!(says("{\"42\": \"1.3\"}", &[("a.log", log)]), none);
    assert_eq!(says("{\"1337\": \"0.0\"}", &[("a.log", log)]), none);
    assert_eq!(says("{\"1337\": \"1.3\"}", &[("a.log", "seed:1337\nstep:1 val_bpb:1.2\n")]), none);
    assert_eq!(says("{\"1337\": \"1.3\"}", &[("a.log", "seed:1337\nfinal val_bpb:nan\n")]), none);
}
