//! Fields that stand twice in one JSON object, perhaps in other letters. Readers keep one of them, and not all the same.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::submission_json::kind;
use crate::manifest::ClaimedNumber;

/// More are not listed.
const MAX_LISTED: usize = 32;

/// A field that stands twice in one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateKey {
    /// Dotted name.
    pub key: String,
    /// The first of the two, if it is spelled otherwise.
    pub other_spelling: Option<String>,
    /// The two numbers that stand there, where they differ; of lists and objects their kind.
    pub numbers: Option<[String; 2]>,
}

/// The two values, where they are different numbers, or lists and objects of numbers that differ.
fn other_numbers(first: &Value, next: &Value) -> Option<[String; 2]> {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => ClaimedNumber::parse(text).ok().map(|number| number.value()),
        _ => None,
    };
    let differ = match (number(first), number(next)) {
        (Some(first), Some(next)) => first != next,
        (None, None) => first != next && holds_number(first) && holds_number(next),
        _ => false,
    };
    let shown = |value: &Value| match value {
        Value::Array(_) | Value::Object(_) => kind(value).to_string(),
        _ => value.to_string(),
    };
    differ.then(|| [shown(first), shown(next)])
}

/// A key as people, and readers that ignore case, take it.
fn folded(key: &str) -> String {
    key.trim().nfkc().collect::<String>().to_lowercase().replace(['-', ' '], "_")
}

fn holds_number(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::Array(list) => list.iter().any(holds_number),
        Value::Object(fields) => fields.values().any(holds_number),
        _ => false,
    }
}

/// Duplicate fields of a JSON text, in the order of the file; none if it is no JSON.
pub(super) fn duplicate_keys(text: &str) -> Vec<DuplicateKey> {
    let mut found = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    match (Keys { path: "", found: &mut found }).deserialize(&mut reader) {
        Ok(_) => found,
        Err(_) => Vec::new(),
    }
}

/// Reads one value below `path`.
struct Keys<'a> {
    path: &'a str,
    found: &'a mut Vec<DuplicateKey>,
}

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut seen = Map::new();
        let mut spelled: BTreeMap<String, String> = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let next = map.next_value_seed(Keys { path: &path, found: self.found })?;
            let known = spelled.entry(folded(&key)).or_insert_with(|| key.clone());
            if let Some(first) = seen.get(known.as_str())
                && self.found.len() < MAX_LISTED
            {
                let other_spelling = (*known != key).then(|| known.clone());
                self.found.push(DuplicateKey { key: path, other_spelling, numbers: other_numbers(first, &next) });
            }
            seen.insert(key, next);
        }
        Ok(Value::Object(seen))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Keys { path: self.path, found: self.found })? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_stand_twice_are_found_at_any_depth() {
        let keys = |text: &str| duplicate_keys(text).into_iter().map(|found| found.key).collect::<Vec<_>>();
        assert_eq!(keys(r#"{"a": 1, "b": {"c": 1, "c": [2]}, "a": null}"#), ["b.c", "a"]);
        assert_eq!(keys(r#"[{"x": 1.5, "x": "s"}, {"x": true}]"#), ["x"]);
        assert!(keys(r#"{"a": {"x": 1}, "b": {"x": -1}}"#).is_empty());
        assert_eq!(keys(r#"{"val_bpb": 1.1, "Val_BPB": 1, "ｖａｌ-bpb ": 1}"#), ["Val_BPB", "ｖａｌ-bpb "]);
        assert!(keys("{\"a\": 1, \"a\": 2").is_empty() && keys("").is_empty());
        assert!(keys(&"[".repeat(100_000)).is_empty());
    }

    #[test]
    fn other_numbers_are_told_from_other_writings_of_one() {
        let differs = |first: &str, next: &str| {
            let found = duplicate_keys(&format!("{{\"a\": {first}, \"a\": {next}}}"));
            found.first().map(|duplicate| duplicate.numbers.is_some())
        };
        for (first, next) in
            [("1.10", "1.1"), ("\"1.1\"", "1.1"), ("\"x\"", "\"y\""), ("[1, 2]", "[1, 2]"), ("null", "1")]
        {
            assert_eq!(differs(first, next), Some(false), "{first} {next}");
        }
        for (first, next) in
            [("1.10", "1.2"), ("\"15,000,000\"", "15000001"), ("[1, 2]", "[1, 3]"), ("{\"x\": 1}", "[]")]
        {
            let expected = next != "[]";
            assert_eq!(differs(first, next), Some(expected), "{first} {next}");
        }
    }
}
