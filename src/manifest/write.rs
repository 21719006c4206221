//! Manifests as YAML that every reader reads alike.
//!
//! YAML 1.1, which PyYAML reads, takes `1e-8` for a text, `2026-03-18` for a date and `no` for false. Written here,
//! numbers look like numbers and texts that could be anything else are quoted, so that a manifest fits the published
//! schema whoever reads it. The identity of a manifest does not depend on this form ([`super::canonical_yaml`]).

use std::path::Path;

use serde_yaml::{Number, Value};

use super::{Manifest, canonical_yaml, parse};
use crate::atomic_write;
use crate::escape::is_shown;

/// Writes a manifest, atomically.
pub fn save(manifest: &Manifest, path: &Path) -> Result<(), atomic_write::WriteError> {
    atomic_write::write(path, to_yaml(manifest).as_bytes())
}

/// The text that [`save`] writes: declaration order, defaults written out.
pub fn to_yaml(manifest: &Manifest) -> String {
    // Plain structs with string keys always have a YAML form.
    value_to_yaml(&serde_yaml::to_value(manifest).unwrap_or(Value::Null))
}

/// A tree of sections as YAML text.
pub(crate) fn value_to_yaml(value: &Value) -> String {
    match lines(value) {
        Some(lines) => lines.join("\n") + "\n",
        None => scalar(value) + "\n",
    }
}

/// Whether a text is a manifest as `train`, `pack`, `score` or `reproduce` leaves it, results filled in; a recipe that a
/// person wrote is none.
pub fn is_written(text: &str, path: &Path) -> bool {
    let Ok(manifest) = parse(text, path) else { return false };
    let has_results = manifest.artifact.is_some() || !manifest.results.is_empty();
    // The canonical form is what earlier versions wrote.
    has_results && (to_yaml(&manifest) == text || canonical_yaml(&manifest) == text)
}

/// The lines of a list or a section; `None` for what fits on the line of its key.
fn lines(value: &Value) -> Option<Vec<String>> {
    let mut out = Vec::new();
    match value {
        Value::Sequence(items) if !items.is_empty() => {
            for item in items {
                match lines(item) {
                    None => out.push(format!("- {}", scalar(item))),
                    Some(below) => {
                        let prefix = |i| if i == 0 { "- " } else { "  " };
                        out.extend(below.iter().enumerate().map(|(i, line)| format!("{}{line}", prefix(i))));
                    }
                }
            }
        }
        Value::Mapping(entries) if !entries.is_empty() => {
            for (key, item) in entries {
                let key = scalar(key);
                match lines(item) {
                    None => out.push(format!("{key}: {}", scalar(item))),
                    Some(below) => {
                        out.push(format!("{key}:"));
                        let indent = if item.is_sequence() { "" } else { "  " };
                        out.extend(below.iter().map(|line| format!("{indent}{line}")));
                    }
                }
            }
        }
        _ => return None,
    }
    Some(out)
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => self::number(number),
        Value::String(text) if is_plain(text) => text.clone(),
        Value::String(text) => quoted(text),
        Value::Sequence(_) => "[]".into(),
        Value::Mapping(_) => "{}".into(),
        // No field of a manifest has a tag.
        Value::Tagged(tagged) => scalar(&tagged.value),
    }
}

/// With a point and a signed exponent: YAML 1.1 takes a number without them for a text.
fn number(number: &Number) -> String {
    let text = match number.as_f64() {
        Some(value) if number.is_f64() && value.is_finite() => format!("{value:?}"),
        _ => number.to_string(),
    };
    match text.split_once('e') {
        None => text,
        Some((mantissa, exponent)) => {
            let point = if mantissa.contains('.') { "" } else { ".0" };
            let sign = if exponent.starts_with('-') { "" } else { "+" };
            format!("{mantissa}{point}e{sign}{exponent}")
        }
    }
}

/// Words that some version of YAML reads as something else than text.
const RESERVED: [&str; 12] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "none"];

/// Whether a text needs no quotes in any version of YAML: it begins like a word, or like a path to a parent folder.
fn is_plain(text: &str) -> bool {
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic()) || text.starts_with("../");
    let is_safe =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '(' | ')' | ' ' | ',' | '+');
    begins_well
        && text.chars().all(is_safe)
        && !text.ends_with(' ')
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str())
}

/// In double quotes, with escapes that JSON and YAML have in common.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // Not printable in YAML 1.1, a line end there, or nothing to show to anybody. In pairs of surrogates it would be
            // two characters.
            c if !is_shown(&out, c) || matches!(c, '\u{fffe}' | '\u{ffff}') => match u32::from(c) {
                code @ ..=0xffff => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_looks_like_something_else_is_quoted() {
        for text in [
            "2026-03-18",
            "no",
            "On",
            "0123",
            "1_000",
            ".inf",
            "1:30",
            "0x1f",
            "~",
            "",
            "1e5",
            "- a",
            "a: b",
            "a #b",
            "y",
            "=",
            "<<",
            "null",
            "*a",
            "&a",
            "!t",
            "a ",
            " a",
            "ü",
            "a\u{85}b",
            "\u{feff}",
            "{}",
            "[1]",
            "%a",
            "@a",
        ] {
            let written = scalar(&Value::from(text));
            assert!(written.starts_with('"'), "{text}: {written}");
            assert_eq!(serde_yaml::from_str::<String>(&written).unwrap(), text);
        }
        for text in ["smoke", "../data", "fineweb train", "linux-x86_64", "model.golf"] {
            assert_eq!(scalar(&Value::from(text)), text);
        }
    }

    #[test]
    fn numbers_have_a_point_and_a_signed_exponent() {
        for (value, expected) in [(1e-8, "1.0e-8"), (1e16, "1.0e+16"), (2.5e-7, "2.5e-7"), (0.03, "0.03"), (3.0, "3.0")]
        {
            let written = scalar(&Value::from(value));
            assert_eq!(written, expected);
            assert_eq!(serde_yaml::from_str::<f64>(&written).unwrap(), value);
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_recognized() {
        let path = Path::new("m.yaml");
        let text = include_str!("../../manifests/pr-286.yaml");
        let mut manifest = parse(text, path).unwrap();
        manifest.notes.push("a: \"b\"\n# c".into());
        assert_eq!(parse(&to_yaml(&manifest), path).unwrap(), manifest);
        assert!(!is_written(&to_yaml(&manifest), path), "a recipe without results");
        manifest.results.stages.insert("train".into(), super::super::StageRecord { inputs: vec![], outputs: vec![] });
        assert!(is_written(&to_yaml(&manifest), path));
        assert!(is_written(&canonical_yaml(&manifest), path));
        assert!(!is_written(&format!("# by hand\n{}", to_yaml(&manifest)), path));
    }

    /// PyYAML and the published schema as independent readers.
    #[test]
    #[ignore = "needs Python with PyYAML and jsonschema"]
    fn another_reader_finds_the_schema_kept() {
        let mut manifest = parse(include_str!("../../manifests/pr-286.yaml"), Path::new("m.yaml")).unwrap();
        manifest.claim.date = Some("2026-03-18".into());
        manifest.claim.author = Some("no".into());
        manifest.claim.title = Some("0123".into());
        manifest.optimizer.adam.eps = 1e-8;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.yaml");
        save(&manifest, &path).unwrap();
        let script = "import sys, json, yaml, jsonschema\n\
                      m = yaml.safe_load(open(sys.argv[1], encoding='utf-8'))\n\
                      jsonschema.validate(m, json.load(open(sys.argv[2])))\n\
                      assert m['claim']['date'] == '2026-03-18' and m['claim']['author'] == 'no', m['claim']\n\
                      assert m['optimizer']['adam']['eps'] == 1e-8\n";
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/manifest.schema.json");
        let status = std::process::Command::new("python3").args(["-c", script]).arg(&path).arg(schema).status();
        assert!(status.unwrap().success());
    }
}
