//! Words of shell commands: keywords, prefixes, redirections, ranges, and the files they mean.

use super::command_line::Arg;
use crate::submission::code::shell::{Command, Piece, Word};

/// `{1..3}` as its numbers.
pub(super) fn braces(arg: &Arg) -> Vec<Arg> {
    let range =
        arg.text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).and_then(|text| text.split_once(".."));
    let numbers = range.and_then(|(from, to)| Some((from.parse::<u32>().ok()?, to.parse::<u32>().ok()?)));
    match numbers {
        Some((from, to)) if from <= to && to - from < 64 => {
            (from..=to).map(|number| Arg { text: number.to_string(), ..arg.clone() }).collect()
        }
        _ => vec![arg.clone()],
    }
}

/// Assignments and words of a command, without the keywords and brackets in front.
pub(super) fn leading_words(command: &Command) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for assignment in &command.assignments {
        let mut word = assignment.value.clone();
        word.pieces.insert(0, Piece::Text(format!("{}=", assignment.name)));
        if let [Piece::Text(name), Piece::Text(value), ..] = word.pieces.as_mut_slice() {
            name.push_str(value);
            word.pieces.remove(1);
        }
        words.push(word);
    }
    words.extend(command.words.iter().cloned());
    let skip = words.iter().take_while(|word| is_keyword(word)).count();
    words.drain(..skip);
    words
}

/// Words in front of a command that are none of it.
fn is_keyword(word: &Word) -> bool {
    matches!(word.literal(), Some("do" | "then" | "else" | "{" | "(" | "!" | "if" | "..." | "…"))
}

/// Longest body of a loop that is looked for.
const MAX_BODY: usize = 1024;

/// Commands up to and with the `done` that ends a loop.
pub(super) fn loop_length(commands: &[Command]) -> usize {
    let mut depth = 1;
    for (at, command) in commands.iter().enumerate().take(MAX_BODY) {
        let first = command.words.iter().find(|word| !is_keyword(word)).filter(|_| command.assignments.is_empty());
        match first.and_then(Word::literal) {
            Some("for" | "while" | "until") => depth += 1,
            Some("done") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    commands.len().min(MAX_BODY)
}

/// How many words a prefix takes that passes the environment on; `None` if the word is no prefix.
pub(super) fn prefix_length(word: &Word) -> Option<usize> {
    match word.literal() {
        Some("env" | "sudo" | "nohup" | "time" | "exec" | "command" | "setsid" | "stdbuf" | "nice" | "uv" | "run") => {
            Some(1)
        }
        Some("poetry" | "pipenv" | "numactl" | "caffeinate" | "-E" | "-i" | "-oL" | "-eL" | "-o0" | "...") => Some(1),
        Some("timeout" | "taskset" | "-n" | "-u" | "--with" | "--python") => Some(2),
        // What a substitution gives is not known; the command after it is.
        None => matches!(word.pieces.as_slice(), [Piece::Substitution(_)]).then_some(1),
        _ => None,
    }
}

/// Takes `> file`, `2>&1`, `< file` away.
pub(super) fn without_redirections(words: &mut Vec<Arg>) {
    let mut kept = Vec::with_capacity(words.len());
    let mut skip = false;
    for word in words.drain(..) {
        let body = word.text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&');
        let is_redirection = (body.starts_with('>') || body.starts_with('<') && !body.contains('>')) && body != "<<<";
        if skip {
            skip = false;
        } else if is_redirection {
            skip = body.trim_start_matches(['>', '<', '|']).is_empty();
        } else {
            kept.push(word);
        }
    }
    *words = kept;
}

/// Whether a variable of the shell is called like a setting of a script.
pub(super) fn is_setting(name: &str) -> bool {
    let upper = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    upper && name.len() > 1 && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name != "PWD"
}

/// Commands worth showing as preparation.
pub(super) fn is_setup(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    matches!(
        name,
        "pip"
            | "pip3"
            | "uv"
            | "conda"
            | "mamba"
            | "apt"
            | "apt-get"
            | "git"
            | "wget"
            | "curl"
            | "hf"
            | "huggingface-cli"
    ) || name.starts_with("python")
}

/// The file of the folder that a typed path means: the longest of its endings that is there.
pub(super) fn find_file<'f>(files: impl Iterator<Item = &'f str>, typed: &str) -> Option<&'f str> {
    let typed: Vec<&str> = typed.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").collect();
    files
        .filter(|file| {
            let parts: Vec<&str> = file.split('/').collect();
            !parts.is_empty() && typed.ends_with(&parts)
        })
        .max_by_key(|file| file.len())
}
