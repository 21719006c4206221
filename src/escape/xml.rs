//! Text that XML documents can hold, whatever it was.

/// Content of an element: markup is escaped, and what XML 1.0 does not allow (production 2: control characters but tab
/// and line feed, and two non-characters) becomes U+FFFD. So does a carriage return, which parsers would change.
pub(crate) fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\n' | '\t' => escaped.push(c),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The value of an attribute in quotes of either kind; parsers would make spaces of plain tabs and line feeds.
pub(crate) fn attribute(value: &str) -> String {
    let escaped = text(value).replace('"', "&quot;").replace('\'', "&#39;");
    escaped.replace('\n', "&#10;").replace('\t', "&#9;")
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_parser_reads_what_was_written(value in "[\\PC\t\n\"'<>&]{0,40}") {
            let (content, attribute) = (text(&value), attribute(&value));
            let document = format!("<a b=\"{attribute}\" c='{attribute}'>{content}</a>");
            let document = roxmltree::Document::parse(&document).unwrap();
            let root = document.root_element();
            proptest::prop_assert_eq!(root.text().unwrap_or(""), value.as_str());
            for name in ["b", "c"] {
                proptest::prop_assert_eq!(root.attribute(name), Some(value.as_str()));
            }
        }
    }

    #[test]
    fn what_no_document_can_hold_is_replaced() {
        assert_eq!(text("a\u{0}\u{1b}\r\u{ffff}"), "a\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
    }
}
