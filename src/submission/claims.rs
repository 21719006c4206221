//! What submission.json claims, under the many names in use.

use serde_json::Value;

use super::SubmissionJson;
use super::submission_json::number;
use crate::manifest::{ClaimedNumber, Track};

/// Fields under which people put the headline number, best first.
const BPB_KEYS: &[&str] = &[
    "val_bpb",
    "val_bpb_mean",
    "mean_val_bpb",
    "bpb",
    "val_bpb_3seed_mean",
    "mean_bpb",
    "three_seed_mean_bpb",
    "final_val_bpb",
    "final_bpb",
    "quantized_bpb",
    "quantized_val_bpb",
    "val_bpb_quantized",
];
/// Fields with the total size.
const TOTAL_KEYS: &[&str] = &[
    "bytes_total",
    "total_bytes",
    "total_submission_bytes",
    "total_submission_bytes_max",
    "bytes_total_max",
    "total_bytes_max",
    "submission_size_bytes",
    "total_submission_size_bytes",
    "max_observed_submission_size_bytes",
    "total_artifact_bytes",
    "artifact_bytes",
    "artifact_size_bytes",
    "artifact_bytes_max",
    "artifact_bytes_mean",
];
/// Fields with the code size.
const CODE_KEYS: &[&str] =
    &["bytes_code", "code_bytes", "code_size_bytes", "code_compressed_bytes", "bytes_code_compressed"];
/// Fields with results by seed.
const SEED_RESULT_KEYS: &[&str] = &[
    "seed_results",
    "per_seed",
    "per_seed_results",
    "val_bpb_per_seed",
    "per_seed_val_bpb",
    "seed_bpbs",
    "val_bpb_seeds",
    "val_bpb_by_seed",
    "seeds",
    "val_bpb_runs",
    "results",
];

/// A number somebody claims, with the field that holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedField {
    /// Dotted field name.
    pub key: String,
    /// The number.
    pub number: ClaimedNumber,
}

/// One seed's claimed result.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedClaim {
    /// The seed.
    pub seed: u64,
    /// Its bits per byte, if given.
    pub bpb: Option<ClaimedNumber>,
    /// Its total size, if given.
    pub total: Option<u64>,
}

impl SubmissionJson {
    fn first_number(&self, keys: &[&str]) -> Option<ClaimedField> {
        keys.iter().find_map(|key| self.number(key).map(|number| ClaimedField { key: key.to_string(), number }))
    }

    /// The headline bits per byte, wherever it stands.
    pub fn bpb(&self) -> Option<ClaimedField> {
        self.first_number(BPB_KEYS)
    }

    /// The claimed total size.
    pub fn total(&self) -> Option<ClaimedField> {
        self.first_number(TOTAL_KEYS)
    }

    /// The claimed code size.
    pub fn code(&self) -> Option<ClaimedField> {
        self.first_number(CODE_KEYS)
    }

    /// Claimed model sizes: `bytes_model`, `bytes_model_int8_zlib`, `model_bytes` ...
    pub fn models(&self) -> Vec<ClaimedField> {
        self.fields
            .iter()
            .filter(|(key, _)| key.starts_with("bytes_model") || *key == "model_bytes")
            .filter_map(|(key, value)| number(value).map(|number| ClaimedField { key: key.clone(), number }))
            .collect()
    }

    /// The track it names: `10min_16mb`, `non-record-16mb`, `track_non_record_16mb` ...
    pub fn track(&self) -> Option<Track> {
        let track = self.text_field("track")?.to_ascii_lowercase();
        let record = track.contains("10min") || track.contains("10-min");
        let non_record = track.contains("non_record") || track.contains("non-record") || track.contains("nonrecord");
        match (record, non_record) {
            // Some name both ("10min_16mb, non-record"): what comes first is the track.
            (true, _) if !non_record || track.starts_with("10min") || track.starts_with("track_10min") => {
                Some(Track::TenMinutes)
            }
            (_, true) => Some(Track::NonRecord),
            _ => None,
        }
    }

    /// Seeds the claim names, sorted: a `seeds` list, or the keys of results by seed, or a single `seed`.
    pub fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = match self.fields.get("seeds") {
            Some(Value::Array(list)) => list.iter().filter_map(seed_value).collect(),
            _ => Vec::new(),
        };
        seeds.extend(self.seed_results().iter().map(|result| result.seed));
        if seeds.is_empty() {
            seeds.extend(self.fields.get("seed").and_then(Value::as_u64));
        }
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// Results by seed, in any of the usual shapes, sorted by seed.
    pub fn seed_results(&self) -> Vec<SeedClaim> {
        let mut results: Vec<SeedClaim> = Vec::new();
        for key in SEED_RESULT_KEYS {
            match self.fields.get(*key) {
                Some(Value::Object(by_seed)) => {
                    // Results of a run stand under `results` as well: only names of seeds count there.
                    let counts = |name: &str| {
                        let digits = name.trim_start_matches("seed").trim_start_matches(['s', '_']);
                        *key != "results" || digits.bytes().all(|byte| byte.is_ascii_digit())
                    };
                    for (name, value) in by_seed.iter().filter(|(name, _)| counts(name)) {
                        if let Some(seed) = seed_name(name) {
                            results.push(seed_claim(seed, value));
                        }
                    }
                }
                Some(Value::Array(list)) => {
                    results.extend(self.beside_seeds(list));
                    for value in list {
                        if let Some(seed) = value.get("seed").and_then(seed_value) {
                            results.push(seed_claim(seed, value));
                        }
                    }
                }
                _ => {}
            }
            if !results.is_empty() {
                break;
            }
        }
        if results.is_empty() {
            results = self.seeds_in_keys();
        }
        results.sort_by_key(|result| result.seed);
        results
    }

    /// A list of numbers as long as the list of seeds beside it.
    fn beside_seeds(&self, list: &[Value]) -> Vec<SeedClaim> {
        let Some(Value::Array(seeds)) = self.fields.get("seeds") else { return Vec::new() };
        let numbers: Vec<ClaimedNumber> = list.iter().filter(|value| !value.is_string()).filter_map(number).collect();
        if numbers.len() != seeds.len() || std::ptr::eq(list.as_ptr(), seeds.as_ptr()) {
            return Vec::new();
        }
        let pairs = seeds.iter().filter_map(seed_value).zip(numbers);
        pairs.map(|(seed, bpb)| SeedClaim { seed, bpb: Some(bpb), total: None }).collect()
    }

    /// `val_bpb_seed42`: seeds in names of fields.
    fn seeds_in_keys(&self) -> Vec<SeedClaim> {
        let seed_of =
            |key: &str| key.strip_prefix("val_bpb_seed").and_then(|rest| rest.trim_start_matches('_').parse().ok());
        let claims = self.fields.iter().filter_map(|(key, value)| Some((seed_of(key)?, number(value)?)));
        claims.map(|(seed, bpb)| SeedClaim { seed, bpb: Some(bpb), total: None }).collect()
    }

    /// The one seed the claim names, where it names no list of them.
    pub fn named_seed(&self) -> Option<u64> {
        let is_one = self.seeds().len() == 1;
        self.fields.get("seed").and_then(seed_value).filter(|_| is_one)
    }

    /// Any number of bits per byte, at any depth, that may be a result.
    pub fn any_bpb(&self) -> Option<String> {
        let mut found = None;
        for (key, value) in &self.fields {
            find_bpb(key, value, 0, &mut found);
        }
        found
    }
}

/// Words of fields about other results, or about differences.
const NO_RESULT: &[&str] =
    &["std", "delta", "baseline", "gain", "improvement", "pre_quant", "prequant", "target", "vs_", "sota"];

fn find_bpb(key: &str, value: &Value, depth: u32, found: &mut Option<String>) {
    let lower = key.to_ascii_lowercase();
    if depth > 4 || found.is_some() || NO_RESULT.iter().any(|word| lower.contains(word)) {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                find_bpb(&format!("{key}.{name}"), value, depth + 1, found);
            }
        }
        _ if lower.contains("bpb") && number(value).is_some_and(|number| number.value() > 0.0) => {
            *found = Some(key.to_string());
        }
        _ => {}
    }
}

/// `1337` or `"1337"`.
fn seed_value(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| seed_name(value.as_str()?))
}

/// `1337`, `seed_1337`, `seed1337`, `s42`.
fn seed_name(name: &str) -> Option<u64> {
    name.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '_').parse().ok()
}

fn seed_claim(seed: u64, value: &Value) -> SeedClaim {
    const BPB: &[&str] = &[
        "val_bpb",
        "bpb",
        "final_bpb",
        "ttt_bpb",
        "ttt_val_bpb",
        "quantized_ttt_bpb",
        "quantized_ttt_val_bpb",
        "sliding_bpb",
        "val_bpb_exact",
        "quantized_bpb",
        "quantized_val_bpb",
    ];
    const TOTAL: &[&str] = &["bytes_total", "total_bytes", "artifact_bytes", "total_artifact_bytes"];
    let field = |names: &[&str]| names.iter().find_map(|name| value.get(*name).and_then(number));
    SeedClaim {
        seed,
        bpb: number(value).or_else(|| field(BPB)),
        total: field(TOTAL).map(|n| n.value()).filter(|n| (1.0..9e15).contains(n)).map(|n| n as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SubmissionJson {
        SubmissionJson::parse("submission.json".into(), text.as_bytes())
    }

    #[test]
    fn the_headline_is_found_under_its_many_names() {
        for (text, key, value) in [
            (r#"{"val_bpb": 1.1628}"#, "val_bpb", 1.1628),
            (r#"{"val_bpb": "1.1628"}"#, "val_bpb", 1.1628),
            (r#"{"val_bpb": null, "mean_val_bpb": 1.2}"#, "mean_val_bpb", 1.2),
            (r#"{"bpb": 0.44}"#, "bpb", 0.44),
        ] {
            let claim = parse(text).bpb().unwrap();
            assert_eq!((claim.key.as_str(), claim.number.value()), (key, value), "{text}");
        }
        assert!(parse(r#"{"val_bpb": "TBD"}"#).bpb().is_none());
    }

    #[test]
    fn seeds_are_found_in_every_shape() {
        for text in [
            r#"{"seeds": [42, 1337]}"#,
            r#"{"seed_results": {"42": {"val_bpb": 1.1}, "1337": {"val_bpb": 1.2}}}"#,
            r#"{"seed_results": [{"seed": 1337, "bpb": 1.2}, {"seed": 42}]}"#,
            r#"{"seeds": {"42": {"val_bpb": 1.1}, "1337": 1.2}}"#,
            r#"{"val_bpb_per_seed": {"seed_42": 1.1, "seed_1337": 1.2}}"#,
        ] {
            assert_eq!(parse(text).seeds(), [42, 1337], "{text}");
        }
        assert_eq!(parse(r#"{"seed": 7}"#).seeds(), [7]);
    }

    #[test]
    fn tracks_are_recognized() {
        for (text, track) in [
            ("10min_16mb", Some(Track::TenMinutes)),
            ("track_non_record_16mb", Some(Track::NonRecord)),
            ("non-record-unlimited-compute", Some(Track::NonRecord)),
            ("something else", None),
        ] {
            assert_eq!(parse(&format!("{{\"track\": \"{text}\"}}")).track(), track, "{text}");
        }
    }

    #[test]
    fn numbers_are_found_under_the_names_in_use() {
        for text in [
            r#"{"results": {"seed_42": 1.1, "seed_1337": {"val_bpb": 1.2}, "step_9": 3.0}}"#,
            r#"{"seed_bpbs": {"42": 1.1, "1337": 1.2}}"#,
            r#"{"val_bpb_seeds": [1.1, 1.2], "seeds": [42, 1337]}"#,
            r#"{"val_bpb_seed42": 1.1, "val_bpb_seed1337": 1.2}"#,
        ] {
            let results = parse(text).seed_results();
            let read: Vec<_> = results.iter().map(|r| (r.seed, r.bpb.as_ref().unwrap().value())).collect();
            assert_eq!(read, [(42, 1.1), (1337, 1.2)], "{text}");
        }
        assert!(parse(r#"{"results": {"val_bpb": 1.1}}"#).seed_results().is_empty());
        assert_eq!(parse(r#"{"quantized_bpb": 1.1}"#).bpb().unwrap().key, "quantized_bpb");
        for key in ["total_bytes_max", "total_submission_size_bytes", "artifact_size_bytes"] {
            assert_eq!(parse(&format!("{{\"{key}\": 15000000}}")).total().unwrap().key, key);
        }
        assert_eq!(parse(r#"{"code_compressed_bytes": 5}"#).code().unwrap().key, "code_compressed_bytes");
        assert_eq!(parse(r#"{"metrics": {"ttt_bpb": 1.1}}"#).any_bpb().as_deref(), Some("metrics.ttt_bpb"));
        assert_eq!(parse(r#"{"val_bpb_std": 0.1, "baseline_bpb": 1.2, "bpb_note": "x"}"#).any_bpb(), None);
        assert_eq!(parse(r#"{"seed": 43}"#).named_seed(), Some(43));
        assert_eq!(parse(r#"{"seed": 43, "seeds": [42, 43]}"#).named_seed(), None);
    }
}
