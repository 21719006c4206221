//! Text for a terminal or a table, whatever a stranger wrote.

/// The text with control characters escaped, those that reorder text, end lines or are not to be seen among them.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push_visible(&mut shown, c));
    shown
}

/// Appends a character as [`visible`] shows it.
pub(crate) fn push_visible(out: &mut String, c: char) {
    // U+202A..E and U+2066..9 reorder the text around them ("Trojan Source", CVE-2021-42574), as the marks do; U+2028 and
    // U+2029 end lines. Joiners are left: letters and pictures are put together with them.
    let reorders = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    let is_unseen = matches!(c, '\u{feff}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{2028}' | '\u{2029}');
    if c.is_control() || reorders || is_unseen {
        out.extend(c.escape_default());
    } else {
        out.push(c);
    }
}
