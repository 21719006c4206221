//! Source code of a submission: parsed, unpacked and counted, never run.
//!
//! * [`python`] parses within bounds, [`imports`] says what a script needs, [`interface`] what it can be told;
//! * [`packed`] opens self-extracting scripts without executing them;
//! * [`notes`] finds the places only a person or a rerun can judge;
//! * [`shell`] reads the commands of a README.

mod aliases;
pub mod bundle;
mod byte_table;
mod defaults;
mod hidden;
pub mod imports;
pub mod interface;
mod lookup;
mod names;
pub mod notes;
pub mod order;
pub mod packed;
mod practices;
mod programs;
pub mod python;
pub mod settings;
pub mod shell;

use std::collections::{BTreeMap, BTreeSet};

pub use imports::{Import, Origin};
pub use interface::Interface;
pub use notes::{Note, NoteKind};
pub use packed::{Layer, PackError, Packed};
pub use python::{ParseRefusal, Python, SyntaxProblem};

use super::{CodeText, Step, Steps};

/// What is known of one Python file.
#[derive(Clone, Debug)]
pub struct SourceFacts {
    /// Path in the folder.
    pub path: String,
    /// The code inside, where the file only unpacks and runs another: outermost layer first.
    pub packed: Option<Result<Packed, PackError>>,
    /// Syntax errors of the file, or of the code inside when it is packed.
    pub syntax: Vec<SyntaxProblem>,
    /// Syntax only Python 3.12 and later accept.
    pub needs_3_12: Vec<SyntaxProblem>,
    /// Why the file was not parsed, if so.
    pub refused: Option<ParseRefusal>,
    /// Modules imported, in order of lines.
    pub imports: Vec<Import>,
    /// Places for a person.
    pub notes: Vec<Note>,
}

/// All Python files of a folder.
#[derive(Clone, Debug, Default)]
pub struct CodeSurvey {
    /// Facts by file, in the order of paths.
    pub files: Vec<SourceFacts>,
    /// Files that the main script needs, itself first: it and every local module it imports, directly or not.
    pub counted: Vec<String>,
}

impl CodeSurvey {
    /// Reads every Python file of a folder.
    pub fn of(code: &[CodeText]) -> Self {
        Self::telling(code, &Steps::untold())
    }

    /// [`CodeSurvey::of`] that tells what is parsed next.
    pub(super) fn telling(code: &[CodeText], steps: &Steps) -> Self {
        let python = || code.iter().filter(|file| file.path.ends_with(".py"));
        let local: BTreeSet<String> = python().filter_map(|file| module_name(&file.path)).collect();
        let files: Vec<SourceFacts> = python()
            .filter_map(|file| {
                steps.tell(Step::Reading(&file.path));
                Some(facts(&file.path, file.text.as_deref()?, &local, steps))
            })
            .collect();
        let counted = needed_by_main(&files);
        CodeSurvey { files, counted }
    }

    /// The main script's facts.
    pub fn main(&self) -> Option<&SourceFacts> {
        self.files.iter().find(|file| file.path == MAIN)
    }
}

/// The script the challenge runs.
const MAIN: &str = "train_gpt.py";

fn facts(path: &str, text: &str, local: &BTreeSet<String>, steps: &Steps) -> SourceFacts {
    let mut facts = SourceFacts {
        path: path.to_string(),
        packed: None,
        syntax: Vec::new(),
        needs_3_12: Vec::new(),
        refused: None,
        imports: Vec::new(),
        notes: Vec::new(),
    };
    let outer = match Python::parse(text) {
        Ok(outer) => outer,
        Err(refusal) => {
            facts.refused = Some(refusal);
            return facts;
        }
    };
    facts.packed = packed::open(&outer, || steps.tell(Step::Opening(path)));
    if let Some(Ok(packed)) = &facts.packed {
        let files = bundle::split(&packed.source);
        if !files.is_empty() {
            facts.syntax = outer.syntax_errors();
            facts.notes = of_unpacker(&outer);
            facts.add_bundle(&files, local);
            return facts;
        }
    }
    let inner = match &facts.packed {
        Some(Ok(packed)) => match Python::parse(&packed.source) {
            Ok(inner) => Some(inner),
            Err(refusal) => {
                facts.refused = Some(refusal);
                None
            }
        },
        _ => None,
    };
    let read = inner.as_ref().unwrap_or(&outer);
    facts.syntax = [outer.syntax_errors(), inner.as_ref().map_or_else(Vec::new, Python::syntax_errors)].concat();
    facts.needs_3_12 = read.needs_3_12();
    facts.imports = imports::of(read, local);
    facts.notes = notes::of(read);
    if inner.is_some() {
        facts.notes.extend(of_unpacker(&outer));
    }
    facts
}

/// What a script that unpacks another executes beside it.
fn of_unpacker(python: &Python) -> Vec<Note> {
    let mut notes = notes::of(python);
    notes.retain(|note| {
        matches!(note.kind, NoteKind::HiddenCode | NoteKind::RunsAnotherFile | NoteKind::ExternalProgram)
    });
    // The text that was opened is encoded, that is the point.
    notes.retain(|note| note.detail != hidden::ENCODED);
    // Python itself is started to run what was unpacked.
    notes.retain(|note| note.kind != NoteKind::ExternalProgram || !note.text.contains("executable"));
    notes.iter_mut().for_each(|note| note.outer = true);
    notes
}

impl SourceFacts {
    /// What the files of a bundle say, with lines counted through the whole text.
    fn add_bundle(&mut self, files: &[bundle::Bundled], local: &BTreeSet<String>) {
        let own = files.iter().filter_map(|file| module_name(&file.name));
        let local: BTreeSet<String> = local.iter().cloned().chain(own).collect();
        let bundled: BTreeSet<String> = files.iter().filter_map(|file| module_name(&file.name)).collect();
        for file in files {
            let read = match Python::parse(&file.text) {
                Ok(read) => read,
                Err(refusal) => {
                    self.refused = Some(refusal);
                    continue;
                }
            };
            let moved = |line: u64| line + file.offset;
            let problem = |found: SyntaxProblem| SyntaxProblem { line: moved(found.line), ..found };
            self.syntax.extend(read.syntax_errors().into_iter().map(problem));
            self.needs_3_12.extend(read.needs_3_12().into_iter().map(problem));
            let imports = imports::of(&read, &local).into_iter().filter(|import| !bundled.contains(&import.module));
            self.imports.extend(imports.map(|import| Import { line: moved(import.line), ..import }));
            self.notes.extend(notes::of(&read).into_iter().map(|note| Note {
                line: moved(note.line),
                others: note.others.into_iter().map(|(line, text)| (moved(line), text)).collect(),
                text: note.text,
                ..note
            }));
        }
    }
}

/// `src/model.py` is module `model`, `model/__init__.py` too: scripts run from their own folder.
fn module_name(path: &str) -> Option<String> {
    let stem = path.strip_suffix(".py")?;
    let stem = stem.strip_suffix("/__init__").unwrap_or(stem);
    stem.rsplit('/').next().map(str::to_string)
}

fn needed_by_main(files: &[SourceFacts]) -> Vec<String> {
    let by_module: BTreeMap<String, &SourceFacts> =
        files.iter().filter_map(|file| Some((module_name(&file.path)?, file))).collect();
    let Some(main) = files.iter().find(|file| file.path == MAIN) else { return Vec::new() };
    let mut counted = vec![main.path.clone()];
    let mut queue = vec![main];
    while let Some(file) = queue.pop() {
        for import in file.imports.iter().filter(|import| import.origin == Origin::Local) {
            if let Some(needed) = by_module.get(&import.module)
                && !counted.contains(&needed.path)
            {
                counted.push(needed.path.clone());
                queue.push(needed);
            }
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ContentDigest;

    fn file(path: &str, text: &str) -> CodeText {
        CodeText { path: path.into(), digest: ContentDigest::of(text.as_bytes()), text: Some(text.into()) }
    }

    #[test]
    fn files_that_the_script_imports_count_and_others_do_not() {
        let survey = CodeSurvey::of(&[
            file("ablation.py", "import torch\n"),
            file("kernels.py", "import tables\n"),
            file("tables.py", "X = 1\n"),
            file("train_gpt.py", "import os\nimport torch\nfrom kernels import fused\n"),
        ]);
        assert_eq!(survey.counted, ["train_gpt.py", "kernels.py", "tables.py"]);
        assert!(survey.main().unwrap().syntax.is_empty());
    }

    /// What runs beside the unpacked code is read too, and the unpacking itself is no finding.
    #[test]
    fn an_unpacker_is_read_beside_what_it_unpacks() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reference/packed_scripts");
        let packed = std::fs::read_to_string(folder.join("base85_xz.py")).unwrap();
        let notes = |text: &str| CodeSurvey::of(&[file("train_gpt.py", text)]).files.remove(0).notes;
        assert_eq!(notes(&packed), []);
        let more = notes(&format!("import os\nexec(os.environ['MORE'])\n{packed}"));
        assert_eq!(
            more.iter().map(|note| (note.kind, note.line, note.outer)).collect::<Vec<_>>(),
            [(NoteKind::HiddenCode, 2, true)]
        );
    }

    #[test]
    fn modules_that_import_one_another_end() {
        let survey = CodeSurvey::of(&[file("a.py", "import train_gpt\n"), file("train_gpt.py", "import a\n")]);
        assert_eq!(survey.counted, ["train_gpt.py", "a.py"]);
    }
}
