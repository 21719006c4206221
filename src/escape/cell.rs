//! Cells of a CSV file (RFC 4180), which a spreadsheet may open.

/// What makes a formula of a cell, the full-width forms that some locales take for the same among them.
const STARTS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// A cell: quoted where RFC 4180 asks for it, and with an apostrophe before what spreadsheets would run as a formula.
///
/// Where `;` separates cells, what follows one is a cell, too.
pub(crate) fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for (at, part) in text.split_inclusive(';').enumerate() {
        let is_number = at == 0 && text.parse::<f64>().is_ok();
        if part.trim_start_matches([' ', '"']).starts_with(STARTS) && !is_number {
            safe.push('\'');
        }
        safe.push_str(part);
    }
    if safe.contains([',', ';', '"', '\n', '\r']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_defused_and_numbers_are_not() {
        for (hostile, safe) in [
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
            (" @SUM(1)", "' @SUM(1)"),
            ("\"=1", "\"'\"\"=1\""),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("a;=1+1", "\"a;'=1+1\""),
        ] {
            assert_eq!(cell(hostile), safe);
        }
        for honest in ["-0.5", "+1e-8", "1.1748", "val_bpb is text", "a - b", ""] {
            assert_eq!(cell(honest), honest);
        }
    }
}
