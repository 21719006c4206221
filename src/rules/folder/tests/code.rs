//! The size of the code: claimed, logged, and as shipped.

use super::Submission;

/// Python of this many bytes.
fn script(bytes: usize) -> String {
    format!("#{}\n", "x".repeat(bytes - 2))
}

fn claiming(code: i64, files: &[(&str, usize)]) -> Submission {
    let json = format!("{{\n\"bytes_code\": {code}}}");
    let texts: Vec<String> = files.iter().map(|(_, bytes)| script(*bytes)).collect();
    let files = files.iter().zip(&texts).map(|((name, _), text)| (*name, text.as_str()));
    Submission::of(&[("submission.json", json.as_str())].into_iter().chain(files).collect::<Vec<_>>())
}

#[test]
fn a_claimed_size_is_that_of_the_script_or_of_all_python() {
    let rule = "code_bytes_differ_from_file";
    assert_eq!(claiming(2000, &[("train_gpt.py", 2000)]).says(rule), ["pass: 2,000 bytes"]);
    let two = [("train_gpt.py", 2000), ("helper.py", 500), ("run.sh", 100)];
    assert_eq!(claiming(2500, &two).says(rule), ["pass: 2,500 bytes in all Python files"]);
    assert_eq!(
        claiming(2501, &two).says(rule),
        ["warning: 2501 claimed, train_gpt.py has 2,000 (501)", "submission.json:2: bytes_code: 2501 (2000)"]
    );
    // 45 % of 2,000: from there on it is a difference, below it is compression.
    assert_eq!(
        claiming(900, &two).says(rule),
        ["warning: 900 claimed, train_gpt.py has 2,000 (-1,100)", "submission.json:2: bytes_code: 900 (2000)"]
    );
    let elsewhere = ["unknown: the claimed size looks compressed; see code_bytes_counted_compressed"];
    assert_eq!(claiming(899, &two).says(rule), elsewhere);
    for nothing in [0, -5] {
        assert_eq!(claiming(nothing, &two).says(rule), ["unknown: no code size is claimed"]);
    }
    assert_eq!(claiming(900, &[]).says(rule), ["unknown: there is no train_gpt.py to compare with"]);
    assert_eq!(Submission::logged("{}", &[]).says(rule), ["unknown: no code size is claimed"]);
    assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);
}

#[test]
fn a_size_after_compression_is_for_a_person_to_see() {
    let rule = "code_bytes_counted_compressed";
    let file = [("train_gpt.py", 2000)];
    assert_eq!(
        claiming(899, &file).says(rule),
        ["review: 899 claimed, train_gpt.py has 2,000", "submission.json:2: bytes_code: 899 (2000)"]
    );
    for plain in [900, 2000, 3000, 0, -5] {
        assert_eq!(claiming(plain, &file).says(rule), ["pass"], "{plain}");
    }
    assert_eq!(claiming(899, &[]).says(rule), ["unknown: there is no claimed code size and train_gpt.py to compare"]);
    assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);
}

#[test]
fn a_log_that_counts_packed_code_may_hide_that_the_file_does_not_fit() {
    let rule = "over_budget_if_code_counted_uncompressed";
    let folder = |model: u64, packed: u64, file: usize| {
        let log = format!("Serialized model int6+zstd: {model} bytes\nCode size (compressed): {packed} bytes\n");
        Submission::of(&[("train.log", &log), ("train_gpt.py", &script(file))])
    };
    // The example: 15,910,712 + 124,826 = 16,035,538; 16,000,000 - 15,910,712 = 89,288.
    assert_eq!(
        folder(15_910_712, 28_060, 124_826).says(rule),
        [
            "review: model 15,910,712 + train_gpt.py 124,826 = 16,035,538; the logs count 28,060 bytes of code",
            "train_gpt.py: 124,826 (at most 89288)"
        ]
    );
    assert!(folder(15_910_712, 28_060, 89_289).violates(rule));
    assert_eq!(folder(15_910_712, 28_060, 89_288).says(rule), ["pass"]);
    // A kibibyte more than the packed code is the packed file with what is around it.
    assert_eq!(folder(15_910_712, 89_000, 90_024).says(rule), ["pass"]);
    assert!(folder(15_910_712, 89_000, 90_025).violates(rule));
    // Over the cap with packed code already: another rule's finding.
    assert!(folder(15_910_712, 89_288, 124_826).violates(rule));
    assert_eq!(folder(15_910_712, 89_289, 124_826).says(rule), ["pass"]);
    let log = "Serialized model int6+zstd: 15910712 bytes\n";
    let unpacked = Submission::of(&[("train.log", log), ("train_gpt.py", &script(124_826))]);
    assert_eq!(unpacked.says(rule), ["not applicable"]);
    assert_eq!(Submission::of(&[("train.log", log)]).says(rule), ["unknown: there is no train_gpt.py"]);
}

#[test]
fn logs_count_the_code_that_was_run() {
    let (differs, varies) = ("log_code_size_differs_from_file", "code_size_varies_between_logs");
    let folder = |sizes: &[u64], packed: Option<u64>| {
        let logs: Vec<String> = sizes.iter().map(|size| format!("start\nCode size: {size} bytes\n")).collect();
        let mut files: Vec<(String, String)> =
            logs.into_iter().enumerate().map(|(i, text)| (format!("train{i}.log"), text)).collect();
        files.extend(packed.map(|size| ("train9.log".into(), format!("Code size (compressed): {size} bytes\n"))));
        files.push(("train_gpt.py".into(), script(54_361)));
        Submission::of(&files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>())
    };
    assert_eq!(folder(&[54_361, 54_510], None).says(differs), ["pass: 54,361 bytes"]);
    assert_eq!(folder(&[54_510], Some(54_361)).says(differs), ["pass: 54,361 bytes"]);
    assert_eq!(
        folder(&[54_510, 54_600], Some(54_362)).says(differs),
        [
            "note: logged 54,510, 54,600; train_gpt.py has 54,361",
            "train0.log:2: 54,510 (54,361)",
            "train1.log:2: 54,600 (54,361)"
        ]
    );
    assert_eq!(folder(&[54_361, 54_361], None).says(varies), ["pass"]);
    assert_eq!(
        folder(&[54_361, 54_510], None).says(varies),
        ["warning: 54,361, 54,510 bytes", "train0.log:2: 54,361", "train1.log:2: 54,510"]
    );
    for rule in [differs, varies] {
        assert_eq!(folder(&[], Some(54_361)).says(rule), ["unknown: no log says how large the code was"]);
    }
    let log = "Code size: 54510 bytes\n";
    assert_eq!(
        Submission::of(&[("train.log", log)]).says(differs),
        ["unknown: there is no train_gpt.py to compare with"]
    );
}
