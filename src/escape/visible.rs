//! Text for a terminal, a table or the log of a CI service, whatever a stranger wrote.

/// The text with control characters escaped, those that reorder text, end lines or are not to be seen among them, and
/// without commands that CI services look for in what a job prints.
///
/// Visible text stays as it is.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push_visible(&mut shown, c));
    shown
}

/// Appends a character as [`visible`] shows it behind what is shown already.
pub(crate) fn push_visible(out: &mut String, c: char) {
    if !is_shown(out, c) {
        // Such as \\n where there is one.
        let short = c.escape_default();
        if short.len() > 1 { out.extend(short) } else { out.extend(c.escape_unicode()) }
    } else {
        out.push(c);
    }
}

/// Whether a character may be shown as it is behind what is shown already.
pub(crate) fn is_shown(before: &str, c: char) -> bool {
    !(c.is_control() || reorders(c) || is_unseen(c) || begins_command(before, c))
}

/// U+202A..E and U+2066..9 reorder the text around them ("Trojan Source", CVE-2021-42574), as the marks do.
fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// Line and paragraph separators, and what Unicode calls default ignorable: text can be written in the tags U+E0020..7F
/// alone. Joiners and variation selectors are left: letters and pictures are put together with them.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{2028}' | '\u{2029}' | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
        | '\u{200b}' | '\u{2800}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e00ff}'
        | '\u{e01f0}'..='\u{e0fff}')
}

/// Whether the character completes what starts a command: `::` at the beginning of a line (GitHub), or `##[`, `##vso[`,
/// `##teamcity[` anywhere (GitHub's older form, Azure, TeamCity).
fn begins_command(before: &str, c: char) -> bool {
    match c {
        ':' => before.trim_start() == ":",
        '[' => before.trim_end_matches(|c: char| c.is_ascii_alphabetic()).ends_with("##"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repaints_reorders_or_hides_is_escaped_and_words_are_not() {
        for (hostile, shown) in [
            ("\u{1b}[31mred\r\n\t", "\\u{1b}[31mred\\r\\n\\t"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b\u{2028}c", "a\\u{202e}b\\u{2028}c"),
            ("\u{e0041}\u{ad}\u{3164}", "\\u{e0041}\\u{ad}\\u{3164}"),
        ] {
            assert_eq!(visible(hostile), shown);
        }
        for honest in ["Zoë, 東京, می‌خواهم, 👩‍💻, ❤️", "a::b [1] # [x] C:\\ ##", "step:1/2 val_bpb:1.1"]
        {
            assert_eq!(visible(honest), honest);
        }
    }

    /// A runner trims a line before it looks for a command.
    #[test]
    fn no_text_is_a_command_of_a_ci_service() {
        for hostile in [
            "::error::x",
            "  ::stop-commands::t",
            "##[group]x",
            "a ##[error]b",
            "##vso[task.complete]",
            "###[endgroup]",
        ] {
            let shown = visible(hostile);
            assert!(!shown.trim_start().starts_with("::") && !shown.contains("##[") && !shown.contains("##vso["));
            assert_eq!(visible(&shown), shown);
        }
    }
}
