//! Markdown as GitHub renders it (GFM and what is done to text behind it: mentions, references, emoji, formulas).

/// Plain text as Markdown text: nothing in it can format, link, mention or leave its table cell.
///
/// Escapes do not keep a renderer from making links of addresses, `@names` and `#1`: it looks for those in the text that
/// is left when escapes are gone, but not in code. So such words become code.
pub(crate) fn text(text: &str) -> String {
    let words: Vec<String> = text
        .split([' ', '\n', '\r', '\t'])
        .map(|word| if is_made_a_link(word) { code(word) } else { escaped(word) })
        .collect();
    words.join(" ")
}

/// What renderers turn into something else than the word.
fn is_made_a_link(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let is_emoji = || {
        let name = |c: char| c.is_ascii_alphanumeric() || "_+-".contains(c);
        word.split(':').skip(1).any(|part| !part.is_empty() && part.chars().all(name)) && word.matches(':').count() > 1
    };
    word.contains(['@', '#', '$'])
        || ["://", "www.", "mailto:", "xmpp:", "gh-"].iter().any(|start| lower.contains(start))
        || is_emoji()
}

fn escaped(word: &str) -> String {
    let mut escaped = String::with_capacity(word.len());
    for c in word.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Text as code, for tables and elsewhere. What would need escapes inside of backticks is written in HTML, where
/// everything can be a number.
pub(crate) fn code(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ");
    if text.trim().is_empty() {
        return String::new();
    }
    if !text.contains(['`', '|']) {
        return format!("`{text}`");
    }
    let mut code = String::from("<code>");
    for c in text.chars() {
        if c.is_ascii_punctuation() { code.push_str(&format!("&#{};", u32::from(c))) } else { code.push(c) }
    }
    code + "</code>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_submission_cannot_format() {
        assert_eq!(
            text("<img src=x> | [a](b) **c** _d_ \\`"),
            "&lt;img src=x&gt; \\| \\[a\\](b) \\*\\*c\\*\\* \\_d\\_ \\\\\\`"
        );
        for word in ["@you", "a/b#1", "https://x.example", "WWW.x.example", "me@x.example", ":tada:", "GH-7", "$x$"] {
            assert_eq!(text(&format!("see {word} there")), format!("see `{word}` there"));
        }
        assert_eq!(text("train.log:41 1.1 of 1.2, a:b"), "train.log:41 1.1 of 1.2, a:b");
    }

    #[test]
    fn code_ends_where_it_ends() {
        assert_eq!(code("a b"), "`a b`");
        assert_eq!(code("a\\|`b"), "<code>a&#92;&#124;&#96;b</code>");
        assert_eq!(code(" \n"), "");
    }
}
