//! The documents a submission consists of.

use super::{PLACE, Submission};

#[test]
fn what_has_to_be_there() {
    let empty = Submission::of(&[]);
    assert_eq!(empty.says("no_submission_json"), ["fail: submission.json is missing", " (submission.json)"]);
    assert_eq!(empty.says("no_readme"), ["fail: README.md is missing", " (README.md)"]);
    assert_eq!(empty.says("no_train_log"), ["fail: no log of any run", " (train.log)"]);
    assert_eq!(empty.says("no_train_gpt"), ["fail: train_gpt.py is missing, and there is no other Python"]);
    let full = Submission::of(&[
        ("submission.json", "not JSON"),
        ("README.md", ""),
        ("train.log", "x\n"),
        ("train_gpt.py", "x = 1\n"),
    ]);
    for rule in ["no_submission_json", "no_readme", "no_train_log", "no_train_gpt"] {
        assert_eq!(full.says(rule), ["pass"], "{rule}");
    }
    let other = Submission::of(&[("a.py", "x = 1\n"), ("b.py", "x = 1\n"), ("run.sh", "true\n")]);
    assert_eq!(
        other.says("no_train_gpt"),
        ["fail: train_gpt.py is missing; there are 2 other Python files", "a.py", "b.py"]
    );
}

#[test]
fn a_log_tells_of_a_run_by_name_or_by_content() {
    let says = |name: &str, text: &str| Submission::of(&[(name, text)]).says("no_train_log");
    for name in ["train.log", "Seed1.log", "run.log", "eval.log", "stdout.log"] {
        assert_eq!(says(name, "x\n"), ["pass"], "{name}");
    }
    assert_eq!(says("a.log", "final_int6 val_bpb:1.1\n"), ["pass"]);
    assert_eq!(says("a.log", "step:1 train_loss:2\n"), ["pass"]);
    assert!(says("build.log", "x\n")[0].starts_with("fail: "));
    // The name is the file's, not its folder's.
    assert!(says("training/build.log", "x\n")[0].starts_with("fail: "));
    let three = [("train.log", "x\n"), ("eval.log", "y\n"), ("build.log", "z\n")];
    assert_eq!(Submission::of(&three).says("no_train_log"), ["pass: 2 logs"]);
}

#[test]
fn four_hundred_bytes_of_readme() {
    let rule = "readme_too_short";
    let of = |bytes: usize| Submission::of(&[("README.md", &"x".repeat(bytes))]).says(rule);
    assert_eq!(of(400), ["pass"]);
    assert_eq!(of(399), ["warning: README.md has 399 bytes (at least 400 expected)", "README.md"]);
    assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);
}

#[test]
fn what_a_readme_calls_invalid_or_a_placeholder() {
    let of = |text: &str, rule: &str| Submission::of(&[("README.md", text)]).says(rule);
    let rule = "readme_mentions_invalid";
    for word in ["Withdrawn", "retracted", "INVALID"] {
        assert_eq!(
            of(&format!("fine\n**{word}**: see below\n"), rule),
            [
                "note: README.md speaks of invalid or withdrawn results".to_string(),
                format!("README.md:2: **{word}**: see below")
            ]
        );
    }
    assert_eq!(of("invalidates nothing\n", rule), ["pass"]);
    assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);

    let rule = "readme_calls_numbers_placeholders";
    let names = ["submission.json", "train.log", "logs", "numbers", "results", "metrics", "val_bpb", "scores"];
    for name in names {
        let line = format!("{name}: a Placeholder");
        assert_eq!(
            of(&format!("fine\n{line}\n"), rule),
            ["warning: README.md calls its numbers placeholders".to_string(), format!("README.md:2: {line}")]
        );
    }
    assert_eq!(of("the banner is a placeholder\n", rule), ["pass"]);
    let logged = [("README.md", "scores are placeholders"), ("train.log", "final_int6 val_bpb:1.1\n")];
    assert_eq!(
        Submission::of(&logged).says(rule)[0],
        "warning: README.md calls its numbers placeholders, but a log holds final numbers"
    );
    let running = [("README.md", "scores are placeholders"), ("train.log", "step:1 val_bpb:1.1\n")];
    assert_eq!(Submission::of(&running).says(rule)[0], "warning: README.md calls its numbers placeholders");
    assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);
}

#[test]
fn the_readme_mentions_the_score_rounded_or_cut_off() {
    let rule = "claimed_bpb_not_in_readme";
    let says = |bpb: &str, readme: &str| {
        let json = format!("{{\n\"val_bpb\": {bpb}}}");
        Submission::of(&[("submission.json", &json), ("README.md", readme)]).says(rule)
    };
    for readme in ["1.16287", "about 1.1629.", "1.1628 in all"] {
        assert_eq!(says("1.16287", readme), ["pass"], "{readme}");
    }
    for readme in ["1.163", "1.1627", "1.1630", ""] {
        assert_eq!(
            says("1.16287", readme),
            ["note: README.md does not mention 1.16287", "submission.json:2: val_bpb: 1.16287"],
            "{readme}"
        );
    }
    // At least two decimals, and no more than the claim has.
    assert_eq!(says("1.5", "1.50"), ["pass"]);
    assert_eq!(says("1.16", "1.16"), ["pass"]);
    assert_eq!(says("0.0", "x"), ["not applicable"]);
    assert_eq!(says("-1.5", "x"), ["not applicable"]);
    let without = Submission::of(&[("submission.json", "{}"), ("README.md", "x")]);
    assert_eq!(without.says(rule), ["unknown: no bits per byte are claimed"]);
    assert_eq!(Submission::of(&[("README.md", "x")]).says(rule), ["not applicable"]);
    assert_eq!(Submission::of(&[("submission.json", "{\"val_bpb\": 1}")]).says(rule), ["not applicable"]);
}

#[test]
fn a_folder_stands_directly_below_its_track() {
    let rule = "folder_outside_tracks";
    let at = |place: &str| Submission::at(place, &[]).says(rule);
    assert_eq!(at(PLACE), ["pass"]);
    assert_eq!(at("records/track_non_record_16mb/a"), ["pass"]);
    let expected = "records/track_10min_16mb/NAME or records/track_non_record_16mb/NAME";
    for place in ["records/lzma6", "records/track_10min_16mb/a/b", "records/track_other/a"] {
        assert_eq!(at(place), [format!("fail: it stands at {place}"), format!(": {place} ({expected})")]);
    }
    assert_eq!(at("somewhere/else"), ["unknown: the folder does not stand in a repository with a `records` folder"]);
}

#[test]
fn the_track_named_is_the_one_it_stands_in() {
    let rule = "track_mismatch";
    let says = |place: &str, track: &str| {
        let json = format!("{{\n\"track\": \"{track}\"}}");
        Submission::at(&format!("records/{place}/a"), &[("submission.json", &json)]).says(rule)
    };
    assert_eq!(says("track_10min_16mb", "10min_16mb"), ["pass"]);
    assert_eq!(
        says("track_non_record_16mb", "10min_16mb"),
        [
            "warning: submission.json says track_10min_16mb, the folder stands in track_non_record_16mb",
            "submission.json:2: 10min_16mb (track_non_record_16mb)"
        ]
    );
    assert_eq!(
        says("track_10min_16mb", "non-record-16mb"),
        [
            "warning: submission.json says track_non_record_16mb, the folder stands in track_10min_16mb",
            "submission.json:2: non-record-16mb (track_10min_16mb)"
        ]
    );
    let unknown = ["unknown: the folder's place or submission.json names no track"];
    assert_eq!(says("track_10min_16mb", "mine"), unknown);
    assert_eq!(says("track_other", "10min_16mb"), unknown);
    assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);
}

#[test]
fn other_files_are_listed() {
    let folder = Submission::of(&[
        ("train_gpt.py", "x = 1\n"),
        ("train_gpt_source.py", "x = 1\n"),
        ("helper.py", "x = 12\n"),
        ("sub/train_gpt.py", "x = 123\n"),
        ("run.sh", "true\n"),
        ("my_bpe.model", "12345"),
        ("final_model.ptz", "1234"),
        ("small.pt", "12"),
    ]);
    assert_eq!(
        folder.says("extra_python_files"),
        ["note: 2 more Python files, 15 bytes", "helper.py: 7 bytes", "sub/train_gpt.py: 8 bytes"]
    );
    assert_eq!(folder.says("carries_tokenizer"), ["note: 1 tokenizer file(s)", "my_bpe.model: 5 bytes"]);
    assert_eq!(
        folder.says("artifact_present"),
        ["note: 2 model file(s)", "final_model.ptz: 4 bytes", "small.pt: 2 bytes"]
    );
    let empty = Submission::of(&[("train_gpt.py", "x = 1\n")]);
    assert_eq!(empty.says("extra_python_files"), ["pass"]);
    assert_eq!(empty.says("carries_tokenizer"), ["not applicable"]);
    assert_eq!(empty.says("artifact_present"), ["not applicable"]);
}

#[test]
fn a_misspelled_file_is_named() {
    let says = |name: &str| Submission::of(&[(name, "{}")]).says("no_submission_json");
    for name in
        ["submision.json", "submissions.json", "submission.json.txt", "Submission (1).json", "sub/submission.json"]
    {
        let expected = format!("fail: submission.json is missing; {name} is probably meant: rename it");
        assert_eq!(says(name), [expected, format!("{name} (submission.json)")], "{name}");
    }
    for name in ["results.json", "submission.py", "tokenizer.json"] {
        assert_eq!(says(name)[0], "fail: submission.json is missing", "{name}");
    }
    assert!(Submission::of(&[("REAMDE.md", "x")]).says("no_readme")[0].contains("REAMDE.md is probably meant"));
    let script =
        |names: &[&str]| Submission::of(&names.iter().map(|n| (*n, "")).collect::<Vec<_>>()).says("no_train_gpt");
    assert_eq!(script(&["train_x.py"])[0], "warning: train_gpt.py is missing; train_x.py is the only Python");
    assert_eq!(script(&["train_gtp.py", "b.py"])[0], "fail: train_gpt.py is missing; train_gtp.py is probably meant");
}
