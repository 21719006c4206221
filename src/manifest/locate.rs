//! The line of a field in a manifest's text, for messages.

/// 1-based line of the field with this dotted path, or of the section that holds it where the field itself is not
/// found, as one that rests at its default.
pub(super) fn line_of(text: &str, field: &str) -> Option<usize> {
    // `code[0].bytes` stands in the list `code`.
    let mut keys = field.split('.').map(|key| key.split('[').next().unwrap_or(key)).peekable();
    let mut found = None;
    let mut section_indent: Option<usize> = None;
    // Whether the section that was entered last is written in braces: its keys stand anywhere.
    let mut in_braces = false;
    for (index, line) in text.lines().enumerate() {
        let mut rest = line.trim_start_matches('\u{feff}').trim_start();
        let indent = line.len() - rest.len();
        if rest.is_empty() || rest.starts_with('#') {
            continue;
        }
        if !in_braces && section_indent.is_some_and(|section| indent <= section && !rest.starts_with("- ")) {
            break;
        }
        while let Some(&key) = keys.peek() {
            let at = if in_braces { find_key(rest, key) } else { starts_with_key(rest, key) };
            let Some(end) = at else { break };
            keys.next();
            found = Some(index + 1);
            section_indent = Some(indent);
            rest = rest[end..].trim_start();
            in_braces = in_braces || rest.starts_with(['{', '[']);
            if !in_braces {
                break;
            }
        }
        if keys.peek().is_none() {
            break;
        }
    }
    found
}

/// Offset behind `key:` at the beginning of a line, or behind the dash of a list.
fn starts_with_key(line: &str, key: &str) -> Option<usize> {
    let bare = line.trim_start_matches("- ").trim_start_matches(['"', '\'']);
    let after = bare.strip_prefix(key)?.trim_start_matches(['"', '\'']).trim_start();
    after.starts_with(':').then(|| line.len() - after.len() + 1)
}

/// Offset behind `key:` anywhere on a line, where a key may stand.
fn find_key(line: &str, key: &str) -> Option<usize> {
    line.match_indices(key).find_map(|(at, _)| {
        let before = line[..at].trim_end_matches(['"', '\'']).trim_end();
        let is_start = before.is_empty() || before.ends_with(['{', ',', '[']);
        if is_start { starts_with_key(&line[at..], key).map(|end| at + end) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_blocks_and_braces() {
        let text = "schema: x\n# model:\nmodel: { num_layers: 2,\n  model_dim: 16 }\n\nschedule:\n  swa: { every: 0 }\n  \
                    qat:\n    start_frac: 2\nclaim:\n  metrics:\n    val_loss: 1\n    val_bpb: -3\ncode:\n- path: a\n  \
                    bytes: 7\neval:\n  stride: 0\n";
        for (field, line) in [
            ("schema", 1),
            ("model.num_layers", 3),
            ("model.model_dim", 4),
            ("schedule.swa.every", 7),
            ("schedule.qat.start_frac", 9),
            ("claim.metrics.val_bpb", 13),
            ("code[0].path", 15),
            ("eval.stride", 18),
            // Not written: the line of its section.
            ("eval.seq_len", 17),
            ("claim.metrics.steps", 11),
        ] {
            assert_eq!(line_of(text, field), Some(line), "{field}");
        }
        assert_eq!(line_of(text, "name"), None);
    }
}
