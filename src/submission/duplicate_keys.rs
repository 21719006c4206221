//! Fields that stand twice in one JSON object. Readers keep one of them, and not all the same one.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// More are not listed.
const MAX_LISTED: usize = 32;

/// A field that stands twice in one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateKey {
    /// Dotted name.
    pub key: String,
}

/// Duplicate fields of a JSON text, in the order of the file; none if it is no JSON.
pub(super) fn duplicate_keys(text: &str) -> Vec<DuplicateKey> {
    let mut found = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    match (Keys { path: "", found: &mut found }).deserialize(&mut reader) {
        Ok(()) => found,
        Err(_) => Vec::new(),
    }
}

/// Reads one value below `path`.
struct Keys<'a> {
    path: &'a str,
    found: &'a mut Vec<DuplicateKey>,
}

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            map.next_value_seed(Keys { path: &path, found: self.found })?;
            if !seen.insert(key) && self.found.len() < MAX_LISTED {
                self.found.push(DuplicateKey { key: path });
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Keys { path: self.path, found: self.found })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
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
        assert!(keys("{\"a\": 1, \"a\": 2").is_empty() && keys("").is_empty());
        assert!(keys(&"[".repeat(100_000)).is_empty());
    }
}
