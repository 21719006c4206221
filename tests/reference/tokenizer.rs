//! Reference numbers: the byte table and the ids of the SentencePiece library.
//!
//! The shipped set describes `fixtures/smoke/tokenizer.model`; the larger one describes the model named by
//! `GOLF_TOKENIZER`. `GOLF_SAMPLE_DIR` names a folder with FineWeb shards made with that same model.

use std::path::{Path, PathBuf};

use golf_harness::data::{Documents, Separator, Shard, ShardLayout, Tokenizer, tokenize_documents};
use golf_harness::digest::ContentDigest;
use serde_json::Value;

use crate::shipped::shipped;
use crate::support::{ReferenceSet, on_both_sets};

on_both_sets! { every_id_has_the_librarys_bytes_and_flags }

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/smoke").join(path)
}

/// A reference file beside the shipped ones.
fn reference(name: &str) -> Value {
    json(&shipped().join(name))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

fn ids(value: &Value) -> Vec<u16> {
    value.as_array().unwrap().iter().map(|id| u16::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

/// Compares the byte table with the columns of a `luts` object.
fn check_table(tokenizer: &Tokenizer, luts: &Value) {
    let table = tokenizer.byte_table();
    let column = |name: &str| luts[name].as_array().unwrap().clone();
    let flag = |value: &Value| value.as_bool().or(value.as_u64().map(|n| n == 1)).unwrap();
    assert_eq!(table.len(), column("base_bytes").len());
    for id in 0..table.len() {
        let entry = table.get(id as u16);
        assert_eq!(u64::from(entry.base_bytes), column("base_bytes")[id].as_u64().unwrap(), "id {id}");
        assert_eq!(entry.leading_marker, flag(&column("has_leading_space")[id]), "id {id}");
        assert_eq!(entry.boundary, flag(&column("is_boundary")[id]), "id {id}");
    }
}

/// Compares normalized forms, ids and decoded texts; returns the number of comparisons.
fn check_cases(tokenizer: &Tokenizer, cases: &Value, name: &str) -> usize {
    let (encode, decode) = (cases["encode"].as_array().unwrap(), cases["decode"].as_array().unwrap());
    for case in encode {
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.normalize(text), case["normalized"].as_str().unwrap(), "{name}: {text:?}");
        assert_eq!(tokenizer.encode(text).unwrap(), ids(&case["ids"]), "{name}: {text:?}");
    }
    for case in decode {
        assert_eq!(tokenizer.decode(&ids(&case["ids"])), case["text"].as_str().unwrap(), "{name}: {}", case["ids"]);
    }
    encode.len() + decode.len()
}

fn every_id_has_the_librarys_bytes_and_flags(set: ReferenceSet) {
    let tokenizer = Tokenizer::read(&set.tokenizer()).unwrap().0;
    check_table(&tokenizer, &json(&set.folder().join("tokenizer_luts.json")));
}

/// The larger set has no such cases.
#[test]
fn texts_become_the_librarys_ids_and_ids_its_texts() {
    let tokenizer = Tokenizer::read(&fixture("tokenizer.model")).unwrap().0;
    let compared = check_cases(&tokenizer, &reference("tokenizer_encodings.json"), "smoke");
    assert!(compared > 300);
}

/// Settings that the challenge's tokenizers do not use: own normalization rules, user-defined and unused pieces, no
/// byte fallback, no dummy space or one behind the text, spaces kept as they are, pieces that span words.
#[test]
fn other_settings_give_the_librarys_ids_too() {
    let variants = reference("tokenizer_variants.json");
    for (name, cases) in variants.as_object().unwrap() {
        let path = shipped().join(format!("tokenizers/{name}.model"));
        let tokenizer = Tokenizer::read(&path).unwrap().0;
        check_table(&tokenizer, &cases["luts"]);
        assert!(check_cases(&tokenizer, cases, name) > 100, "{name}");
    }
    assert!(variants.as_object().unwrap().len() >= 9);
}

/// Every code point and every canonical composition, held against digests of the library's answers.
#[test]
fn all_of_unicode_is_normalized_and_cut_as_the_library_does() {
    let tokenizer = Tokenizer::read(&fixture("tokenizer.model")).unwrap().0;
    let reference = reference("tokenizer_unicode.json");
    let check = |texts: &[String], expected: &Value, what: &str| {
        let (mut normalized, mut encoded) = (String::new(), Vec::new());
        for text in texts {
            normalized.push_str(&tokenizer.normalize(text));
            normalized.push('\n');
            encoded.extend(tokenizer.encode(text).unwrap().iter().flat_map(|id| id.to_le_bytes()));
        }
        let short = |bytes: &[u8]| ContentDigest::of(bytes).sha256.to_string()[..16].to_string();
        assert_eq!(short(normalized.as_bytes()), expected["normalized"].as_str().unwrap(), "normalized {what}");
        assert_eq!(short(&encoded), expected["ids"].as_str().unwrap(), "ids of {what}");
    };
    let size = u32::try_from(reference["code_points_a_block"].as_u64().unwrap()).unwrap();
    let blocks = reference["blocks"].as_array().unwrap();
    assert_eq!(blocks.len() as u32 * size, 0x11_0000);
    for (first, block) in (0..).step_by(size as usize).zip(blocks) {
        // Surrogates are no characters.
        let texts: Vec<String> = (first..first + size).filter_map(char::from_u32).map(|c| format!("a{c}b")).collect();
        check(&texts, block, &format!("U+{first:04X} and the {size} from there"));
    }
    let pairs = reference["pairs"]["texts"].as_array().unwrap();
    let pairs: Vec<String> = pairs.iter().map(|text| text.as_str().unwrap().to_string()).collect();
    assert!(pairs.len() > 1000);
    check(&pairs, &reference["pairs"], "canonical compositions");
}

/// Counted in NumPy by the rule of specification section 9.
#[test]
fn the_smoke_shards_have_the_counted_bytes() {
    let tokenizer = Tokenizer::read(&fixture("tokenizer.model")).unwrap().0;
    let counts = reference("token_counts.json");
    for (name, count) in counts.as_object().unwrap() {
        let tokens = Shard::open(&fixture(name)).unwrap().read_all().unwrap();
        assert_eq!(tokens.len() as u64 - 1, count["tokens_scored"].as_u64().unwrap(), "{name}");
        let bytes = count["bytes"].as_u64().unwrap();
        assert_eq!(tokenizer.byte_table().bytes_of_targets(&tokens), bytes, "{name}");
        assert_eq!(tokenizer.bytes_of_targets(&tokens).len() as u64, bytes, "{name}");
    }
    assert_eq!(counts.as_object().unwrap().len(), 3);
}

#[test]
fn the_smoke_text_becomes_the_librarys_shards() {
    let tokenizer = Tokenizer::read(&fixture("tokenizer.model")).unwrap().0;
    let open = |name: &str| Documents::open(&fixture(name), Separator::EmptyLine).unwrap();
    let documents = open("text/val.txt").chain(open("text/train.txt"));
    let folder = tempfile::tempdir().unwrap();
    // Two training shards of about equal size, the odd token in the second (`ci/fixtures/make_smoke.py`).
    let first = Shard::open(&fixture("smoke_train_000000.bin")).unwrap().tokens();
    let second = Shard::open(&fixture("smoke_train_000001.bin")).unwrap().tokens();
    let layout = ShardLayout { val_documents: 250, shard_tokens: second, prefix: "smoke".into() };
    let summary = tokenize_documents(&tokenizer, documents, &layout, folder.path()).unwrap();
    let names: Vec<&str> = summary.shards.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["smoke_val_000000.bin", "smoke_train_000000.bin", "smoke_train_000001.bin"]);
    assert_eq!(summary.val, (250, 53_656));
    assert_eq!(summary.train, (2636, first + second));
    let read = |path: &Path| Shard::open(path).unwrap().read_all().unwrap();
    assert!(std::fs::read(&summary.shards[0]).unwrap() == std::fs::read(fixture(names[0])).unwrap());
    let made: Vec<u16> = summary.shards[1..].iter().flat_map(|path| read(path)).collect();
    let shipped: Vec<u16> = names[1..].iter().flat_map(|name| read(&fixture(name))).collect();
    assert!(made == shipped, "the training tokens differ");
}

/// Cuts a shard into documents at the begin marks.
fn documents(tokens: &[u16]) -> impl Iterator<Item = &[u16]> {
    tokens.split(|&id| id == 1).skip(1)
}

/// Decoding a document and encoding the text again must give its ids back, and its bytes are the table's.
fn check_round_trip(tokenizer: &Tokenizer, path: &Path) {
    let tokens = Shard::open(path).unwrap().read_all().unwrap();
    let mut ids = 0;
    for document in documents(&tokens) {
        assert_eq!(tokenizer.encode(&tokenizer.decode(document)).unwrap(), document);
        ids += document.len() + 1;
    }
    assert_eq!(ids, tokens.len());
    let bytes = tokenizer.bytes_of_targets(&tokens);
    assert_eq!(bytes.len() as u64, tokenizer.byte_table().bytes_of_targets(&tokens));
    let texts: Vec<String> = documents(&tokens).map(|document| tokenizer.decode(document)).collect();
    assert!(bytes == texts.concat().as_bytes(), "the counted bytes are not the documents' text");
}

#[test]
fn decoded_smoke_shards_encode_to_themselves() {
    let tokenizer = Tokenizer::read(&fixture("tokenizer.model")).unwrap().0;
    // The second training shard starts in the middle of a document.
    check_round_trip(&tokenizer, &fixture("smoke_val_000000.bin"));
}

mod fineweb_needs_data {
    use super::*;
    use crate::support::named_by;

    /// Counts of the whole FineWeb sample, from the challenge's own script.
    #[test]
    #[ignore = "needs GOLF_SAMPLE_DIR and GOLF_TOKENIZER"]
    fn the_fineweb_sample_has_the_scripts_counts() {
        let folder = named_by("GOLF_SAMPLE_DIR");
        let tokenizer = Tokenizer::read(&ReferenceSet::Larger.tokenizer()).unwrap().0;
        for (split, targets, bytes) in [("val", 134_617, 319_690), ("train", 493_838, 1_169_728)] {
            let path = folder.join(format!("fineweb_sample_{split}_000000.bin"));
            let tokens = Shard::open(&path).unwrap().read_all().unwrap();
            assert_eq!(tokens.len() as u64 - 1, targets);
            assert_eq!(tokenizer.byte_table().bytes_of_targets(&tokens), bytes);
            check_round_trip(&tokenizer, &path);
        }
    }
}
