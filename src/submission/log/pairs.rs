//! Reads `key:value` and `key=value` out of a log line of any of the hundreds of forms people print.

/// One pair. `key` is everything since the previous value, so `final_int8 val_loss` keeps its label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair<'a> {
    /// Words before the separator, trimmed.
    pub key: &'a str,
    /// The text of the value, without unit.
    pub value: &'a str,
    /// The number, if the value is one; NaN and infinity are numbers here.
    pub number: Option<f64>,
    /// What follows the number directly or after one space: `ms`, `s`, `bytes`, `/20000`.
    pub unit: &'a str,
}

impl<'a> Pair<'a> {
    /// Last word of the key, such as `val_bpb`; a remark in parentheses behind it does not count.
    pub fn name(&self) -> &'a str {
        self.bare_key().rsplit([' ', '\t', '(', '[', ',', '/']).next().unwrap_or_default()
    }

    /// The key without its last word.
    pub fn label(&self) -> &'a str {
        let key = self.bare_key();
        key[..key.len() - self.name().len()].trim_end()
    }

    /// `BPB` of `BPB (sliding, stride 64)`.
    fn bare_key(&self) -> &'a str {
        match self.key.strip_suffix(')').and_then(|key| key.rfind('(')) {
            Some(at) => self.key[..at].trim_end(),
            None => self.key,
        }
    }

    /// A number that ends where a printed number ends: `.8f}` is none.
    pub fn is_plain_number(&self) -> bool {
        self.number.is_some() && (matches!(self.unit, "" | "bpb" | "BPB" | "bits") || self.unit.starts_with('/'))
    }

    /// The value as a number of things: whole, and not negative.
    pub fn count(&self) -> Option<u64> {
        self.number.filter(|value| (0.0..9e15).contains(value) && value.fract() == 0.0).map(|value| value as u64)
    }
}

/// Most pairs looked at in one line.
const MAX_PAIRS: usize = 64;

/// The pairs of a line, left to right.
pub(super) fn pairs<'a>(line: &'a str, out: &mut Vec<Pair<'a>>) {
    out.clear();
    let bytes = line.as_bytes();
    let mut key_start = 0;
    let mut at = 0;
    while at < bytes.len() && out.len() < MAX_PAIRS {
        let about = line.get(at..).is_some_and(|rest| rest.starts_with('≈'));
        if !about && !matches!(bytes[at], b':' | b'=') {
            at += 1;
            continue;
        }
        let key =
            line[key_start..at].trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '{' | '|'));
        let spaced = at + if about { '≈'.len_utf8() } else { 1 };
        let mut start = spaced;
        while start < bytes.len() && matches!(bytes[start], b' ' | b'\t' | b'"' | b'\'' | b'*' | b'~' | b'`') {
            start += 1;
        }
        let digits = number_len(&bytes[start..]);
        if digits > 0 {
            let value = &line[start..start + digits];
            let rest = &line[start + digits..];
            let unit_at = usize::from(rest.starts_with(' '));
            let unit_len =
                rest[unit_at..].bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'%')).count();
            let unit = &rest[unit_at..unit_at + unit_len];
            // A unit must stand close: after a space only known words count, the rest belongs to the next key.
            let attached = unit_at == 0
                || matches!(
                    unit,
                    "bytes" | "B" | "ms" | "s" | "sec" | "seconds" | "MB" | "KB" | "min" | "minutes" | "h" | "hours"
                );
            let unit = if attached { unit } else { "" };
            out.push(Pair { key, value, number: parse(value), unit });
            at = start + digits + if attached { unit_at * usize::from(!unit.is_empty()) + unit.len() } else { 0 };
            key_start = at;
        } else if start == spaced && start < bytes.len() {
            // Text directly after the separator is a value (a path, a name) up to the next space. It may itself hold
            // separators (`INFO:step:1`, `shards pattern=x`), so only paths and plain words are swallowed.
            let len = bytes[start..].iter().take_while(|b| !b.is_ascii_whitespace()).count();
            let value = &line[start..start + len];
            let plain = !value.bytes().any(|b| matches!(b, b':' | b'='));
            out.push(Pair { key, value, number: None, unit: "" });
            at = if plain { start + len } else { start };
            key_start = at;
        } else {
            // `Label: text`: what follows is a new key.
            out.push(Pair { key, value: line[start.min(line.len())..].trim(), number: None, unit: "" });
            at = start.max(at + 1);
            key_start = at;
        }
    }
}

/// Length of the number at the start: sign, digits with commas, fraction, exponent; or nan, inf.
fn number_len(bytes: &[u8]) -> usize {
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let word = &bytes[sign..bytes.len().min(sign + 3)];
    if word.eq_ignore_ascii_case(b"nan") || word.eq_ignore_ascii_case(b"inf") {
        let ends = bytes.get(sign + 3).is_none_or(|b| !b.is_ascii_alphanumeric());
        return if ends { sign + 3 } else { 0 };
    }
    let mut end = sign;
    let mut digits = 0;
    while let Some(&byte) = bytes.get(end) {
        let next_is_digit = bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        match byte {
            b'0'..=b'9' => digits += 1,
            b',' if digits > 0 && next_is_digit && thousands(&bytes[end + 1..]) => {}
            b'.' if next_is_digit => {}
            b'e' | b'E' if digits > 0 && exponent(&bytes[end + 1..]) => end += 1,
            _ => break,
        }
        end += 1;
    }
    if digits == 0 { 0 } else { end }
}

/// Exactly three digits follow.
fn thousands(bytes: &[u8]) -> bool {
    bytes.len() >= 3 && bytes[..3].iter().all(u8::is_ascii_digit) && bytes.get(3).is_none_or(|b| !b.is_ascii_digit())
}

fn exponent(bytes: &[u8]) -> bool {
    match bytes {
        [b'+' | b'-', next, ..] => next.is_ascii_digit(),
        _ => false,
    }
}

fn parse(text: &str) -> Option<f64> {
    if text.contains(',') { text.replace(',', "").parse().ok() } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<(String, String, String)> {
        let mut out = Vec::new();
        pairs(line, &mut out);
        out.iter().map(|p| (p.key.to_string(), p.value.to_string(), p.unit.to_string())).collect()
    }

    fn expect(line: &str, expected: &[(&str, &str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(a, b, c)| (a.to_string(), b.to_string(), c.to_string())).collect();
        assert_eq!(read(line), expected, "{line}");
    }

    #[test]
    fn real_lines_are_taken_apart() {
        expect(
            "step:4354/20000 val_loss:2.0105 val_bpb:1.1907 train_time:601991ms step_avg:138.26ms",
            &[
                ("step", "4354", "/20000"),
                ("val_loss", "2.0105", ""),
                ("val_bpb", "1.1907", ""),
                ("train_time", "601991", "ms"),
                ("step_avg", "138.26", "ms"),
            ],
        );
        expect(
            "Total submission size mixed-int5int6: 15481841 bytes",
            &[("Total submission size mixed-int5int6", "15481841", "bytes")],
        );
        expect(
            "Total submission size: 15,719,916 bytes (280,084 bytes under)",
            &[("Total submission size", "15,719,916", "bytes")],
        );
        expect(
            "4000/20000 val_loss: 6.9384 val_bpb: 4.1093",
            &[("4000/20000 val_loss", "6.9384", ""), ("val_bpb", "4.1093", "")],
        );
        expect(
            "sliding_eval [ 11.9%] 9632/80757 windows running_bpb=2.007353",
            &[("sliding_eval [ 11.9%] 9632/80757 windows running_bpb", "2.007353", "")],
        );
        expect("val_loss:nan val_bpb:-1e-3", &[("val_loss", "nan", ""), ("val_bpb", "-1e-3", "")]);
    }

    #[test]
    fn names_and_labels_are_told_apart() {
        let mut out = Vec::new();
        pairs("final_int6 stride:64 val_bpb:1.1", &mut out);
        assert_eq!((out[0].label(), out[0].name(), out[1].name()), ("final_int6", "stride", "val_bpb"));
    }

    #[test]
    fn numbers_end_where_they_end() {
        for (text, length) in [
            ("1.25x", 4),
            ("-3", 2),
            ("+3,", 2),
            ("-", 0),
            ("1,234,567", 9),
            ("1,23", 1),
            ("1,2345", 1),
            (",5", 0),
            ("1.", 1),
            (".5", 2),
            ("1e-3", 4),
            ("1E+10.", 5),
            ("1e5", 1),
            ("1e-", 1),
            ("e-3", 0),
            ("nan", 3),
            ("NaN,", 3),
            ("-inf", 4),
            ("info", 0),
            ("nan1", 0),
            ("na", 0),
            ("", 0),
        ] {
            assert_eq!(number_len(text.as_bytes()), length, "{text}");
        }
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        let count = |value: &str| {
            let line = format!("n:{value}");
            let mut out = Vec::new();
            pairs(&line, &mut out);
            out[0].count()
        };
        assert_eq!(
            [count("7"), count("1,234"), count("0"), count("-1"), count("1.5"), count("nan"), count("x")],
            [Some(7), Some(1234), Some(0), None, None, None, None]
        );
        assert_eq!((count("8999999999999999"), count("9000000000000000")), (Some(8_999_999_999_999_999), None));
    }

    #[test]
    fn units_stand_close() {
        expect("t: 5 ms next:1", &[("t", "5", "ms"), ("next", "1", "")]);
        expect("t:5ms next:1", &[("t", "5", "ms"), ("next", "1", "")]);
        expect("t: 5 apples next:1", &[("t", "5", ""), ("apples next", "1", "")]);
        expect("step:5/20 x=1", &[("step", "5", "/20"), ("x", "1", "")]);
        expect("path=./a.b c:2", &[("path", "./a.b", ""), ("c", "2", "")]);
        expect("INFO:step:1", &[("INFO", "step:1", ""), ("step", "1", "")]);
        expect("{'a': 1, 'b': 2}", &[("a", "1", ""), ("b", "2", "")]);
        expect("Label: text n:1", &[("Label", "text n:1", ""), ("text n", "1", "")]);
        expect("bold: **5** x", &[("bold", "5", "")]);
        let many = "a:1 ".repeat(70);
        assert_eq!(read(&many).len(), 64);
    }

    #[test]
    fn odd_text_never_panics() {
        for line in [":", "=", "a:", "é:é", ":::", "a:1e", "a:1,2", "a:-", "a:,5", "x=\u{feff}1", "k: \"", "a:1,234,56"]
        {
            read(line);
        }
    }
}
