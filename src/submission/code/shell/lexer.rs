//! Shell text cut into commands and words.

use std::iter::Peekable;
use std::str::Chars;

use super::{Command, Joined, Piece, Word};

/// Commands of a piece of shell text whose first line has this number.
pub fn parse(text: &str, first_line: u64) -> Vec<Command> {
    let mut lexer = Lexer {
        chars: text.chars().peekable(),
        line: first_line,
        commands: Vec::new(),
        words: Vec::new(),
        word: None,
        joined: Joined::Start,
        comment: None,
        here: Vec::new(),
    };
    while let Some(c) = lexer.chars.next() {
        lexer.take(c);
    }
    lexer.end_command(Joined::Start);
    lexer.commands
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    line: u64,
    commands: Vec<Command>,
    words: Vec<Word>,
    word: Option<Word>,
    joined: Joined,
    comment: Option<(u64, String)>,
    /// Delimiters of here-documents that begin at the end of the line.
    here: Vec<String>,
}

impl Lexer<'_> {
    fn take(&mut self, c: char) {
        match c {
            '\\' => self.escape(),
            '\'' | '"' => self.quoted(c),
            '$' => self.dollar(),
            '`' => {
                let command = self.until('`');
                self.push(Piece::Substitution(command));
            }
            '#' if self.word.is_none() => {
                let mut text = String::new();
                while let Some(c) = self.chars.next_if(|next| *next != '\n') {
                    text.push(c);
                }
                self.comment = Some((self.line, text.trim().to_string()));
            }
            '<' if self.chars.peek() == Some(&'<') => self.here_document(),
            '&' if self.chars.peek() == Some(&'&') => {
                self.chars.next();
                self.end_command(Joined::And);
            }
            // `2>&1` and `&>` are redirections.
            '&' if self.ends_with('>') || self.chars.peek() == Some(&'>') => self.text('&'),
            '|' | ';' | '&' => {
                while self.chars.next_if(|next| matches!(next, '|' | ';' | '&')).is_some() {}
                self.end_command(Joined::Other);
            }
            '\n' => self.end_line(),
            c if c.is_whitespace() => self.words.extend(self.word.take()),
            c => self.text(c),
        }
    }

    fn end_line(&mut self) {
        // A line that ends in `&&` goes on.
        let goes_on = self.joined == Joined::And && self.words.is_empty() && self.word.is_none();
        self.end_command(if goes_on { Joined::And } else { Joined::Start });
        self.line += 1;
        for delimiter in std::mem::take(&mut self.here) {
            loop {
                let mut line = String::new();
                while let Some(c) = self.chars.next_if(|next| *next != '\n') {
                    line.push(c);
                }
                let ended = self.chars.next().is_none();
                self.line += 1;
                if ended || line.trim() == delimiter {
                    break;
                }
            }
        }
    }

    /// After a backslash. One before blanks at the end of a line is meant to continue it, too.
    fn escape(&mut self) {
        let mut ahead = self.chars.clone();
        let blanks = std::iter::from_fn(|| ahead.next_if(|c| matches!(c, ' ' | '\t' | '\r'))).count();
        if ahead.next() == Some('\n') {
            self.chars.nth(blanks);
            self.line += 1;
        } else if let Some(escaped) = self.chars.next() {
            self.text(escaped);
        }
    }

    fn quoted(&mut self, quote: char) {
        let line = self.line;
        let word = self.word.get_or_insert_with(|| Word { pieces: Vec::new(), line, quoted: false });
        word.quoted |= word.pieces.is_empty();
        while let Some(inner) = self.chars.next() {
            match inner {
                _ if inner == quote => break,
                '\\' if quote == '"' => match self.chars.next() {
                    Some('\n') => self.line += 1,
                    Some(escaped) => {
                        if !matches!(escaped, '$' | '`' | '"' | '\\') {
                            self.text('\\');
                        }
                        self.text(escaped);
                    }
                    None => {}
                },
                '$' if quote == '"' => self.dollar(),
                '`' if quote == '"' => {
                    let command = self.until('`');
                    self.push(Piece::Substitution(command));
                }
                '\n' => {
                    self.line += 1;
                    self.text('\n');
                }
                _ => self.text(inner),
            }
        }
    }

    /// After `$`.
    fn dollar(&mut self) {
        match self.chars.peek().copied() {
            Some('{') => {
                self.chars.next();
                let inner = self.until('}');
                self.push(expansion(&inner));
            }
            Some('(') => {
                self.chars.next();
                let command = self.until_parenthesis();
                self.push(Piece::Substitution(command));
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(c) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                self.push(Piece::Variable { name, default: None, keeps_empty: false });
            }
            Some(c) if c.is_ascii_digit() || matches!(c, '@' | '*' | '#' | '?' | '$' | '!') => {
                self.chars.next();
                self.push(Piece::Variable { name: c.to_string(), default: None, keeps_empty: false });
            }
            _ => self.text('$'),
        }
    }

    fn until(&mut self, end: char) -> String {
        let mut text = String::new();
        for c in self.chars.by_ref() {
            if c == end {
                break;
            }
            self.line += u64::from(c == '\n');
            text.push(c);
        }
        text
    }

    fn until_parenthesis(&mut self) -> String {
        let mut text = String::new();
        let (mut depth, mut quote) = (1usize, None);
        for c in self.chars.by_ref() {
            match (quote, c) {
                (Some(open), c) if open == c => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None, '(') => depth += 1,
                (None, ')') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            self.line += u64::from(c == '\n');
            text.push(c);
        }
        text
    }

    /// At the second `<` of `<<`: a here-document, whose lines are no commands, or the here-string `<<<`.
    fn here_document(&mut self) {
        self.chars.next();
        if self.chars.next_if_eq(&'<').is_some() {
            self.words.extend(self.word.take());
            "<<<".chars().for_each(|c| self.text(c));
            return;
        }
        self.chars.next_if_eq(&'-');
        while self.chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        let mut delimiter = String::new();
        while let Some(c) = self.chars.next_if(|c| !c.is_whitespace() && !matches!(c, ';' | '|' | '&' | ')')) {
            if !matches!(c, '\'' | '"' | '\\') {
                delimiter.push(c);
            }
        }
        if !delimiter.is_empty() {
            self.here.push(delimiter);
        }
    }

    fn ends_with(&self, c: char) -> bool {
        let last = self.word.as_ref().and_then(|word| word.pieces.last());
        matches!(last, Some(Piece::Text(text)) if text.ends_with(c))
    }

    fn text(&mut self, c: char) {
        let line = self.line;
        let word = self.word.get_or_insert_with(|| Word { pieces: Vec::new(), line, quoted: false });
        match word.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push(c),
            _ => word.pieces.push(Piece::Text(c.to_string())),
        }
    }

    fn push(&mut self, piece: Piece) {
        let line = self.line;
        let word = self.word.get_or_insert_with(|| Word { pieces: Vec::new(), line, quoted: false });
        word.pieces.push(piece);
    }

    fn end_command(&mut self, next: Joined) {
        self.words.extend(self.word.take());
        let mut words = std::mem::take(&mut self.words);
        let joined = std::mem::replace(&mut self.joined, next);
        let Some(first) = words.first() else { return };
        let line = first.line;
        let count = words.iter().take_while(|word| word.assignment().is_some()).count();
        let rest = words.split_off(count);
        let assignments = words.iter().filter_map(Word::assignment).collect();
        let comment = self.comment.take().filter(|(at, _)| at + 1 == line).map(|(_, text)| text);
        self.commands.push(Command { line, assignments, words: rest, joined, comment });
    }
}

/// The inside of `${...}`.
fn expansion(inner: &str) -> Piece {
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    let default = rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-'));
    let default = default.or_else(|| rest.strip_prefix(":=")).or_else(|| rest.strip_prefix('='));
    let default = default.map(str::to_string);
    if name.is_empty() || !(rest.is_empty() || default.is_some() || matches!(rest, "[@]" | "[*]")) {
        // Lengths, patterns, substrings: not worked out.
        return Piece::Substitution(format!("${{{inner}}}"));
    }
    let keeps_empty = rest.starts_with(['-', '=']);
    Piece::Variable { name: name.to_string(), default, keeps_empty }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<(u64, Vec<String>)> {
        parse(text, 10).iter().map(|c| (c.line, c.words.iter().map(Word::text).collect())).collect()
    }

    fn owned(expected: &[(u64, &[&str])]) -> Vec<(u64, Vec<String>)> {
        expected.iter().map(|(line, words)| (*line, words.iter().map(|word| word.to_string()).collect())).collect()
    }

    #[test]
    fn words_are_split_as_a_shell_would() {
        let text = "A='x y' B=\"z \\\" w\" cmd 'a b'c \\\n  d # no\nnext 2>&1 | tee log\n";
        assert_eq!(words(text), owned(&[(10, &["cmd", "a bc", "d"]), (12, &["next", "2>&1"]), (12, &["tee", "log"])]));
        let assignments = &parse(text, 10)[0].assignments;
        let values: Vec<(&str, String)> = assignments.iter().map(|a| (a.name.as_str(), a.value.text())).collect();
        assert_eq!(values, [("A", "x y".to_string()), ("B", "z \" w".to_string())]);
    }

    #[test]
    fn blanks_after_a_backslash_still_continue_the_line() {
        assert_eq!(words("a \\  \nb\n"), owned(&[(10, &["a", "b"])]));
        assert_eq!(words("a \\\r\nb\r\nc"), owned(&[(10, &["a", "b"]), (12, &["c"])]));
    }

    #[test]
    fn variables_stay_apart_from_text_that_looks_like_them() {
        let pieces = |text: &str| parse(text, 1)[0].words[0].pieces.clone();
        let variable = |name: &str, default: Option<&str>| Piece::Variable {
            name: name.into(),
            default: default.map(str::to_string),
            keeps_empty: false,
        };
        assert_eq!(pieces("'$A'"), [Piece::Text("$A".into())]);
        assert_eq!(pieces("\\$A"), [Piece::Text("$A".into())]);
        assert_eq!(pieces("x$A"), [Piece::Text("x".into()), variable("A", None)]);
        assert_eq!(pieces("\"${A:-1}b\""), [variable("A", Some("1")), Piece::Text("b".into())]);
        assert_eq!(pieces("${A[@]}"), [variable("A", None)]);
        assert_eq!(pieces("$(seq 1 (2))"), [Piece::Substitution("seq 1 (2)".into())]);
        assert_eq!(pieces("${#A}"), [Piece::Substitution("${#A}".into())]);
        assert_eq!(pieces("$"), [Piece::Text("$".into())]);
    }

    #[test]
    fn here_documents_are_no_commands() {
        let text = "python - <<'EOF' > log\nimport os\ntorchrun x\nEOF\nnext <<< \"$A\"\n";
        assert_eq!(words(text), owned(&[(10, &["python", "-", ">", "log"]), (14, &["next", "<<<", "$A"])]));
        assert_eq!(words("cat <<EOF\nnever closed"), owned(&[(10, &["cat"])]));
    }

    #[test]
    fn comments_belong_to_the_command_below() {
        let parsed = parse("# Seed 42\nA=1 x\n\n# far\n\ny\n", 1);
        assert_eq!(parsed[0].comment.as_deref(), Some("Seed 42"));
        assert_eq!(parsed[1].comment, None);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(?s)[ -~\n\\\\$`'\"<(){}#&|;é]{0,200}") {
            let lines = text.matches('\n').count() as u64 + 1;
            for command in parse(&text, 1) {
                prop_assert!((1..=lines).contains(&command.line));
            }
        }
    }
}
