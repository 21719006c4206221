//! Which packages an interpreter would find, asked of the interpreter itself in isolation.
//!
//! Only top-level names are passed: `importlib.util.find_spec` of a dotted name imports its parent. `-I` keeps the
//! current folder, `PYTHON*` variables and the user's own packages out, so nothing of a submission is looked at.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::rerun::ask::MAX_WAIT;

/// More names than this are not asked for.
const MAX_NAMES: usize = 512;
/// Variables the interpreter is started with: what finds it, and nothing that changes it.
const KEPT_VARIABLES: [&str; 5] = ["PATH", "HOME", "PYENV_ROOT", "PYENV_VERSION", "LD_LIBRARY_PATH"];

/// What is run. Prints one line of JSON; arguments are the names.
const QUESTION: &str = "\
import json, sys
from importlib.util import find_spec
def found(name):
    try:
        return find_spec(name) is not None
    except Exception:
        return False
version = '%d.%d.%d' % sys.version_info[:3]
print(json.dumps({'version': version, 'executable': sys.executable, 'found': [n for n in sys.argv[1:] if found(n)]}))
";

/// A program with its arguments, so that whoever runs it can put a sandbox around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// Runs a question and gives what it printed.
pub trait Runner {
    /// Runs the program to its end, within bounds of time and output.
    fn run(&self, invocation: &Invocation) -> Result<Vec<u8>, PackagesError>;
}

/// Why packages are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackagesError {
    /// The interpreter does not start.
    #[error("{}: {source}", program.display())]
    Start {
        /// The interpreter.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("{} gave no answer in {} s", program.display(), MAX_WAIT.as_secs())]
    Slow {
        /// The interpreter.
        program: PathBuf,
    },
    /// It does not start, by the word of what was to start it.
    #[error("{}: {reason}", program.display())]
    NotStarted {
        /// The interpreter.
        program: PathBuf,
        /// Why.
        reason: String,
    },
    /// It printed something else.
    #[error("{} is no Python 3: it does not answer a question of three lines", program.display())]
    NoAnswer {
        /// The interpreter.
        program: PathBuf,
    },
}

/// What an interpreter says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Interpreter {
    /// Version, such as `3.11.9`.
    pub version: String,
    /// The program that answered.
    pub executable: String,
    /// Names that it would find.
    pub found: Vec<String>,
}

/// The question for these top-level names; names that could be something else are left out.
pub fn question(python: &Path, names: &[String]) -> Invocation {
    let plain = |name: &&String| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut args: Vec<OsString> = vec!["-I".into(), "-c".into(), QUESTION.into()];
    args.extend(names.iter().filter(plain).take(MAX_NAMES).map(OsString::from));
    Invocation { program: python.to_path_buf(), args }
}

/// Asks an interpreter which of these top-level modules it would find.
pub fn ask(runner: &dyn Runner, python: &Path, names: &[String]) -> Result<Interpreter, PackagesError> {
    let output = runner.run(&question(python, names))?;
    let text = String::from_utf8_lossy(&output);
    let answer = text.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    answer.ok_or_else(|| PackagesError::NoAnswer { program: python.to_path_buf() })
}

/// Runs a question as a process of its own: emptied environment, folder `/`, bounds on time and output, no sandbox.
pub struct Unconfined;

impl Runner for Unconfined {
    fn run(&self, invocation: &Invocation) -> Result<Vec<u8>, PackagesError> {
        let program = || invocation.program.clone();
        let kept = KEPT_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut command = Command::new(&invocation.program);
        command.args(&invocation.args).env_clear().envs(kept).current_dir("/");
        match crate::rerun::ask::ask(command) {
            Ok(Some(answer)) => Ok(answer.output),
            Ok(None) => Err(PackagesError::Slow { program: program() }),
            Err(source) => Err(PackagesError::Start { program: program(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says(&'static str);

    impl Runner for Says {
        fn run(&self, _: &Invocation) -> Result<Vec<u8>, PackagesError> {
            Ok(self.0.as_bytes().to_vec())
        }
    }

    #[test]
    fn only_plain_top_level_names_are_asked_for() {
        let names = ["torch", "a.b", "-c", "", "9x", "x y", "_z"].map(String::from);
        let asked = question(Path::new("python3"), &names);
        assert_eq!(asked.args[..2], ["-I", "-c"].map(OsString::from));
        assert_eq!(asked.args[3..], ["torch", "_z"].map(OsString::from));
    }

    #[test]
    fn answers_are_read_and_other_output_is_refused() {
        let said = "a banner\n{\"version\": \"3.12.1\", \"executable\": \"/p\", \"found\": [\"torch\"]}\n";
        let interpreter = ask(&Says(said), Path::new("p"), &[]).unwrap();
        assert_eq!((interpreter.version.as_str(), interpreter.found.len()), ("3.12.1", 1));
        assert!(matches!(ask(&Says("Python 2"), Path::new("p"), &[]), Err(PackagesError::NoAnswer { .. })));
        let absent = ask(&Unconfined, Path::new("/nowhere/python"), &[]);
        assert!(matches!(absent, Err(PackagesError::Start { .. })));
    }

    /// With a shell in the interpreter's place: bounded, and not left behind.
    #[cfg(unix)]
    #[test]
    fn a_program_that_prints_without_end_is_ended() {
        let invocation = Invocation { program: "/bin/sh".into(), args: ["-c", "yes"].map(OsString::from).to_vec() };
        assert_eq!(Unconfined.run(&invocation).unwrap().len() as u64, crate::rerun::ask::MAX_OUTPUT_BYTES);
    }
}
