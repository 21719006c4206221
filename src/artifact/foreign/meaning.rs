//! Which imports of a pickle count: for whom, and whether the bytes were meant as a program at all.

use super::follow::is_text;
use super::pickle::{self, Broken, Import, ImportVerdict, Pickle, name_start, worst};

/// What looks up the names of a pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loader {
    /// Python, which imports them.
    Python,
    /// TorchScript's own reader: it takes types from the archive's `code/`, and imports nothing.
    Script,
}

impl Loader {
    /// Whether the loader does more than tensors need when it meets this name.
    pub fn minds(self, import: &Import) -> bool {
        let module = &*import.module;
        let is_script = module == "__torch__" || module.starts_with("__torch__.") || module == "torch.jit._pickle";
        import.verdict != ImportVerdict::Allowed && !(self == Loader::Script && is_script)
    }
}

/// Allowed imports by name. There are few: they come off a list.
pub(super) fn allowed(imports: &[Import], loader: Loader) -> impl Iterator<Item = String> + '_ {
    let allowed = imports.iter().filter(move |import| !loader.minds(import));
    allowed.map(|import| format!("{}.{}", import.module, import.name))
}

/// Whether bytes have the mark of protocol 2 or later.
pub(super) fn is_marked(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 0..=5, ..])
}

/// The worst import of a whole program, if it was meant as one: by its mark, or by names that noise does not make.
///
/// Text without a mark is a program if it does something with what it imports, or imports a known weapon: words a line
/// up to one that begins with a dot are a list.
pub(super) fn meant_by<'a>(pickle: &'a Pickle, bytes: &[u8], loader: Loader) -> Option<&'a Import> {
    let (is_marked, is_idle) = (is_marked(bytes), pickle.actions.is_empty());
    let is_list = |import: &Import| is_idle && import.verdict != ImportVerdict::Dangerous && is_text(bytes);
    worst(&pickle.imports, |import| loader.minds(import) && (is_marked || (is_name(import) && !is_list(import))))
}

/// The worst import of a program that broke, if it was meant as one. Text that calls nothing before it breaks is a list
/// of words, of which one begins with a `c`, such as `cos`, `sin`, `tan`: only the names of weapons count.
pub(super) fn meant<'a>(broken: &'a Broken, bytes: &[u8], loader: Loader) -> Option<&'a Import> {
    let is_marked = is_marked(bytes);
    let is_program = is_marked || broken.called || !is_text(bytes);
    let is_weapon = |import: &Import| import.verdict == ImportVerdict::Dangerous && WEAPONS.contains(&&*import.name);
    worst(&broken.imports, |import| {
        loader.minds(import) && (is_program || is_weapon(import)) && (is_marked || is_name(import))
    })
}

/// Names that no list of words has behind the name of their module.
pub(super) const WEAPONS: [&str; 14] = [
    "system",
    "popen",
    "Popen",
    "execv",
    "execve",
    "spawnv",
    "eval",
    "exec",
    "__import__",
    "check_output",
    "check_call",
    "run_path",
    "run_module",
    "import_module",
];

/// Whether the start of a file that is text is a program that is refused, or one that more bytes could complete.
pub(super) fn may_be_program(start: &[u8]) -> bool {
    match pickle::follow(start) {
        Ok(pickle) => meant_by(&pickle, start, Loader::Python).is_some(),
        Err(broken) => broken.error.is_cut() || meant(&broken, start, Loader::Python).is_some(),
    }
}

/// Whether an import is spelled as Python's names are. Of bytes without a pickle's mark, random ones among them, only
/// such imports count.
fn is_name(import: &Import) -> bool {
    let letters = |text: &str| {
        // Cut in the middle, a long name may end in a dot.
        let start = name_start(text);
        let start = if start.len() < text.len() { start.trim_end_matches('.') } else { start };
        !start.is_empty()
            && start.split('.').all(|part| {
                !part.starts_with(|c: char| c.is_ascii_digit())
                    && !part.is_empty()
                    && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            })
    };
    // A computed name is none of the file's bytes. Extensions are no names: what noise begins with looks like them.
    let computed = |text: &str| text == "?";
    (letters(&import.module) || computed(&import.module)) && (letters(&import.name) || computed(&import.name))
}
