//! `submission.json` in all the spellings people use, with what strict readers would refuse kept as facts.

use serde_json::{Map, Value};

use super::duplicate_keys::{DuplicateKey, duplicate_keys};
use super::text::{Encoding, decode};
use crate::manifest::ClaimedNumber;

/// A submission.json is a page of text; one larger than this is not parsed.
pub const MAX_JSON_BYTES: u64 = 4 * 1024 * 1024;

/// Why strict JSON readers refuse the file.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonDefect {
    /// In words.
    pub message: String,
    /// 1-based line.
    pub line: u64,
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
    /// Set if the text is not strict JSON even without a byte-order mark; `fields` is then empty, except for `NaN`
    /// and for a list that holds one object.
    pub defect: Option<JsonDefect>,
    /// `NaN` or `Infinity` stand where JSON allows numbers only; they were read as null.
    pub has_nan: bool,
    /// Fields that stand twice in one object; the last is the one read.
    pub duplicates: Vec<DuplicateKey>,
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
            duplicates: Vec::new(),
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
            Ok(Value::Array(list)) if list.len() == 1 && list.iter().all(Value::is_object) => {
                let message = "the top level is a list of one object: take the brackets away".to_string();
                json.defect = Some(JsonDefect { message, line: 1 });
                json.fields = list
                    .into_iter()
                    .find_map(|object| match object {
                        Value::Object(fields) => Some(fields),
                        _ => None,
                    })
                    .unwrap_or_default();
            }
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
        json.duplicates = duplicate_keys(&json.text);
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

/// A number, also one written as a string.
pub(super) fn number(value: &Value) -> Option<ClaimedNumber> {
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
    fn what_strict_readers_refuse_is_read_and_noted() {
        let nan = parse("{\"val_loss\": NaN, \"name\": \"a NaN \\\" inside\", \"val_bpb\": 1.5}");
        assert!(nan.has_nan && nan.defect.is_none());
        assert_eq!(nan.text_field("name"), Some("a NaN \" inside"));
        let mark = parse("\u{feff}{\"val_bpb\": 1.5}");
        assert_eq!((mark.encoding, mark.bpb().unwrap().number.value()), (Encoding::Utf8Bom, 1.5));
        let listed = parse("[{\"val_bpb\": 1.5}]");
        assert!(listed.defect.as_ref().unwrap().message.contains("list of one object"));
        assert_eq!(listed.bpb().unwrap().number.value(), 1.5);
        let broken = parse("{\n\"a\": 1\n\"b\": 2}");
        assert_eq!(broken.defect.unwrap().line, 3);
        assert!(parse("[1]").defect.is_some());
        assert!(parse(&"[".repeat(100_000)).defect.is_some());
    }
}
