//! What a log prints of its script, its model and its sizes, against what is shipped.

use super::Submission;

/// A script of so many lines that ends as scripts end.
fn script(lines: usize) -> String {
    let body: String = (0..lines - 3).map(|i| format!("X_{i} = {i}\n")).collect();
    format!("import os\n{body}if __name__ == \"__main__\":\n    main()\n")
}

fn log(listing: &str) -> String {
    format!("{listing}{}\nfinal_int6 val_bpb:1.1\n", "=".repeat(100))
}

#[test]
fn a_listing_is_compared_with_the_shipped_script() {
    let rule = "log_source_differs_from_file";
    let says = |printed: &str, shipped: &str| {
        Submission::of(&[("train.log", &log(printed)), ("train_gpt.py", shipped)]).says(rule)
    };
    let whole = script(1000);
    assert_eq!(says(&whole, &whole), ["pass"]);
    // Blank lines and indentation are no difference; one line in a thousand is none either.
    assert_eq!(says(&whole.replace("X_7", "\n  X_7"), &whole), ["pass"]);
    assert_eq!(says(&whole.replace("X_7 =", "Y_7 ="), &whole), ["pass"]);
    let two = whole.replace("X_7 =", "Y_7 =").replace("X_9 =", "Y_9 =");
    assert_eq!(
        says(&two, &whole),
        ["note: train.log: 2 of 1000 lines (0.2 %) differ from train_gpt.py", "train.log:1: printed only: Y_7 = 7"]
    );
    let many = whole.replace("X_1", "Y_1");
    assert_eq!(says(&many, &whole)[0], "warning: train.log: 111 of 1000 lines (11.1 %) differ from train_gpt.py");
    // A cut listing holds a part of the script.
    let cut = &whole[..whole.len() / 2];
    let text = format!("{cut}\nmodel_params:9000000\nfinal_int6 val_bpb:1.1\n");
    assert_eq!(
        Submission::of(&[("train.log", &text), ("train_gpt.py", &whole)]).says(rule),
        [
            "note: train.log: 1 of 510 lines (0.2 %) differ from train_gpt.py",
            &format!("train.log:1: printed only: {}", cut.lines().next_back().unwrap())
        ]
    );
    // Of several scripts the one most like it counts.
    let both = [("train.log", log(&whole)), ("a.py", script(30)), ("train_v2.py", whole.clone())];
    let both: Vec<(&str, &str)> = both.iter().map(|(name, text)| (*name, text.as_str())).collect();
    assert_eq!(Submission::of(&both).says(rule), ["pass"]);
    assert_eq!(Submission::of(&[("train.log", "x\n")]).says(rule), ["not applicable"]);
    assert_eq!(says(&script(10), &whole), ["unknown: no log prints enough of its source"]);
}

#[test]
fn parameters_are_those_of_one_model() {
    let rule = "parameter_count_differs";
    let log = |seed: u64, count: u64| format!("seed:{seed}\nmodel_params:{count}\nfinal val_bpb:1.1{seed}\n");
    let says = |json: &str, readme: &str, second: u64| {
        let (a, b) = (log(1, 26_993_788), log(2, second));
        let files =
            [("submission.json", json), ("README.md", readme), ("train_seed1.log", &a), ("train_seed2.log", &b)];
        Submission::of(&files).says(rule)
    };
    let same = 26_993_788;
    assert_eq!(says("{}", "", same), ["pass: 26,993,788 parameters"]);
    assert_eq!(says("{}", "", same + 1)[0], "warning: 26,993,788 logged; another log differs");
    for json in ["{\"model_params\": 26993788}", "{\"model_params\": 27000000}", "{\"num_params\": \"26990000\"}"] {
        assert_eq!(says(json, "26.99M parameters", same), ["pass: 26,993,788 parameters"], "{json}");
    }
    assert_eq!(
        says("{\n\"model_params\": 26993789}", "", same),
        [
            "warning: 26,993,788 logged; submission.json differs",
            "train_seed1.log:2: 26,993,788 parameters",
            "submission.json:2: model_params: 26993789"
        ]
    );
    assert_eq!(
        says("{}", "The model has 27,124,860 parameters.", same)[0],
        "warning: 26,993,788 logged; the README differs"
    );
    // A table of ablations names the submitted one too.
    assert_eq!(says("{}", "27,124,860 parameters\n26,993,788 parameters", same), ["pass: 26,993,788 parameters"]);
    assert!(Submission::of(&[]).says(rule)[0].starts_with("unknown: "));
}

#[test]
fn the_script_as_shipped_counts() {
    let rule = "shipped_code_larger_than_logged";
    let sizes = "Serialized model int6+zstd: 15990000 bytes\nCode size: 9000 bytes\nTotal submission size int6+zstd: 15999000 bytes\nfinal val_bpb:1.1\n";
    let says = |bytes: usize| Submission::of(&[("train.log", sizes), ("train_gpt.py", &"#".repeat(bytes))]).says(rule);
    assert_eq!(says(10_000), ["pass"]);
    assert_eq!(
        says(10_001),
        [
            "fail: with train_gpt.py as shipped 16,000,001 bytes, over 16,000,000",
            "train_gpt.py: 10,001 bytes",
            "train.log:2: model 15,990,000, code 9,000"
        ]
    );
    // The packed script is there under another name.
    let (packed, plain) = ("#".repeat(9000), "#".repeat(10_001));
    let both = [("train.log", sizes), ("train_gpt.py", plain.as_str()), ("train_packed.py", packed.as_str())];
    assert_eq!(Submission::of(&both).says(rule), ["pass"]);
    assert!(Submission::of(&[]).says(rule)[0].starts_with("unknown: "));
}

#[test]
fn variables_that_nothing_reads_are_named() {
    let rule = "readme_sets_unread_variable";
    let says = |command: &str, script: &str| {
        Submission::of(&[("README.md", &format!("# Run\n```bash\n{command}\n```\n")), ("train_gpt.py", script)])
            .says(rule)
    };
    let script = "import os\nA = os.environ.get('TTT_ENABLED', '0')\n";
    assert_eq!(says("TTT_ENABLED=1 CUDA_VISIBLE_DEVICES=0 torchrun train_gpt.py", script), ["pass"]);
    assert_eq!(
        says("TTT_ENABLE=1 torchrun train_gpt.py", script),
        ["warning: TTT_ENABLE is read by no shipped code", "README.md:3: TTT_ENABLE=1 torchrun train_gpt.py"]
    );
    // Names that the code makes, or all variables at once.
    assert_eq!(says("SEED=1 python train_gpt.py", "for n in ('seed',): os.environ.get(n.upper())\n"), ["pass"]);
    assert!(says("SEED=1 python train_gpt.py", "x = dict(os.environ)\n")[0].starts_with("unknown: "));
    assert!(says("SEED=1 python train_gpt.py", "x = 1\n")[0].starts_with("unknown: "));
    assert_eq!(says("torchrun train_gpt.py", script), ["not applicable"]);
}
