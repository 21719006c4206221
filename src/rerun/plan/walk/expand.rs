//! What a shell holds: variables set, exported, read and expanded.

use std::collections::BTreeMap;

use super::{Given, Walker};
use crate::rerun::plan::command_line::Arg;
use crate::rerun::plan::words::is_setting;
use crate::submission::code::shell::{Piece, Word, is_name};

/// Longest value followed; longer ones are cut.
const MAX_VALUE_BYTES: usize = 4096;

impl Walker<'_> {
    /// Settings that the shell holds without exporting them.
    pub(super) fn unexported(&self, env: &BTreeMap<String, Given>) -> BTreeMap<String, Given> {
        let used = self.used.borrow();
        let is_meant = |(name, given): &(&String, &Given)| {
            given.line >= self.block && is_setting(name) && !env.contains_key(*name) && !used.contains(*name)
        };
        let meant = self.variables.iter().filter(is_meant);
        meant.map(|(name, given)| (name.clone(), given.clone())).collect()
    }

    pub(super) fn export(&mut self, words: &[Arg]) {
        for (at, word) in words.iter().enumerate() {
            if let Some((name, value)) = word.text.split_once('=').filter(|(name, _)| is_name(name)) {
                let given = self.given(&Arg { text: value.to_string(), ..word.clone() });
                self.exported.insert(name.to_string(), given);
            } else if let Some(given) = self.variables.remove(&word.text) {
                self.exported.insert(word.text.clone(), given);
            } else if at == 0 && words.len() == 2 && is_name(&word.text) {
                // `setenv NAME value`, `%env NAME value`
                self.exported.insert(word.text.clone(), self.given(&words[1]));
            }
        }
    }

    /// `read a b c <<< "x y z"`.
    pub(super) fn read(&mut self, words: &[Arg]) {
        let Some(at) = words.iter().position(|word| word.text == "<<<") else { return };
        let mut values =
            words[at + 1..].iter().flat_map(|word| word.text.split_whitespace().map(move |text| (text, word)));
        for name in words[..at].iter().filter(|word| is_name(&word.text)) {
            if let Some((text, word)) = values.next() {
                let given = self.given(&Arg { text: text.to_string(), ..word.clone() });
                self.variables.insert(name.text.clone(), given);
            }
        }
    }

    pub(super) fn given(&self, arg: &Arg) -> Given {
        let file = self.context.file.clone();
        Given { value: arg.text.clone(), file, line: arg.line, unresolved: arg.unresolved }
    }

    pub(super) fn value(&self, word: &Word) -> Given {
        self.given(&self.expand(word))
    }

    fn value_of(&self, name: &str) -> Option<&Given> {
        self.own.get(name).or_else(|| self.variables.get(name)).or_else(|| self.exported.get(name))
    }

    pub(super) fn expand(&self, word: &Word) -> Arg {
        let mut arg = Arg { text: String::new(), line: word.line, unresolved: false };
        for piece in &word.pieces {
            match piece {
                Piece::Text(text) => arg.text.push_str(text),
                Piece::Substitution(command) => {
                    arg.text.push_str(&format!("$({command})"));
                    arg.unresolved = true;
                }
                Piece::Variable { name, default, keeps_empty } => {
                    self.used.borrow_mut().insert(name.clone());
                    match (self.value_of(name), default) {
                        (Some(given), _) if *keeps_empty || !given.value.is_empty() || default.is_none() => {
                            arg.text.push_str(&given.value);
                            arg.unresolved |= given.unresolved;
                        }
                        (_, Some(default)) => {
                            arg.text.push_str(default);
                            arg.unresolved |= default.contains('$');
                        }
                        _ => {
                            arg.text.push_str(&format!("${name}"));
                            arg.unresolved = true;
                        }
                    }
                }
            }
        }
        let mut end = arg.text.len().min(MAX_VALUE_BYTES);
        while !arg.text.is_char_boundary(end) {
            end -= 1;
        }
        arg.text.truncate(end);
        arg
    }

    /// A word expanded; one that holds nothing but variables may become several.
    pub(super) fn split(&self, word: &Word) -> Vec<Arg> {
        let whole = self.expand(word);
        let expands = matches!(word.pieces.as_slice(), [Piece::Variable { name, .. }] if name != "@");
        if !expands || whole.unresolved || !whole.text.contains(char::is_whitespace) {
            return vec![whole];
        }
        whole.text.split_whitespace().map(|text| Arg { text: text.to_string(), ..whole.clone() }).collect()
    }
}
