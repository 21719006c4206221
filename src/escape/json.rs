//! JSON for a terminal and the log of a CI service: the same document, in which such strings are spelled with escapes.

use super::is_shown;

/// The document with what [`visible`](super::visible()) would escape as `\uXXXX`. Only strings have such characters.
pub(crate) fn shown(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    let mut units = [0; 2];
    for c in document.chars() {
        if c == '\n' || is_shown(&shown, c) {
            shown.push(c);
        } else {
            c.encode_utf16(&mut units).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_stays_the_same() {
        let value =
            serde_json::json!({ "a\u{9b}31m": ["\u{202e}\u{e0041}", "##[group]", "::error::x", "Zoë"], "##": [1] });
        let document = serde_json::to_string_pretty(&value).unwrap();
        let shown = shown(&document);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        assert!(!shown.contains(['\u{9b}', '\u{202e}', '\u{e0041}']) && !shown.contains("##["), "{shown}");
        assert!(shown.contains("Zoë"));
    }
}
