//! Python source as a syntax tree, parsed within bounds.
//!
//! The parser is ruff's: maintained, recovers from errors, knows Python up to 3.14 and says which version a construct
//! needs. (`rustpython-parser`, the older choice, has had no release since 2024 and rejects f-strings of Python 3.12.)

use ruff_python_ast::token::TokenKind;
use ruff_python_ast::{ModModule, PythonVersion};
use ruff_python_parser::{Mode, ParseOptions, Parsed, lexer, parse_unchecked};
use ruff_text_size::{Ranged, TextRange, TextSize};

/// Largest source parsed: twenty times the largest script submitted so far.
pub const MAX_SOURCE_BYTES: usize = 4 << 20;

/// Most tokens parsed: ten times those of the largest script submitted so far. A tree takes some hundred bytes a token.
pub const MAX_TOKENS: usize = 400_000;

/// Most places that are no token of Python: a damaged script has a few, a file that is no Python has nothing else.
pub const MAX_STRAY: usize = 100;

/// Syntax errors kept of a file; the first is what matters.
const MAX_PROBLEMS: usize = 50;

/// Text of a line kept for evidence, which quotes far less.
const MAX_LINE_BYTES: usize = 1_000;

/// Deepest nesting parsed. CPython stops at 200 brackets; chains of operators go deeper in trees than in text.
///
/// The bound keeps recursion over the tree, and its destruction, within a thread's usual 2 MiB of stack.
pub const MAX_DEPTH: usize = 1_000;

/// A parsed file.
pub struct Python {
    parsed: Parsed<ModModule>,
    text: String,
    line_starts: Vec<u32>,
}

/// Why a file was not parsed. That is no syntax error: nothing is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseRefusal {
    /// Too long.
    #[error("{0} bytes of source, more than {MAX_SOURCE_BYTES} are not parsed")]
    TooLarge(usize),
    /// Too many tokens.
    #[error("more than {MAX_TOKENS} tokens, not parsed")]
    TooManyTokens,
    /// A NUL byte: Python refuses to read it.
    #[error("line {line}: holds a NUL byte, which no Python source does, not parsed")]
    Binary {
        /// 1-based line of the first.
        line: u64,
    },
    /// Hardly anything in it is Python.
    #[error("line {line}: more than {MAX_STRAY} places up to here are no Python, not parsed")]
    Junk {
        /// 1-based line where the bound was passed.
        line: u64,
    },
    /// Too deep.
    #[error("line {line}: nested more than {MAX_DEPTH} deep, not parsed")]
    TooDeep {
        /// 1-based line where the bound was passed.
        line: u64,
    },
}

/// A syntax error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxProblem {
    /// 1-based line.
    pub line: u64,
    /// What the parser says.
    pub message: String,
    /// The line's text.
    pub text: String,
}

impl Python {
    /// Parses a whole file. Syntax errors are kept, see [`Python::syntax_errors`].
    pub fn parse(text: &str) -> Result<Self, ParseRefusal> {
        if text.len() > MAX_SOURCE_BYTES {
            return Err(ParseRefusal::TooLarge(text.len()));
        }
        let line_starts = line_starts(text);
        if let Some(offset) = text.find('\0') {
            return Err(ParseRefusal::Binary { line: line_of(&line_starts, offset as u32) });
        }
        if let Some((bound, offset)) = beyond_bounds(text) {
            let line = line_of(&line_starts, offset);
            return Err(match bound {
                Bound::Depth => ParseRefusal::TooDeep { line },
                Bound::Stray => ParseRefusal::Junk { line },
                Bound::Tokens => ParseRefusal::TooManyTokens,
            });
        }
        // 3.11 is the oldest version the challenge's image had; newer syntax is reported apart.
        let options = ParseOptions::from(Mode::Module).with_target_version(PythonVersion::PY311);
        let empty = || parse_unchecked("", ParseOptions::from(Mode::Module)).try_into_module();
        let parsed = parse_unchecked(text, options).try_into_module().or_else(empty);
        // Mode::Module gives a module, always; an empty one stands in for what cannot happen.
        let Some(parsed) = parsed else { return Err(ParseRefusal::TooLarge(text.len())) };
        Ok(Python { parsed, text: text.to_string(), line_starts })
    }

    /// The tree.
    pub fn module(&self) -> &ModModule {
        self.parsed.syntax()
    }

    /// The source.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// 1-based line of a place.
    pub fn line(&self, at: TextSize) -> u64 {
        line_of(&self.line_starts, at.to_u32())
    }

    /// Source of a node.
    pub fn source(&self, range: TextRange) -> &str {
        self.text.get(range.start().to_usize()..range.end().to_usize()).unwrap_or_default()
    }

    /// Text of the line a place is on, cut after 1,000 bytes.
    pub fn line_text(&self, at: TextSize) -> &str {
        let index = (self.line(at) - 1) as usize;
        let start = self.line_starts.get(index).map_or(0, |start| *start as usize);
        let end = self.line_starts.get(index + 1).map_or(self.text.len(), |next| *next as usize);
        let line = self.text.get(start..end).unwrap_or_default().trim();
        line.get(..line.floor_char_boundary(MAX_LINE_BYTES)).unwrap_or(line)
    }

    /// Errors in any version of Python, the first of them.
    pub fn syntax_errors(&self) -> Vec<SyntaxProblem> {
        let problem = |range: TextRange, message: String| self.problem(range, message);
        self.parsed
            .errors()
            .iter()
            .take(MAX_PROBLEMS)
            .map(|error| problem(error.location, error.error.to_string()))
            .collect()
    }

    /// Constructs that Python 3.11 rejects and 3.12 or later accepts, the first of them.
    pub fn needs_3_12(&self) -> Vec<SyntaxProblem> {
        let unsupported = self.parsed.unsupported_syntax_errors().iter().take(MAX_PROBLEMS);
        unsupported.map(|error| self.problem(error.range(), error.to_string())).collect()
    }

    fn problem(&self, range: TextRange, message: String) -> SyntaxProblem {
        let line = self.line(range.start());
        SyntaxProblem { line, message, text: self.line_text(range.start()).to_string() }
    }
}

fn line_starts(text: &str) -> Vec<u32> {
    let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    // The size bound keeps offsets within u32.
    std::iter::once(0).chain(newlines.map(|(offset, _)| offset as u32 + 1)).collect()
}

fn line_of(starts: &[u32], offset: u32) -> u64 {
    starts.partition_point(|start| *start <= offset).max(1) as u64
}

/// What a file has too much of.
enum Bound {
    Depth,
    Stray,
    Tokens,
}

/// The first bound that a file passes, and where, from its tokens alone: the tree could become deeper than
/// [`MAX_DEPTH`], there are more than [`MAX_TOKENS`], or more than [`MAX_STRAY`] that are none.
///
/// Of depth it counts, along the open brackets and blocks, every token that can add a level: brackets, operators, calls and
/// subscripts in a chain. A comma ends the elements before it, a new line the statement.
fn beyond_bounds(text: &str) -> Option<(Bound, u32)> {
    let mut lexer = lexer::lex(text, Mode::Module);
    let mut blocks = 0usize;
    // One counter an open bracket, the statement's own first; their sum is `chained`.
    let mut counters = vec![0usize];
    let mut chained = 0usize;
    let mut consumed = 0u32;
    let mut stray = 0usize;
    let mut tokens = 0usize;
    loop {
        let kind = lexer.next_token();
        let open = counters.len();
        let last = counters.last_mut()?;
        match kind {
            TokenKind::EndOfFile => return None,
            TokenKind::Unknown => stray += 1,
            TokenKind::Indent => blocks += 1,
            TokenKind::Dedent => blocks = blocks.saturating_sub(1),
            TokenKind::Newline => {
                counters = vec![0];
                chained = 0;
                consumed += 1;
            }
            TokenKind::Comma => {
                chained -= *last;
                *last = 0;
            }
            TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace => {
                *last += 1;
                chained += 1;
                counters.push(0);
            }
            TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace if open > 1 => {
                chained -= counters.pop().unwrap_or(0);
            }
            kind if deepens(kind) => {
                *last += 1;
                chained += 1;
            }
            _ => {}
        }
        tokens += 1;
        let bound = match () {
            () if blocks + counters.len() + chained > MAX_DEPTH => Bound::Depth,
            () if stray > MAX_STRAY => Bound::Stray,
            () if tokens > MAX_TOKENS => Bound::Tokens,
            () => continue,
        };
        // Lines of code so far stand in for the place: the lexer keeps its position to itself.
        return Some((bound, nth_line_offset(text, consumed)));
    }
}

fn nth_line_offset(text: &str, lines: u32) -> u32 {
    let mut newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    match lines.checked_sub(1).and_then(|n| newlines.nth(n as usize)) {
        Some((offset, _)) => offset as u32 + 1,
        None => 0,
    }
}

fn deepens(kind: TokenKind) -> bool {
    kind.is_operator() && !matches!(kind, TokenKind::Equal | TokenKind::Semi)
        || matches!(
            kind,
            TokenKind::Not
                | TokenKind::And
                | TokenKind::Or
                | TokenKind::If
                | TokenKind::Else
                | TokenKind::Lambda
                | TokenKind::Await
                | TokenKind::Yield
                | TokenKind::For
                | TokenKind::In
                | TokenKind::Is
                | TokenKind::Dot
                | TokenKind::FStringStart
                | TokenKind::TStringStart
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn errors_carry_their_line() {
        let python = Python::parse("a = 1\ndef f(:\n    pass\n").unwrap();
        let errors = python.syntax_errors();
        assert_eq!((errors[0].line, errors[0].text.as_str()), (2, "def f(:"));
        assert!(Python::parse("def f():\n    return 1\n").unwrap().syntax_errors().is_empty());
    }

    #[test]
    fn newer_f_strings_are_told_from_errors() {
        // Same quotes inside: PEP 701, Python 3.12.
        let python = Python::parse("d = {'a': 1}\nprint(f'{d['a']}')\n").unwrap();
        assert!(python.syntax_errors().is_empty());
        assert_eq!(python.needs_3_12()[0].line, 2);
    }

    #[test]
    fn deep_and_long_sources_are_refused_before_they_are_parsed() {
        for text in [
            "(".repeat(100_000),
            format!("x = {}1", "-".repeat(100_000)),
            format!("x = {}1", "not ".repeat(100_000)),
            format!("x = a{}", ".b".repeat(100_000)),
            format!("x = a{}", "(1, 2)".repeat(100_000)),
            format!("x = 1{}", " + 1".repeat(100_000)),
            format!("x = {}1", "lambda: ".repeat(100_000)),
            format!("x = {}1", "1 if a else ".repeat(100_000)),
            (0..2_000).map(|i| format!("{}if a:\n", " ".repeat(i))).collect(),
            "f'{".repeat(5_000),
        ] {
            let refused = Python::parse(&text).err();
            assert!(matches!(refused, Some(ParseRefusal::TooDeep { .. })), "{}: {refused:?}", &text[..20]);
        }
        assert!(matches!(Python::parse(&" ".repeat(MAX_SOURCE_BYTES + 1)), Err(ParseRefusal::TooLarge(_))));
    }

    #[test]
    fn what_is_no_python_is_refused_before_it_is_parsed() {
        for junk in ["?", "? ", "$\n", "\u{fffd}\u{fffd} "] {
            let refused = Python::parse(&junk.repeat(100_000)).err();
            assert!(matches!(refused, Some(ParseRefusal::Junk { .. })), "{junk:?}: {refused:?}");
        }
        assert_eq!(Python::parse("x = 1\n\0").err(), Some(ParseRefusal::Binary { line: 2 }));
        assert_eq!(Python::parse(&"x\n".repeat(MAX_TOKENS)).err(), Some(ParseRefusal::TooManyTokens));
        // A damaged script is still one.
        let damaged = Python::parse(&"x = 1 ?\n".repeat(MAX_STRAY)).unwrap();
        assert_eq!(damaged.syntax_errors().len(), MAX_PROBLEMS);
    }

    /// Every error quotes its line, and there may be one a byte.
    #[test]
    fn errors_of_one_long_line_take_little_memory() {
        let python = Python::parse(&"1 ".repeat(MAX_TOKENS / 2)).unwrap();
        let quoted: usize = python.syntax_errors().iter().map(|problem| problem.text.len()).sum();
        assert!(quoted <= MAX_PROBLEMS * MAX_LINE_BYTES, "{quoted}");
    }

    #[test]
    fn long_but_flat_sources_are_parsed() {
        let table = format!("x = [{}]\n", "(1, 2), ".repeat(20_000));
        assert!(Python::parse(&table).unwrap().syntax_errors().is_empty());
        assert!(Python::parse(&"x = 1 + 2\n".repeat(20_000)).unwrap().syntax_errors().is_empty());
        // The longest accepted depth does not overflow a test thread's stack, in the tree walk either.
        let deep = format!("x = 1{}\n", " + 1".repeat(MAX_DEPTH - 10));
        assert!(crate::submission::code::notes::of(&Python::parse(&deep).unwrap()).is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "(?s).{0,400}") {
            if let Ok(python) = Python::parse(&text) {
                let lines = text.matches('\n').count() as u64 + 1;
                prop_assert!(python.syntax_errors().iter().all(|error| (1..=lines).contains(&error.line)));
            }
        }
    }
}
