//! Text as the oldest protocol spells it: with escapes, which hide a name as well as any other text.

/// The bytes of a STRING operand: a quoted Python literal. `None` without quotes.
pub(super) fn string_literal(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii_end();
    let (quote, rest) = line.split_first()?;
    let (last, inner) = rest.split_last()?;
    if !matches!(quote, b'\'' | b'"') || quote != last {
        return None;
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut at = 0;
    while let Some(&byte) = inner.get(at) {
        at += 1;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let &escape = inner.get(at)?;
        at += 1;
        let plain = match escape {
            b'\\' | b'\'' | b'"' => Some(escape),
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'a' => Some(7),
            b'b' => Some(8),
            b'f' => Some(12),
            b'v' => Some(11),
            _ => None,
        };
        if let Some(plain) = plain {
            bytes.push(plain);
        } else if escape == b'x' {
            bytes.push(u8::try_from(number(inner.get(at..at + 2)?, 16)?).ok()?);
            at += 2;
        } else if escape.is_ascii_digit() && escape < b'8' {
            let digits = inner.get(at - 1..)?.iter().take(3).take_while(|digit| (b'0'..b'8').contains(digit)).count();
            bytes.push(number(inner.get(at - 1..at - 1 + digits)?, 8)? as u8);
            at += digits - 1;
        } else {
            bytes.extend([b'\\', escape]);
        }
    }
    Some(bytes)
}

/// The text of a UNICODE operand: Latin-1 with `\uXXXX` and `\UXXXXXXXX` (`raw-unicode-escape`).
///
/// Other readers take the bytes for UTF-8; where they are, so does this one, because only ASCII names matter.
pub(super) fn unicode_line(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let digits = match escape.as_bytes().get(1) {
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => 0,
        };
        let code = escape.as_bytes().get(2..2 + digits).filter(|digits| !digits.is_empty());
        match code.and_then(|digits| number(digits, 16)).and_then(char::from_u32) {
            Some(letter) => {
                out.push(letter);
                rest = escape.get(2 + digits..).unwrap_or("");
            }
            None => {
                // A backslash that stands for itself takes the next one with it.
                let taken = if escape.starts_with("\\\\") { 2 } else { 1 };
                let (itself, after) = escape.split_at(taken);
                out.push_str(itself);
                rest = after;
            }
        }
    }
    out + rest
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    // `from_str_radix` takes a sign, which no escape has.
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_taken_as_python_takes_them() {
        assert_eq!(string_literal(b"'\\x6fs'").unwrap(), b"os");
        assert_eq!(string_literal(b"\"\\157\\163\\n\\q\" ").unwrap(), b"os\n\\q");
        assert_eq!(string_literal(b"os"), None);
        assert_eq!(string_literal(b"'os\""), None);
        assert_eq!(string_literal(b"'"), None);
        assert_eq!(unicode_line(b"\\u006fs"), "os");
        assert_eq!(unicode_line(b"a\\\\u006f\\U0000006f\\x"), "a\\\\u006fo\\x");
    }
}
