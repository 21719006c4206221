//! From words on the command line to arguments.

use std::ffi::OsString;

use clap::{Command, Parser};

/// Parses; the error says what is wrong with the words, or holds the help that was asked for.
pub fn parse<A: Parser>(words: impl IntoIterator<Item = OsString>) -> Result<A, clap::Error> {
    let mut command = taking_negative_numbers(A::command());
    let mut matches = command.try_get_matches_from_mut(words)?;
    A::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// A number below zero is a value, of which its flag says that it is out of range, and no flag that is not known.
fn taking_negative_numbers(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let is_flag_with_value = arg.get_action().takes_values() && !arg.is_positional();
        if is_flag_with_value { arg.allow_negative_numbers(true) } else { arg }
    });
    command.mut_subcommands(taking_negative_numbers)
}

/// Applies `--color` to the help and to errors of the command line, which are printed before it is parsed.
pub fn apply_color(words: impl IntoIterator<Item = String>) {
    let mut words = words.into_iter().skip(1).take_while(|word| word != "--").peekable();
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--color") {
            Some("") => words.peek().map(String::as_str),
            Some(value) => value.strip_prefix('='),
            None => None,
        };
        match value {
            Some("always") => anstream::ColorChoice::Always.write_global(),
            Some("never") => anstream::ColorChoice::Never.write_global(),
            _ => {}
        }
    }
}
