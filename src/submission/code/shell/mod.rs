//! Shell commands in a README's code blocks: who gets which variables, and what is started.
//!
//! A deliberately small reading of POSIX shell (quotes, escapes, continuations, comments, here-documents, lists).
//! Words keep their variables unexpanded; nothing is run.

mod blocks;
mod lexer;
mod lost;

pub use blocks::{Block, blocks, indented_blocks, inline_commands};
pub use lexer::parse;
pub use lost::{LostVariables, lost_variables};

/// How a command is joined to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// First of its line.
    Start,
    /// After `&&`.
    And,
    /// After `||`, `;`, `|` or `&`.
    Other,
}

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Itself, quotes and escapes removed.
    Text(String),
    /// `$NAME`, `${NAME}`, or `${NAME:-default}`; also `$1`, `$@`.
    Variable {
        /// Name without `$`.
        name: String,
        /// What stands for it while it is unset, or empty.
        default: Option<String>,
        /// Empty is a value, too: `${NAME-default}`.
        keeps_empty: bool,
    },
    /// `$(command)`: its value is known only by running it, which is never done.
    Substitution(String),
}

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its parts, in order.
    pub pieces: Vec<Piece>,
    /// 1-based line in the README where it starts.
    pub line: u64,
    quoted: bool,
}

impl Word {
    /// The word as it would be typed, without quotes.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Variable { name, default: None, .. } => {
                    text.push('$');
                    text.push_str(name);
                }
                Piece::Variable { name, default: Some(default), .. } => {
                    text.push_str(&format!("${{{name}:-{default}}}"))
                }
                Piece::Substitution(command) => text.push_str(&format!("$({command})")),
            }
        }
        text
    }

    /// The text, if nothing in it has to be expanded.
    pub fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Name and value, if the word is `NAME=value`.
    pub fn assignment(&self) -> Option<Assignment> {
        let Some(Piece::Text(first)) = self.pieces.first() else { return None };
        let (name, rest) = first.split_once('=')?;
        if self.quoted || !is_name(name) {
            return None;
        }
        let value = std::iter::once(Piece::Text(rest.to_string())).filter(|_| !rest.is_empty());
        let pieces = value.chain(self.pieces.iter().skip(1).cloned()).collect();
        Some(Assignment { name: name.to_string(), value: Word { pieces, line: self.line, quoted: false } })
    }
}

/// Whether a text can name a variable.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `NAME=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The name.
    pub name: String,
    /// The value, and the line it stands on.
    pub value: Word,
}

/// A simple command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// 1-based line in the README where it starts.
    pub line: u64,
    /// `NAME=value` words before the command; they reach this command alone.
    pub assignments: Vec<Assignment>,
    /// The command and its arguments.
    pub words: Vec<Word>,
    /// How it follows the one before.
    pub joined: Joined,
    /// The comment on the line before it.
    pub comment: Option<String>,
}

/// Commands of all fenced blocks that look like shell.
pub fn commands(readme: &str) -> Vec<Command> {
    blocks(readme).iter().flat_map(|block| parse(&block.text, block.line)).collect()
}
