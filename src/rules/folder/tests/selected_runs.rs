//! The mean of the best of several runs.

use super::Submission;

const RULE: &str = "claim_is_mean_of_selected_runs";
const VALUES: [(u64, f64); 5] = [(1, 1.16), (2, 1.1604), (3, 1.162_600_03), (4, 1.168), (5, 1.169)];

fn log(seed: u64, bpb: f64, code: u64) -> String {
    format!("seed:{seed}\nCode size: {code} bytes\nfinal_int6_exact val_bpb:{bpb:.8}\n")
}

/// Five runs; `listed` are the seeds submission.json names, `claim` the mean of the first three unless said otherwise.
fn files(claim: f64, listed: &str, readme: &str) -> Vec<(String, String)> {
    let mut files = vec![
        ("submission.json".to_string(), format!("{{\"val_bpb\": {claim:.8},\n\"seeds\": [{listed}]}}")),
        ("README.md".to_string(), readme.to_string()),
    ];
    files.extend(VALUES.map(|(seed, bpb)| (format!("train_seed{seed}.log"), log(seed, bpb, 50_000))));
    files
}

fn says(files: &[(String, String)]) -> Vec<String> {
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Submission::of(&files).says(RULE)
}

#[test]
fn runs_that_are_listed_and_not_counted() {
    let said = says(&files(1.161_000_01, "1, 2, 3, 4, 5", ""));
    assert_eq!(
        said,
        [
            "fail: 1.16100001 is the mean of 3 of 5 runs, without seeds 4, 5; the mean of all is 1.164000",
            "submission.json:1: val_bpb: 1.16100001 (1.164000)",
            "train_seed4.log:3: final_int6_exact: 1.16800000 (seed 4 counted)",
            "train_seed5.log:3: final_int6_exact: 1.16900000 (seed 5 counted)",
        ]
    );
    // A table of the README lists them as well, and tells without any log.
    let table = "| seed | val_bpb |\n|---|---|\n| 1 | 1.1600 |\n| 2 | 1.1604 |\n| 3 | 1.1626 |\n| 4 | 1.1680 |\n";
    let papers = &files(1.161_000_01, "1", &table.replace("1.1626 ", "1.16260003 "))[..2];
    assert!(
        says(papers)[0].starts_with("fail: 1.16100001 is the mean of 3 of 4 runs, without seed 4"),
        "{:?}",
        says(papers)
    );
}

#[test]
fn runs_that_merely_lie_there_and_selections_that_are_declared() {
    assert_eq!(says(&files(1.161_000_01, "1, 2, 3", ""))[0][..7], *"warning");
    for words in
        ["We report the best 3 of 5 seeds.", "Seeds 4 and 5 are outliers and excluded.", "the three lowest runs"]
    {
        let said = says(&files(1.161_000_01, "1, 2, 3, 4, 5", words));
        assert!(said[0].starts_with("note: ") && said[0].ends_with("; that is declared"), "{words}: {said:?}");
    }
    // Words that declare nothing.
    for words in ["Our best seed is 1.", "Mean of the seeds below."] {
        assert_eq!(says(&files(1.161_000_01, "1, 2, 3, 4, 5", words))[0][..4], *"fail", "{words}");
    }
}

#[test]
fn the_logs_of_the_others_may_be_missing_renamed_or_called_old() {
    let table: String = VALUES.iter().map(|(seed, bpb)| format!("| {seed} | {bpb:.8} |\n")).collect();
    let table = format!("| seed | val_bpb |\n|---|---|\n{table}");
    let all = || files(1.161_000_01, "1, 2, 3, 4, 5", &table);
    assert_eq!(says(&all()[..5])[0][..4], *"fail");
    for prefix in ["old_", "extra_"] {
        let mut files = all();
        files[5..].iter_mut().for_each(|file| file.0.insert_str(0, prefix));
        assert_eq!(says(&files)[0][..4], *"fail", "{prefix}");
    }
    // Not the best two, but better than all.
    let two = (VALUES[0].1 + VALUES[2].1) / 2.0;
    assert!(says(&files(two, "1, 2, 3, 4, 5", ""))[0].contains("is the mean of 2 of 5 runs, without seeds 2, 4, 5"));
}

#[test]
fn honest_folders_with_more_logs_than_seeds() {
    let of = |change: fn(&mut Vec<(String, String)>)| {
        let mut files = files(1.161_000_01, "1, 2, 3", "");
        change(&mut files);
        says(&files)
    };
    // The mean of all.
    assert_eq!(says(&files(1.164_000_006, "1, 2, 3, 4, 5", "")), ["pass"]);
    // Another script, another machine, other names, names that say what the logs are, runs that died.
    assert_eq!(of(|files| files[5..].iter_mut().for_each(|file| file.1 = file.1.replace("50000", "49000"))), ["pass"]);
    assert_eq!(of(|files| files[5..].iter_mut().for_each(|file| file.1.insert_str(0, "world_size:1\n"))), ["pass"]);
    assert_eq!(of(|files| files[5..].iter_mut().for_each(|file| file.0.insert_str(0, "wide_"))), ["pass"]);
    assert_eq!(of(|files| files[5..].iter_mut().for_each(|file| file.0.insert_str(0, "old_"))), ["pass"]);
    assert_eq!(
        of(|files| files[5..].iter_mut().for_each(|file| file.1 = "seed:4\nstep:1 val_bpb:1.9\n".into())),
        ["pass"]
    );
    // Worse than the mean of all.
    assert_eq!(says(&files(1.167, "1, 2, 3, 4, 5", "")), ["pass"]);
    assert_eq!(
        says(&files(1.161_000_01, "1", "")[..4]),
        ["unknown: fewer than three runs of one experiment are logged or listed"]
    );
}
