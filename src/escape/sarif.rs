//! Messages and places of SARIF 2.1.0.

/// A plain text message in which nothing is a link (section 3.11.6) or a placeholder (3.11.5). Brackets and braces that
/// mean neither stay, since viewers that know of neither show escapes as they are.
pub(crate) fn message(text: &str) -> String {
    let links = if text.contains("](") {
        text.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]")
    } else {
        text.to_string()
    };
    if has_placeholder(&links) { links.replace('{', "{{").replace('}', "}}") } else { links }
}

/// Digits in braces.
fn has_placeholder(text: &str) -> bool {
    text.split('{').skip(1).any(|rest| {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        after.len() < rest.len() && after.starts_with('}')
    })
}

/// A path as a relative URI reference (RFC 3986): unreserved characters and `/` stay, everything else is escaped.
pub(crate) fn uri(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                escaped.push(char::from(byte))
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("records/a b/ü#1.log"), "records/a%20b/%C3%BC%231.log");
        assert_eq!(uri("javascript:x/%2e?q"), "javascript%3Ax/%252e%3Fq");
    }

    #[test]
    fn messages_link_to_nothing_and_have_no_placeholders() {
        assert_eq!(message("[click](https://x.example) C:\\"), "\\[click\\](https://x.example) C:\\\\");
        assert_eq!(message("\\u{0} of {1b}"), "\\u{{0}} of {{1b}}");
        for plain in ["[42, 1337] and {a}", "\\u{1b}[31m", "x[0]"] {
            assert_eq!(message(plain), plain);
        }
    }
}
