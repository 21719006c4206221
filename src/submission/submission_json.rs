//! `submission.json` in all the spellings people use, with what strict readers would refuse kept as facts.

use serde_json::{Map, Value};

use super::text::{Encoding, decode};
use crate::manifest::{ClaimedNumber, Track};

/// A submission.json is a page of text; one larger than this is not parsed.
pub const MAX_JSON_BYTES: u64 = 4 * 1024 * 1024;

/// Fields under which people put the headline number, best first.
const BPB_KEYS: &[&str] = &["val_bpb", "val_bpb_mean", "mean_val_bpb", "bpb", "val_bpb_3seed_mean", "mean_bpb"];
/// Fields with the total size.
const TOTAL_KEYS: &[&str] = &[
    "bytes_total",
    "total_bytes",
    "total_submission_bytes",
    "total_submission_bytes_max",
    "bytes_total_max",
    "submission_size_bytes",
    "total_artifact_bytes",
    "artifact_bytes",
    "artifact_size_bytes",
    "artifact_bytes_max",
    "artifact_bytes_mean",
];
/// Fields with the code size.
const CODE_KEYS: &[&str] = &["bytes_code", "code_bytes"];
/// Fields with results by seed.
const SEED_RESULT_KEYS: &[&str] =
    &["seed_results", "per_seed", "per_seed_results", "val_bpb_per_seed", "per_seed_val_bpb", "seeds", "val_bpb_runs"];

/// Why strict JSON readers refuse the file.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonDefect {
    /// In words.
    pub message: String,
    /// 1-based line.
    pub line: u64,
}

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

/// What was read. Missing or odd fields are facts for the rules, never errors here.
#[derive(Clone, Debug)]
pub struct SubmissionJson {
    /// Relative path.
    pub path: String,
    /// Encoding; a byte-order mark makes strict readers fail.
    pub encoding: Encoding,
    /// The top-level object; empty if there is none.
    pub fields: Map<String, Value>,
    /// Set if the text is not strict JSON even without a byte-order mark; `fields` is then empty, except for `NaN`.
    pub defect: Option<JsonDefect>,
    /// `NaN` or `Infinity` stand where JSON allows numbers only; they were read as null.
    pub has_nan: bool,
    text: String,
}

impl SubmissionJson {
    /// Parses the bytes of a submission.json. Depth is limited by the JSON reader (128 levels).
    pub fn parse(path: String, bytes: &[u8]) -> Self {
        let (text, encoding) = decode(bytes);
        let mut json = SubmissionJson {
            path,
            encoding,
            fields: Map::new(),
            defect: None,
            has_nan: false,
            text: text.into_owned(),
        };
        let mut parsed = serde_json::from_str::<Value>(&json.text);
        if parsed.is_err() {
            let repaired = without_nan(&json.text);
            if repaired != json.text
                && let Ok(value) = serde_json::from_str(&repaired)
            {
                json.has_nan = true;
                parsed = Ok(value);
            }
        }
        match parsed {
            Ok(Value::Object(fields)) => json.fields = fields,
            Ok(other) => {
                let message = format!("the top level is {}, not an object", kind(&other));
                json.defect = Some(JsonDefect { message, line: 1 });
            }
            Err(error) => {
                let text = error.to_string();
                let message = text.split(" at line ").next().unwrap_or(&text).to_string();
                json.defect = Some(JsonDefect { message, line: error.line() as u64 });
            }
        }
        json
    }

    /// 1-based line on which a top-level field stands, for evidence.
    pub fn line_of(&self, key: &str) -> u64 {
        let key = key.split('.').next().unwrap_or(key);
        let quoted = format!("\"{key}\"");
        match self.text.find(&quoted) {
            Some(at) => self.text[..at].bytes().filter(|&b| b == b'\n').count() as u64 + 1,
            None => 1,
        }
    }

    /// A number, also one written as a string.
    pub fn number(&self, key: &str) -> Option<ClaimedNumber> {
        self.fields.get(key).and_then(number)
    }

    /// A text field.
    pub fn text_field(&self, key: &str) -> Option<&str> {
        self.fields.get(key).and_then(Value::as_str)
    }

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
                    for (name, value) in by_seed {
                        if let Some(seed) = seed_name(name) {
                            results.push(seed_claim(seed, value));
                        }
                    }
                }
                Some(Value::Array(list)) => {
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
        results.sort_by_key(|result| result.seed);
        results
    }

    /// Every text value at any depth with the top-level field it stands in; keys are left out.
    pub fn texts(&self) -> Vec<(&str, &str)> {
        let mut texts = Vec::new();
        for (key, value) in &self.fields {
            collect_texts(key, value, &mut texts);
        }
        texts
    }
}

fn collect_texts<'a>(key: &'a str, value: &'a Value, out: &mut Vec<(&'a str, &'a str)>) {
    match value {
        Value::String(text) => out.push((key, text)),
        Value::Array(list) => list.iter().for_each(|value| collect_texts(key, value, out)),
        Value::Object(fields) => fields.values().for_each(|value| collect_texts(key, value, out)),
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
    const BPB: &[&str] = &["val_bpb", "bpb", "final_bpb", "ttt_bpb", "sliding_bpb", "val_bpb_exact"];
    const TOTAL: &[&str] = &["bytes_total", "total_bytes", "artifact_bytes", "total_artifact_bytes"];
    let field = |names: &[&str]| names.iter().find_map(|name| value.get(*name).and_then(number));
    SeedClaim {
        seed,
        bpb: number(value).or_else(|| field(BPB)),
        total: field(TOTAL).map(|n| n.value()).filter(|n| (1.0..9e15).contains(n)).map(|n| n as u64),
    }
}

/// A number, also one written as a string.
fn number(value: &Value) -> Option<ClaimedNumber> {
    match value {
        Value::Number(number) => ClaimedNumber::parse(&number.to_string()).ok(),
        Value::String(text) => ClaimedNumber::parse(text).ok(),
        _ => None,
    }
}

/// Words for a JSON value's type.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Bare `NaN`, `Infinity` and `-Infinity` outside strings become `null`, as Python's reader accepts them.
fn without_nan(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_string = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !in_string
            && let Some(word) = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| rest.starts_with(word))
        {
            out.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        let mut taken = c.len_utf8();
        match c {
            '"' => in_string = !in_string,
            '\\' if in_string => taken += rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
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
    fn what_strict_readers_refuse_is_read_and_noted() {
        let nan = parse("{\"val_loss\": NaN, \"name\": \"a NaN \\\" inside\", \"val_bpb\": 1.5}");
        assert!(nan.has_nan && nan.defect.is_none());
        assert_eq!(nan.text_field("name"), Some("a NaN \" inside"));
        let mark = parse("\u{feff}{\"val_bpb\": 1.5}");
        assert_eq!((mark.encoding, mark.bpb().unwrap().number.value()), (Encoding::Utf8Bom, 1.5));
        let broken = parse("{\n\"a\": 1\n\"b\": 2}");
        assert_eq!(broken.defect.unwrap().line, 3);
        assert!(parse("[1]").defect.is_some());
        assert!(parse(&"[".repeat(100_000)).defect.is_some());
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
}
