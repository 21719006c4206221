//! The budget by what lies on disk: whatever the files are called, and whatever logs and submission.json say.

use std::fs::File;
use std::io::Write;

use super::Submission;
use crate::manifest::Track;
use crate::rules::PolicyFile;
use crate::submission::RecordFolder;

/// What a file starts with, and how long it is: the rest are zeros, which take no room on disk.
type Sparse<'a> = (&'a str, &'a [u8], u64);

/// No format that any reader knows.
const CODER: &[u8] = b"\x93RANS\x01\xff\xfe";
const SCRIPT: &str = "import torch\n";
const CODE: u64 = SCRIPT.len() as u64;
const CAP: u64 = 16_000_000;

fn folder(texts: &[(&str, &str)], files: &[Sparse]) -> Submission {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join(super::PLACE);
    let create = |name: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path).unwrap()
    };
    create("train_gpt.py").write_all(SCRIPT.as_bytes()).unwrap();
    texts.iter().for_each(|(name, text)| create(name).write_all(text.as_bytes()).unwrap());
    for (name, start, bytes) in files {
        let mut file = create(name);
        file.write_all(start).unwrap();
        file.set_len(*bytes).unwrap();
    }
    let policy = PolicyFile::builtin(Track::TenMinutes).unwrap().on(None);
    Submission { folder: RecordFolder::read(&root), track: Track::TenMinutes, policy }
}

/// A log and a claim by which everything fits.
fn claims(model: u64) -> [(&'static str, String); 2] {
    let total = model + CODE;
    [
        ("submission.json", format!("{{\"bytes_total\": {total}}}")),
        (
            "train_seed42.log",
            format!("Serialized model int6+zstd: {model} bytes\nTotal submission size int6+zstd: {total} bytes\n"),
        ),
    ]
}

fn claimed(model: u64, files: &[Sparse]) -> Submission {
    let claims = claims(model);
    let texts: Vec<(&str, &str)> = claims.iter().map(|(name, text)| (*name, text.as_str())).collect();
    folder(&texts, files)
}

/// The worst severity of `over_budget`, and its words.
fn verdict(submission: &Submission) -> (String, String) {
    let said = submission.says("over_budget");
    let severity = said[0].split(':').next().unwrap().to_string();
    (severity, said.join("\n"))
}

fn assert_verdict(name: &str, submission: &Submission, severity: &str, words: &str) {
    let (found, said) = verdict(submission);
    assert!(found == severity && said.contains(words), "{name}: {said}");
}

/// A safetensors file of one f32 tensor, with its exact length.
fn raw(values: u64) -> (Vec<u8>, u64) {
    let header = format!("{{\"w\":{{\"dtype\":\"F32\",\"shape\":[{values}],\"data_offsets\":[0,{}]}}}}", 4 * values);
    let start = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let length = start.len() as u64 + 4 * values;
    (start, length)
}

#[test]
fn the_cap_is_exact_under_any_name_and_against_any_claim() {
    for name in ["final_model.ptz", "weights", "assets/data.dat", "plot.svg", "train.log", "vocab.model", "m.golf"] {
        for (bytes, severity) in [(CAP - CODE, "pass"), (CAP - CODE + 1, "fail")] {
            let submission = claimed(15_000_000, &[(name, CODER, bytes)]);
            assert_verdict(name, &submission, severity, &format!("{name} "));
        }
    }
    let words = "train_gpt.py 13 + final_model.ptz 15,999,988 = 16,000,001 bytes on disk, 1 over 16,000,000";
    assert_verdict("words", &claimed(15_000_000, &[("final_model.ptz", CODER, CAP - CODE + 1)]), "fail", words);
}

#[test]
fn text_that_spells_weights_is_weighed_and_honest_text_is_not() {
    let encoded = format!("{}\n", "QUJDREVGR0hJSktMTU5P".repeat(4)).repeat(200_000);
    assert_verdict("base64", &folder(&[("weights.txt", &encoded)], &[]), "fail", "weights.txt");
    let blob = format!("BLOB = \"{}\"\n", "QUJDREVGR0hJSktMTU5P".repeat(801_000));
    assert_verdict("code", &folder(&[("weights.py", &blob)], &[]), "fail", "weights.py");
    let log = "step:1/20000 train_loss:6.9357 train_time:152ms step_avg:152.01ms\n".repeat(250_000);
    assert_verdict("log", &folder(&[("train.log", &log)], &[]), "unknown", "neither");
}

/// However data is cut into words, lines and files, and whatever it says it is.
#[test]
fn data_beside_the_weights_is_shown() {
    let mut state = 1u64;
    let mut digit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b"0123456789abcdef"[(state >> 60) as usize]
    };
    let hex: Vec<u8> = (0..400_000).flat_map(|_| (0..40).map(|_| digit()).chain([b'\n']).collect::<Vec<_>>()).collect();
    let hex = String::from_utf8(hex).unwrap();
    let log = "step:1/20000 train_loss:6.9357 train_time:152ms step_avg:152.01ms\n".repeat(10_000);
    let (half, rest) = hex.split_at(hex.len() / 2);
    let parts = folder(&[("README.md", half), ("helper.py", rest)], &[]);
    assert_verdict("in two", &parts, "review", "does a script read them?");
    let after = format!("{log}{hex}");
    assert_verdict("behind a log", &folder(&[("train.log", &after)], &[]), "review", "does a script read them?");
    let png = &b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..];
    let tokenizer = &b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02"[..];
    for (a, b) in
        [(("a.png", png, CAP / 2), ("b.png", png, CAP / 2)), (("a.model", tokenizer, CAP / 2), ("b.png", png, CAP / 2))]
    {
        assert_verdict(a.0, &folder(&[], &[a, b]), "review", "16,000,000 bytes of data in 2 files lie beside the 13");
    }
    let weights = ("m.ptz", CODER, CAP - CODE);
    assert_verdict("beside", &folder(&[], &[weights, ("a.png", png, 1_000_000)]), "review", "1,000,000 bytes of data");
    assert_verdict("little", &folder(&[], &[weights, ("a.png", png, 999_999)]), "pass", "0 bytes to spare");
    assert_verdict("git", &folder(&[], &[("sub/.git/x", CODER, CAP)]), "fail", "sub/.git/x");
}

/// A log that calls a file uncompressed does not make it so.
#[test]
fn a_log_s_word_sets_no_model_aside() {
    let (log, small) =
        ("Serialized model: 20000000 bytes\nSerialized model int6+zstd: 3000 bytes\n", ("s.ptz", CODER, 3000));
    let found = folder(&[("train.log", log)], &[("m.bin", CODER, 20_000_000), small]);
    assert_verdict("unread", &found, "fail", "m.bin 20,000,000");
}

#[test]
fn parts_are_weighed_together() {
    let half = CAP / 2;
    for [first, second] in [
        ["model.part0", "model.part1"],
        ["model.ptz.aa", "model.ptz.ab"],
        ["xaa", "xab"],
        ["model.001", "model.002"],
        ["model.ptz", "model.ptz.1"],
        ["a/model_part_0.int6.bin", "a/model_part_1.int6.bin"],
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ["w0.dat", "w1.dat"],
    ] {
        let parts = |sum: u64| [(first, CODER, half), (second, &b"\xf0\xf1\xf2\xf3"[..], sum - half)];
        assert_verdict(first, &claimed(half, &parts(CAP - CODE)), "pass", "2 parts");
        assert_verdict(first, &claimed(half, &parts(CAP - CODE + 1)), "fail", "16,000,001 bytes on disk");
    }
}

#[test]
fn seeds_are_weighed_each_alone() {
    let size = 15_900_000;
    for names in [
        ["model_seed42.ptz", "model_seed1337.ptz", "model_seed2024.ptz"],
        ["seed42/final_model.ptz", "seed1337/final_model.ptz", "seed2024/final_model.ptz"],
        ["model_seed0.bin", "model_seed1.bin", "model_seed2.bin"],
        ["model_42.ptz", "model_1337.ptz", "model_7.ptz"],
    ] {
        let files = |last| [(names[0], CODER, size), (names[1], CODER, size - 5), (names[2], &b"\xf0other"[..], last)];
        assert_verdict(names[0], &claimed(size, &files(size + 9)), "pass", "largest of 3");
        assert_verdict(names[0], &claimed(size, &files(CAP)), "fail", names[2]);
    }
}

#[test]
fn a_checkpoint_counts_unless_something_smaller_is_handed_in() {
    let (start, length) = raw(5_000_000);
    let checkpoint = ("final_model.safetensors", &start[..], length);
    assert_verdict("alone", &claimed(15_000_000, &[checkpoint]), "fail", "final_model.safetensors");
    let beside = [checkpoint, ("final_model.ptz", CODER, 15_000_000)];
    assert_verdict("named", &claimed(15_000_000, &beside), "pass", "not weighed: final_model.safetensors");
    // A claim about another file names none of these.
    assert_verdict("not named", &claimed(14_000_000, &beside), "fail", "final_model.safetensors");
    // Compressed weights are no checkpoint, whatever the log says of a smaller file.
    let decoy = [("final_model.ptz", CODER, 15_000_000), ("weights.dat", CODER, CAP)];
    assert_verdict("decoy", &claimed(15_000_000, &decoy), "fail", "weights.dat");
}

#[test]
fn halves_under_unlike_names_do_not_pass() {
    let halves = [("alpha.dat", CODER, 9_000_000), ("omega.dat", &b"\xf0\xf1"[..], 9_000_000)];
    assert_verdict("unlike", &claimed(15_000_000, &halves), "fail", "not each alone");
    // One of them is the model that the log names: what the other is, a person sees.
    assert_verdict("named", &claimed(9_000_000, &halves), "review", "not each alone");
}

#[test]
fn pointers_count_with_what_they_stand_for() {
    let pointer = |size: &str| {
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {size}\n", "ab".repeat(32))
    };
    let small = pointer("15999987");
    assert_verdict("fits", &folder(&[("final_model.ptz", &small)], &[]), "pass", "16,000,000 bytes on disk");
    let large = pointer("15999988");
    assert_verdict(
        "large",
        &folder(&[("final_model.ptz", &large)], &[]),
        "fail",
        "Git LFS pointer stands for, sha256:abab",
    );
    let other = pointer("99000000");
    assert_verdict("other name", &folder(&[("weights.dat", &other)], &[]), "fail", "99,000,013");
    assert_verdict("picture", &folder(&[("plot.png", &other)], &[]), "review", "99,000,000 bytes of data in 1 files");
    let opened = folder(&[("train.log", &small)], &[]).says("artifact_not_opened").join("\n");
    assert!(opened.contains("train.log is a Git LFS pointer to 15,999,987 bytes"), "{opened}");
}

#[test]
fn code_is_weighed_as_it_lies_there_and_pictures_are_shown_to_a_person() {
    assert_verdict(
        "code",
        &folder(&[], &[("train_gpt.py", b"exec(", CAP + 1)]),
        "fail",
        "train_gpt.py alone is 16,000,001",
    );
    let helper = "x".repeat(100);
    let main = format!("{:<1000}", "import helper\n#");
    let imports = folder(&[("helper.py", &helper), ("train_gpt.py", &main)], &[("m.ptz", CODER, CAP)]);
    assert_verdict("imported", &imports, "fail", "2 code files 1,100 + m.ptz 16,000,000");
    let picture = ("plot.png", &b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], CAP + 1);
    assert_verdict("picture", &claimed(15_000_000, &[picture]), "review", "begins as a PNG picture");
}

#[test]
fn a_file_of_another_size_than_the_logs_say_is_noticed() {
    let says = |bytes| claimed(15_000_000, &[("final_model.ptz", CODER, bytes)]).says("artifact_size_not_logged");
    assert_eq!(says(15_000_000), ["pass"]);
    let other = says(15_000_001);
    assert!(
        other[0].starts_with("warning: final_model.ptz 15,000,001 bytes on disk") && other[0].contains("15,000,000"),
        "{other:?}"
    );
    assert_eq!(folder(&[], &[]).says("artifact_size_not_logged"), ["not applicable"]);
}

#[test]
fn pointers_that_nothing_tells_apart_are_parts_of_one() {
    let rule = "over_budget";
    let [one, other] = ["ab", "cd"].map(|digits| {
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 9000000\n", digits.repeat(32))
    });
    let says = |names: [&str; 2], log: &str| {
        let files = [("train.log", log), ("train_gpt.py", "x = 1\n"), (names[0], &one), (names[1], &other)];
        Submission::of(&files).says(rule)[0].split(':').next().unwrap_or_default().to_string()
    };
    assert_eq!(says(["model_0.ptz", "model_1.ptz"], "seed:42\n"), "fail");
    assert_eq!(says(["a.ptz", "b.ptz"], "seed:42\n"), "fail");
    // A seed in the path, in the name or in a log, or a size that a log gives.
    for (names, log) in [
        (["seed42/m.ptz", "seed7/m.ptz"], "x\n"),
        (["model_1.ptz", "model_2.ptz"], "seed:1\nseed:2\n"),
        (["model_0.ptz", "model_1.ptz"], "Serialized model int8+zlib: 9000000 bytes\n"),
    ] {
        assert_eq!(says(names, log), "pass", "{names:?}");
    }
}
