//! The byte budget: 16,000,000 bytes fit, one more does not.

use super::Submission;

/// What the challenge's script prints about sizes.
fn sizes(model: u64, total: u64) -> String {
    format!("Serialized model int6+zstd: {model} bytes\nTotal submission size int6+zstd: {total} bytes\n")
}

fn logged(json: &str, logs: &[(u64, u64)]) -> Submission {
    let logs: Vec<String> = logs.iter().map(|&(model, total)| sizes(model, total)).collect();
    Submission::logged(json, &logs.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Python of this many bytes.
fn script(bytes: usize) -> String {
    format!("#{}\n", "x".repeat(bytes - 2))
}

#[test]
fn the_worst_logged_total_counts() {
    let exactly = logged("{}", &[(15_000_000, 16_000_000), (14_000_000, 15_999_999)]);
    assert_eq!(exactly.says("over_budget"), ["pass: logged total 16,000,000 bytes, 0 bytes to spare"]);
    let over = logged("{}", &[(15_000_000, 16_000_001), (15_000_000, 15_000_100)]);
    assert_eq!(
        over.says("over_budget"),
        ["fail: logged total 16,000,001 bytes, 1 over 16,000,000", "train0.log:2: 16,000,001 bytes"]
    );
}

#[test]
fn a_claimed_total_counts_too() {
    let claimed = |total: u64| Submission::logged(&format!("{{\n\"bytes_total\": {total}}}"), &[]);
    assert_eq!(claimed(16_000_000).says("over_budget"), ["pass: claimed total 16,000,000 bytes, 0 bytes to spare"]);
    let over = ["fail: claimed total 16,000,001 bytes, 1 over 16,000,000", "submission.json:2: bytes_total: 16000001"];
    assert_eq!(claimed(16_000_001).says("over_budget"), over);
    // Below 10 kB it is megabytes or a placeholder, and no total.
    assert_eq!(claimed(9_999).says("over_budget"), ["unknown: neither a log nor submission.json gives a total"]);
    assert_eq!(claimed(10_000).says("over_budget"), ["pass: claimed total 10,000 bytes, 15,990,000 bytes to spare"]);
    let both = logged(r#"{"bytes_total": 16000001}"#, &[(15_900_000, 16_000_002)]);
    assert_eq!(
        both.says("over_budget"),
        [
            "fail: logged total 16,000,002 bytes, 2 over 16,000,000",
            "train0.log:2: 16,000,002 bytes",
            "fail: claimed total 16,000,001 bytes, 1 over 16,000,000",
            "submission.json:1: bytes_total: 16000001"
        ]
    );
}

#[test]
fn a_seeds_own_total_counts_where_nothing_else_is_over() {
    let json = r#"{"seed_results": {"1": {"bytes_total": 16000001}, "2": {"bytes_total": 16000005}}}"#;
    assert_eq!(
        Submission::logged(json, &[]).says("over_budget"),
        ["fail: a seed's claimed total is 16,000,005 bytes, 5 over 16,000,000", "submission.json: 16,000,005"]
    );
    assert_eq!(
        logged(json, &[(15_900_000, 16_000_002)]).says("over_budget"),
        ["fail: logged total 16,000,002 bytes, 2 over 16,000,000", "train0.log:2: 16,000,002 bytes"]
    );
    let fits = Submission::logged(r#"{"seed_results": {"1": {"bytes_total": 16000000}}}"#, &[]);
    assert_eq!(fits.says("over_budget"), ["unknown: neither a log nor submission.json gives a total"]);
}

#[test]
fn without_any_total_model_and_script_are_added() {
    let added = |model: u64| {
        let log = format!("Serialized model int6+zstd: {model} bytes\n");
        Submission::of(&[("train.log", &log), ("train_gpt.py", &script(1000))])
    };
    let sum = "model 15,999,000 + train_gpt.py 1,000 = 16,000,000";
    assert_eq!(added(15_999_000).says("over_budget"), [format!("pass: {sum}")]);
    assert_eq!(
        added(15_999_001).says("over_budget"),
        ["fail: model 15,999,001 + train_gpt.py 1,000 = 16,000,001", "train.log:1: 15,999,001 bytes"]
    );
    // A claimed total is better than a sum.
    let log = "Serialized model int6+zstd: 15999001 bytes\n";
    let files =
        [("train.log", log), ("train_gpt.py", &script(1000)), ("submission.json", r#"{"bytes_total": 15000000}"#)];
    assert_eq!(
        Submission::of(&files).says("over_budget"),
        ["pass: claimed total 15,000,000 bytes, 1,000,000 bytes to spare"]
    );
}

/// The example of the rule: 15,966,600 + 104,721 logged, 15,966,600 + 26,420 = 15,993,020 shipped.
#[test]
fn a_smaller_script_as_shipped_counts() {
    let shipped = |bytes: usize, log: &str| Submission::of(&[("train.log", log), ("train_gpt.py", &script(bytes))]);
    let log = sizes(15_966_600, 16_071_321);
    let packed = shipped(26_420, &log);
    assert_eq!(packed.says("over_budget"), ["pass: logged total 15,993,020 bytes, 6,980 bytes to spare"]);
    assert_eq!(
        packed.says("log_total_over_cap_but_shipped_code_smaller"),
        [
            "note: logged 16,071,321; with train_gpt.py as shipped (26,420) at most 15,993,020",
            "train.log:2: 16,071,321 bytes"
        ]
    );
    // 33,400 bytes fill the budget, 33,401 do not fit.
    let rule = "log_total_over_cap_but_shipped_code_smaller";
    assert!(shipped(33_400, &log).violates(rule) && !shipped(33_400, &log).violates("over_budget"));
    assert!(!shipped(33_401, &log).violates(rule) && shipped(33_401, &log).violates("over_budget"));
    // A script as large as what was counted changes nothing, nor does one where the log fits anyway.
    assert!(shipped(104_721, &log).violates("over_budget"));
    assert_eq!(shipped(26_420, &sizes(15_966_600, 16_000_000)).says(rule), ["not applicable"]);
    assert_eq!(shipped(26_420, &sizes(15_966_600, 16_000_001)).says(rule).len(), 2);
    assert_eq!(shipped(26_420, "nothing\n").says(rule), ["not applicable"]);
    assert_eq!(Submission::of(&[("train.log", &log)]).says(rule), ["not applicable"]);
    // A model on a later line is another one's; so is one as large as the total.
    let later = "Total submission size int6+zstd: 16071321 bytes\nSerialized model int6+zstd: 15966600 bytes\n";
    assert!(shipped(26_420, later).violates("over_budget"));
    assert!(shipped(26_420, &sizes(16_071_321, 16_071_321)).violates("over_budget"));
    // On one line they belong together.
    let line = "Serialized model int6+zstd: 15966600 bytes Total submission size int6+zstd: 16071321 bytes\n";
    assert!(!shipped(26_420, line).violates("over_budget"));
}

#[test]
fn the_last_model_before_a_total_belongs_to_it() {
    // Of 15,000,000 and 15,900,000 the second: 15,900,000 + 1,000 shipped, not 15,000,000 + 1,000.
    let log = format!("{}{}", "Serialized model int8+zlib: 15000000 bytes\n", sizes(15_900_000, 16_100_000));
    let folder = Submission::of(&[("train.log", &log), ("train_gpt.py", &script(1000))]);
    assert_eq!(folder.says("over_budget"), ["pass: logged total 15,901,000 bytes, 99,000 bytes to spare"]);
}

#[test]
fn sixteen_mebibytes_are_too_much_and_a_misreading() {
    let rule = "mib_mb_confusion";
    let of = |total: u64| logged("{}", &[(15_000_000, total)]);
    assert_eq!(of(16_000_000).says(rule), ["pass"]);
    assert_eq!(of(16_000_001).says(rule), ["note: 16,000,001 bytes: below 16 MiB, above 16 MB"]);
    assert_eq!(of(16_777_216).says(rule), ["note: 16,777,216 bytes: below 16 MiB, above 16 MB"]);
    assert_eq!(of(16_777_217).says(rule), ["pass"]);
    assert_eq!(logged("{}", &[]).says(rule), ["unknown: no total is known"]);
    let claimed = logged(r#"{"bytes_total": 16500000}"#, &[(15_000_000, 15_500_000)]);
    assert_eq!(claimed.says(rule), ["note: 16,500,000 bytes: below 16 MiB, above 16 MB"]);
    for words in ["under 16 MiB", "under 16,777,216 bytes", "under 16777216 bytes"] {
        let folder = Submission::of(&[("train.log", &sizes(15_000_000, 16_500_000)), ("README.md", words)]);
        let expected = ["note: 16,500,000 bytes: below 16 MiB, above 16 MB; the README speaks of MiB"];
        assert_eq!(folder.says(rule), expected, "{words}");
    }
    let silent = Submission::of(&[("train.log", &sizes(15_000_000, 16_500_000)), ("README.md", "under 16 MB")]);
    assert_eq!(silent.says(rule), ["note: 16,500,000 bytes: below 16 MiB, above 16 MB"]);
}

/// The four rules that compare a claimed total with the logs, of which at most one speaks.
const RELATIONS: [&str; 4] = [
    "claimed_total_differs_from_log",
    "claimed_total_from_other_log_line",
    "claimed_total_not_worst_seed",
    "total_excludes_code",
];

/// What those say that are violated; the others have to hold.
fn relation(folder: &Submission) -> Vec<String> {
    let said = RELATIONS.map(|rule| folder.says(rule));
    let violated: Vec<_> = said.iter().filter(|lines| lines[0] != "pass").collect();
    assert!(violated.len() <= 1, "{violated:?}");
    violated.into_iter().flatten().cloned().collect()
}

fn claiming(total: impl std::fmt::Display, logs: &[&str]) -> Submission {
    Submission::logged(&format!("{{\"bytes_total\": {total}}}"), logs)
}

#[test]
fn a_claimed_total_is_looked_for_in_the_logs() {
    let log = sizes(15_000_000, 15_050_000);
    // Off by one byte is rounding, by two it is another number.
    assert_eq!(relation(&claiming(15_050_000, &[&log])), [""; 0]);
    assert_eq!(relation(&claiming(15_050_001, &[&log])), [""; 0]);
    assert_eq!(relation(&claiming("15050001.0", &[&log])), [""; 0]);
    assert_eq!(
        relation(&claiming(15_050_002, &[&log])),
        [
            "warning: 15050002 claimed; nearest logged total 15,050,000, 2 away",
            "submission.json:1: bytes_total: 15050002 (15,050,000)",
            "train0.log:2: 15,050,000 bytes"
        ]
    );
    assert_eq!(
        relation(&claiming(15_000_000, &[&log])),
        [
            "fail: 15000000 is the model alone; with code 15,050,000",
            "submission.json:1: bytes_total: 15000000 (15,050,000)"
        ]
    );
    let twice = format!("{}{}", sizes(15_100_000, 15_150_000), sizes(15_000_000, 15_050_000));
    assert_eq!(
        relation(&claiming(15_150_000, &[&twice])),
        ["note: 15150000 is not what a log ends with", "submission.json:1: bytes_total: 15150000"]
    );
    // The nearer of the two.
    assert_eq!(
        relation(&claiming(15_140_000, &[&twice]))[0],
        "warning: 15140000 claimed; nearest logged total 15,150,000, 10,000 away"
    );
    for rule in RELATIONS {
        let missing = ["unknown: a claimed and a logged total are not both there"];
        assert_eq!(Submission::logged("{}", &[&log]).says(rule), missing);
        assert_eq!(claiming(15_050_000, &["nothing"]).says(rule), missing);
    }
}

#[test]
fn of_several_seeds_the_largest_total_is_to_be_claimed() {
    let run =
        |seed: u64, total: u64| format!("seed:{seed}\n{}final_int6 val_bpb:1.1{seed}\n", sizes(15_000_000, total));
    let (a, b) = (run(1, 15_959_674), run(42, 15_954_434));
    assert_eq!(relation(&claiming(15_959_674, &[&a, &b])), [""; 0]);
    assert_eq!(
        relation(&claiming(15_954_434, &[&a, &b])),
        [
            "note: 15954434 claimed, the worst seed has 15,959,674",
            "submission.json:1: bytes_total: 15954434 (15,959,674)",
            "train0.log:3: 15,959,674 bytes"
        ]
    );
    // The mean, 15,957,054, is not the worst either.
    assert_eq!(relation(&claiming(15_957_054, &[&a, &b]))[0], "note: 15957054 claimed, the worst seed has 15,959,674");
    assert_eq!(relation(&claiming(15_957_055, &[&a, &b])).len(), 3);
    assert!(relation(&claiming(15_957_056, &[&a, &b]))[0].starts_with("warning: 15957056 claimed; nearest"));
    // Two runs of one seed are no sweep: any of them may be claimed.
    assert_eq!(relation(&claiming(15_954_434, &[&a, &run(1, 15_954_434)])), [""; 0]);
    // The same file twice counts once: the mean of 3 totals would be 15,957,927.
    assert!(relation(&claiming(15_957_927, &[&a, &a, &b]))[0].starts_with("warning: 15957927 claimed; nearest"));
}

#[test]
fn a_claim_of_logged_model_plus_shipped_script_is_explained() {
    let json = |total: u64| format!("{{\"bytes_total\": {total}}}");
    let folder = |total: u64| {
        let log = sizes(15_000_000, 15_050_000);
        Submission::of(&[("submission.json", &json(total)), ("train.log", &log), ("train_gpt.py", &script(20_000))])
    };
    assert_eq!(
        relation(&folder(15_020_000)),
        [
            "note: 15020000 is in no log; it is a logged model plus train_gpt.py as shipped",
            "submission.json:1: bytes_total: 15020000"
        ]
    );
    assert_eq!(
        relation(&folder(15_020_001))[0],
        "warning: 15020001 claimed; nearest logged total 15,050,000, 29,999 away"
    );
}
