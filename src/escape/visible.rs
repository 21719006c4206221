//! Text for a terminal or a table, whatever a stranger wrote.

/// The text with control and bidirectional-override characters escaped.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push_visible(&mut shown, c));
    shown
}

/// Appends a character as [`visible`] shows it.
pub(crate) fn push_visible(out: &mut String, c: char) {
    // U+202A..E and U+2066..9 reorder the text around them ("Trojan Source", CVE-2021-42574).
    if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') {
        out.extend(c.escape_default());
    } else {
        out.push(c);
    }
}
