//! The denominator: 151,078,222 bytes of text, whatever the tokenizer.

use std::f64::consts::LN_2;

use super::super::denominator::{Tokenizer, log_ratio, tokenizer};
use super::Submission;

const PRE: &str = "val_loader:shards pattern=x tokens:";

/// A log of this many validation tokens at this many bytes a token, with ten decimals.
fn log(tokens: u64, ratio: f64) -> String {
    format!("{PRE}{tokens}\nfinal_int6 val_loss:{:.10} val_bpb:1.0000000000\n", ratio * LN_2)
}

fn logged(logs: &[&str]) -> Submission {
    Submission::logged("{}", logs)
}

#[test]
fn tokens_times_bytes_a_token_is_the_validation_text() {
    let rule = "implied_val_bytes_wrong";
    // 50,000,000 tokens of 3.02156444 bytes are 151,078,222 bytes.
    let (tokens, exact) = (50_000_000, 3.021_564_44);
    for factor in [1.0, 1.000_99, 0.9901] {
        assert_eq!(logged(&[&log(tokens, exact * factor)]).says(rule), ["pass"], "{factor}");
    }
    // 0.1 % too long makes the score better than it is; bytes left out make it worse.
    for factor in [1.001_01, 1.0095, 0.9899] {
        assert!(logged(&[&log(tokens, exact * factor)]).violates(rule), "{factor}");
    }
    // The example: 47,851,520 x 2.3295 / (ln 2 x 0.9771) = 164,586,412 bytes.
    let example = format!("{PRE}47851520\nfinal_int6 val_loss:2.3295 val_bpb:0.9771\n");
    assert_eq!(
        logged(&["x\n", &example]).says(rule),
        [
            "fail: train1.log: 47,851,520 tokens of 3.4395 bytes make a text of 164,586,412 bytes, +8.94 % off; \
             with 151,078,222 bytes 0.9771 bits per byte are 1.0645",
            "train1.log:2: 3.4395 bytes per token (151,078,222)"
        ]
    );
    // A part of the text implies nothing; the largest number of tokens named is the whole.
    let nothing = ["unknown: no log gives validation tokens, loss and bits per byte"];
    assert_eq!(logged(&[&log(29_999_999, 3.0)]).says(rule), nothing);
    assert!(logged(&[&log(30_000_000, 3.0)]).violates(rule));
    assert_eq!(logged(&[&format!("{PRE}1000\n{}", log(tokens, exact))]).says(rule), ["pass"]);
    assert_eq!(logged(&["final_int6 val_loss:2.0 val_bpb:1.0\n"]).says(rule), nothing);
    assert_eq!(logged(&[&format!("{PRE}50000000\nfinal_int6 val_bpb:1.0\n")]).says(rule), nothing);
    // Of a step's validation nothing is concluded.
    assert_eq!(logged(&[&format!("{PRE}50000000\nstep:1 val_loss:9.0 val_bpb:1.0\n")]).says(rule), nothing);
}

/// Nats left undivided, or divided twice: the number itself says what went wrong.
#[test]
fn a_missing_or_doubled_ln_2_is_named() {
    let rule = "implied_val_bytes_wrong";
    // 2.0943 nats a token, 2.4359 bytes a token: 1.24 bits per byte, 0.85977 nats per byte, 1.78894 divided twice.
    let of = |bpb: &str| logged(&[&format!("{PRE}62021632\nfinal_int6 val_loss:2.094286 val_bpb:{bpb}\n")]).says(rule);
    assert_eq!(of("1.240378"), ["pass"]);
    let undivided = &of("0.859764")[0];
    assert!(undivided.contains("the factor 1/ln 2: nats were not divided by ln 2"), "{undivided}");
    assert!(undivided.ends_with("0.859764 bits per byte are 1.2404"), "{undivided}");
    let twice = &of("1.789487")[0];
    assert!(twice.contains("the factor ln 2: nats were divided by ln 2 twice"), "{twice}");
    assert!(!of("0.9")[0].contains("ln 2:"));
}

#[test]
fn the_text_before_the_19th_of_march_was_another() {
    let rule = "implied_val_bytes_wrong";
    let dated = |place: &str, json: &str| {
        let log = log(50_000_000, 155_770_000.0 / 50_000_000.0);
        Submission::at(&format!("records/track_10min_16mb/{place}"), &[("submission.json", json), ("train.log", &log)])
            .says(rule)
    };
    assert_eq!(dated("2026-03-18_a", "{}"), ["pass"]);
    assert_eq!(dated("2026-03-20_a", "{\"date\": \"2026-03-18\"}"), ["pass"]);
    for (place, json) in [("2026-03-19_a", "{}"), ("2026-03-18_a", "{\"date\": \"2026-03-19\"}"), ("a", "{}")] {
        let says = dated(place, json);
        assert!(says[0].contains("+3.11 % off; that is the text of the data published before 2026-03-19"), "{says:?}");
    }
}

/// Half a unit in the last place of the score, relative to score and to loss, is allowed twice on top.
#[test]
fn printed_rounding_is_allowed_twice() {
    let violates = |loss: &str, bpb: &str, distance: f64| {
        let ratio: f64 = loss.parse::<f64>().unwrap() / (LN_2 * bpb.parse::<f64>().unwrap());
        let tokens = (151_078_222.0 * (1.0 + distance) / ratio) as u64;
        let log = format!("{PRE}{tokens}\nfinal_int6 val_loss:{loss} val_bpb:{bpb}\n");
        logged(&[&log]).violates("implied_val_bytes_wrong")
    };
    for (loss, bpb, allowed) in [
        // 2 x 0.005 x (1 / 1.00 + 1 / 2.09), and so on; 0.1 % more is allowed above, 1 % below.
        ("2.09", "1.00", 0.014_785),
        ("2.09", "2.00", 0.009_785),
        ("1.50", "2.00", 0.011_667),
        ("2.09", "1.0000", 0.000_148),
    ] {
        for (sign, more) in [(1.0, 0.001), (-1.0, 0.01)] {
            let allowed = allowed + more;
            assert!(!violates(loss, bpb, sign * (allowed - 1e-4)), "{loss} {bpb} {sign}");
            assert!(violates(loss, bpb, sign * (allowed + 1e-4)), "{loss} {bpb} {sign}");
        }
    }
}

#[test]
fn usual_bytes_a_token_by_tokenizer() {
    let rule = "log_ratio_unusual_for_tokenizer";
    let of = |name: &str, ratio: f64| {
        let log = format!("tokenizer_path=./{name}\nfinal_int6 val_loss:{:.10} val_bpb:1.0000000000\n", ratio * LN_2);
        logged(&["x\n", &log]).says(rule)
    };
    for (name, word, usual) in [
        ("fineweb_1024_bpe.model", "Sp1024", 2.435_896),
        ("sp4096.model", "Sp4096", 3.319_772),
        ("8192_bpe.model", "Sp8192", 3.726_632),
    ] {
        assert_eq!(of(name, usual), [format!("pass: {usual:.4} bytes per token")]);
        assert!(of(name, usual * 1.0099)[0].starts_with("pass: ") && of(name, usual * 0.9901)[0].starts_with("pass: "));
        assert!(of(name, usual * 0.9899)[0].starts_with("review: "));
        let found = usual * 1.0101;
        assert_eq!(
            of(name, found),
            [
                format!("review: {found:.4} bytes per token, {usual:.4} usual for {word}"),
                format!("train1.log:2: {found:.4} ({usual:.4})")
            ]
        );
    }
    assert_eq!(of("other.model", 2.0), ["not applicable"]);
    assert_eq!(of("fineweb_8192_casefold.model", 2.0), ["not applicable"]);
    assert_eq!(logged(&["x\n"]).says(rule), ["unknown: no log names the tokenizer"]);
    let path = "tokenizer_path=./fineweb_1024_bpe.model\n";
    assert_eq!(logged(&[path]).says(rule), ["unknown: no log gives both loss and bits per byte"]);
    assert_eq!(
        logged(&[&format!("{path}{}", log(1_048_576, 3.0))]).says(rule),
        ["unknown: a part of the validation text has its own bytes per token"]
    );
    assert_eq!(
        logged(&[&format!("{path}{}", log(62_021_632, 3.0))]).says(rule),
        ["unknown: the length of the text is wrong already; see implied_val_bytes_wrong"]
    );
    // 30,000,000 tokens are no part: 5.0359407 bytes each make the whole text.
    assert!(logged(&[&format!("{path}{}", log(30_000_000, 5.035_940_7))]).violates(rule));
    // Twice the rounding is allowed here as well: 2.4785 % with 2.09 / 1.00, which are 3.0152 bytes a token.
    let coarse = |name: &str| {
        logged(&[&format!("tokenizer_path=./{name}\nfinal_int6 val_loss:2.30 val_bpb:1.00\n")]).violates(rule)
    };
    // 2.30 / ln 2 = 3.31820: within any tolerance of 3.3197, far from 2.436.
    assert!(!coarse("sp4096.model") && coarse("sp1024.model"));
}

#[test]
fn the_tokenizer_is_the_one_the_logs_name() {
    let named = |place: &str, json: &str, logs: &[&str]| {
        let mut files = vec![("submission.json", json)];
        let names: Vec<String> = (0..logs.len()).map(|i| format!("train{i}.log")).collect();
        files.extend(names.iter().zip(logs).map(|(name, text)| (name.as_str(), *text)));
        tokenizer(&Submission::at(&format!("records/track_10min_16mb/{place}"), &files).folder)
    };
    let log = |name: &str| format!("tokenizer_path=./{name}\n");
    let (sp1024, other) = (log("fineweb_1024_bpe.model"), log("other.model"));
    assert_eq!(named("a", "{}", &[&sp1024]), Some(Tokenizer::Sp1024));
    // The first log with a known name; a name nobody knows is another vocabulary.
    assert_eq!(named("a", "{}", &[&other, &sp1024]), Some(Tokenizer::Sp1024));
    assert_eq!(named("a_sp8192", "{\"tokenizer\": \"sp8192\"}", &[&other]), Some(Tokenizer::Other));
    for words in ["a_CaseOps", "a_casefold", "a_lossless_caps"] {
        assert_eq!(named(words, "{}", &[&sp1024]), Some(Tokenizer::CaseOps), "{words}");
    }
    // Without logs submission.json tells, then the folder's name.
    assert_eq!(named("a_sp8192", "{\"tokenizer\": \"SP4096\"}", &[]), Some(Tokenizer::Sp4096));
    assert_eq!(named("a_sp8192", "{\"tokenizer\": \"mine\"}", &[]), Some(Tokenizer::Sp8192));
    assert_eq!(named("a_sp8192", "{}", &[]), Some(Tokenizer::Sp8192));
    assert_eq!(named("a", "{\"tokenizer\": \"tokenizer_kind=bytes\"}", &[]), Some(Tokenizer::Bytes));
    assert_eq!(named("a_8192", "{}", &[]), None);
    for (tokenizer, bytes) in [
        (Tokenizer::Sp1024, Some(2.435_896)),
        (Tokenizer::Sp4096, Some(3.319_772)),
        (Tokenizer::Sp8192, Some(3.726_632)),
        (Tokenizer::CaseOps, None),
        (Tokenizer::Bytes, None),
        (Tokenizer::Other, None),
    ] {
        assert_eq!(tokenizer.bytes_per_token(), bytes, "{tokenizer:?}");
    }
}

#[test]
fn bytes_a_token_are_those_of_the_last_log_that_tells() {
    let ratio = |logs: &[&str]| log_ratio(&logged(logs).folder);
    let line = |ratio: f64| format!("final_int6 val_loss:{:.12} val_bpb:1.0\n", ratio * LN_2);
    let close = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-9;
    assert!(close(ratio(&[&line(2.0), &line(3.0), "x\n"]), 3.0));
    assert!(close(ratio(&[&format!("{}{}", line(2.0), line(3.0))]), 3.0));
    // Values without a loss, or that are no results, are passed over.
    assert!(close(ratio(&[&format!("{}final_int6 val_bpb:1.0\n", line(2.0))]), 2.0));
    assert!(close(ratio(&[&format!("{}final_int6 val_loss:0.0 val_bpb:1.0\n", line(2.0))]), 2.0));
    assert!(close(ratio(&[&format!("{}final_int6 val_loss:1.0 val_bpb:0.0\n", line(2.0))]), 2.0));
    // From before quantization will do, a training step's will not.
    assert!(close(ratio(&[&format!("pre-quant val_loss:{:.12} val_bpb:1.0\n", 4.0 * LN_2)]), 4.0));
    assert_eq!(ratio(&["step:1 val_loss:2.0 val_bpb:1.0\n"]), None);
}

#[test]
fn fewer_tokens_than_any_vocabulary_needs_are_a_part() {
    let rule = "val_subset";
    assert_eq!(logged(&[&format!("{PRE}62021632\n")]).says(rule), ["pass"]);
    assert_eq!(logged(&[&format!("{PRE}30000000\n")]).says(rule), ["pass"]);
    assert_eq!(
        logged(&[&format!("x\n{PRE}62021632\n{PRE}1048576\n"), &format!("{PRE}29999999\n")]).says(rule),
        ["fail: validated on 1,048,576 tokens", "train0.log:3: 1,048,576 tokens", "train1.log:1: 29,999,999 tokens"]
    );
    assert_eq!(logged(&[&format!("{PRE}0\n")]).says(rule), ["pass"]);
    assert_eq!(logged(&["x\n"]).says(rule), ["unknown: no log says how many tokens were validated"]);
}

#[test]
fn the_whole_split_has_a_known_number_of_tokens_by_tokenizer() {
    let rule = "val_subset";
    let of = |name: &str, tokens: u64, text: f64| {
        let loss = text * 151_078_222.0 / tokens as f64 * LN_2;
        logged(&[&format!(
            "tokenizer_path=./{name}\n{PRE}{tokens}\nfinal_int6 val_loss:{loss:.8} val_bpb:1.00000000\n"
        )])
        .says(rule)
    };
    let part = |tokens: u64| tokens as f64 / 62_021_632.0;
    // The end that fills no whole window, up to sequences of 65,536 tokens.
    for tokens in [62_021_845, 62_021_632, 61_997_056, 61_960_000] {
        assert_eq!(of("fineweb_1024_bpe.model", tokens, part(tokens)), ["pass"], "{tokens}");
    }
    assert_eq!(
        of("fineweb_1024_bpe.model", 61_865_984, part(61_865_984)),
        [
            "fail: validated on 61,865,984 tokens of 62,021,632 tokens",
            "train0.log:2: 61,865,984 tokens (62,021,632 tokens)"
        ]
    );
    assert_eq!(of("sp8192.model", 36_562_944, 36_562_944.0 / 40_540_160.0)[0][..4], *"fail");
    // A vocabulary of one's own needs fewer tokens for the whole text.
    assert_eq!(of("fineweb_8192_bpe.model", 36_335_616, 1.0), ["pass"]);
    assert_eq!(of("own.model", 36_562_944, 0.9), ["pass"]);
    assert_eq!(of("fineweb_4096_bpe.model", 44_847_104, 0.998), ["pass"]);
    // Only the log that names the tokenizer is held to it.
    let none = format!("tokenizer_path=./sp1024.model\n{PRE}50000000\n");
    assert_eq!(logged(&[&none]).says(rule)[0][..4], *"fail");
}

#[test]
fn logs_of_another_tokenizer_are_measured_by_their_own() {
    let log = |name: &str, ratio: f64| {
        format!("tokenizer_path=./{name}\nfinal_int6 val_loss:{:.10} val_bpb:1.0000000000\n", ratio * LN_2)
    };
    let baseline = log("fineweb_1024_bpe.model", 2.435_896);
    let own = log("fineweb_4096_bpe.model", 3.319_772);
    assert_eq!(logged(&[&baseline, &own]).says("log_ratio_unusual_for_tokenizer"), ["pass: 3.3198 bytes per token"]);
}

#[test]
fn text_that_was_casefolded() {
    let rule = "lossy_normalization";
    let log = "x\ntokenizer_path=./fineweb_8192_CaseFold.model\n";
    assert_eq!(
        logged(&[log]).says(rule),
        ["review: the validation text is casefolded", "train0.log:2: ./fineweb_8192_CaseFold.model"]
    );
    let named = Submission::at("records/track_10min_16mb/a_Casefold", &[]);
    assert_eq!(named.says(rule), ["review: the validation text is casefolded", ": a_Casefold"]);
    assert_eq!(logged(&["tokenizer_path=./fineweb_8192_bpe.model\n"]).says(rule), ["pass"]);
}

#[test]
fn the_split_that_overlaps_has_1499_shards() {
    let rule = "train_val_overlap";
    assert_eq!(
        logged(&["x\ntrain_shards:1499\n"]).says(rule),
        [
            "review: 1,499 training shards: the split whose first 10,000 validation documents only are kept apart",
            "train0.log:2: train_shards 1499 (80 shards)"
        ]
    );
    for shards in [80, 1498, 1500] {
        assert_eq!(logged(&[&format!("train_shards:{shards}\n")]).says(rule), ["pass"], "{shards}");
    }
}
