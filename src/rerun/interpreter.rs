//! Which interpreter a name stands for, and what it needs to run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::launch::Python;
use super::plan::packages::{Invocation, PackagesError, Runner};

/// Printed by the interpreter itself: a shim or a virtual environment knows best where its parts are.
const QUESTION: &str = "\
import json, os, site, sys
version = '%d.%d.%d' % sys.version_info[:3]
user = site.getuserbase() if site.ENABLE_USER_SITE else None
print(json.dumps({'executable': sys.executable, 'version': version, 'user': user,
    'roots': [sys.prefix, sys.base_prefix] + [p for p in sys.path if p],
    'variables': {n: os.environ[n] for n in sys.argv[1:] if n in os.environ}}))
";

/// Variables around an interpreter that reach a script, by name.
pub const KEPT_VARIABLES: [&str; 6] = [
    "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "TZ",
];
/// Where programs are looked for in an image; a script finds its own interpreter's folder before it.
const PATH: &str = "PATH";

/// Why there is no interpreter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterpreterError {
    /// It was not started, or gave no answer.
    #[error("{0}; name another with --python")]
    Asked(#[from] PackagesError),
    /// It answered something else.
    #[error("{}: it is no Python 3, or is broken; name another with --python", .0.display())]
    NoAnswer(PathBuf),
}

/// Which versions of which packages the modules named come from; nothing of them is imported.
const VERSIONS: &str = "\
import json, sys
from importlib import metadata
names = getattr(metadata, 'packages_distributions', dict)()
found = {}
for module in sys.argv[1:]:
    for package in names.get(module, [module]):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            pass
print(json.dumps(found))
";

#[derive(Deserialize)]
struct Answer {
    executable: PathBuf,
    version: String,
    user: Option<PathBuf>,
    roots: Vec<PathBuf>,
    variables: BTreeMap<String, String>,
}

/// Asks the interpreter of this machine that `python` names. It runs outside of the sandbox, and nothing of a submission
/// with it.
pub fn interpreter(runner: &dyn Runner, python: &Path) -> Result<Python, InterpreterError> {
    let answer = answer(runner, python)?;
    let user_base = answer.user.filter(|folder| folder.is_dir());
    let mut roots: Vec<PathBuf> = Vec::new();
    let linked = answer.executable.canonicalize().ok().and_then(|path| Some(path.parent()?.to_path_buf()));
    let mut wanted: Vec<PathBuf> = answer.roots.into_iter().chain(user_base.clone()).chain(linked).collect();
    wanted.sort();
    // A folder inside of one that is there already adds nothing; sorted, the outer one comes first.
    for root in wanted {
        if root.parent().is_some() && root.is_dir() && !roots.iter().any(|known| root.starts_with(known)) {
            roots.push(root);
        }
    }
    let variables = KEPT_VARIABLES.iter().filter_map(|name| Some((name.to_string(), std::env::var(name).ok()?)));
    Ok(Python {
        executable: answer.executable,
        version: answer.version,
        roots,
        user_base,
        variables: variables.collect(),
    })
}

/// Asks the interpreter of an image. What it needs lies in the image, and the image's environment is the script's, as
/// far as the allow-list goes.
pub fn interpreter_of_image(runner: &dyn Runner, python: &Path) -> Result<Python, InterpreterError> {
    let answer = answer(runner, python)?;
    Ok(Python {
        executable: answer.executable,
        version: answer.version,
        roots: Vec::new(),
        user_base: None,
        variables: answer.variables,
    })
}

fn answer(runner: &dyn Runner, python: &Path) -> Result<Answer, InterpreterError> {
    let names: Vec<String> = KEPT_VARIABLES.iter().chain([&PATH]).map(|name| name.to_string()).collect();
    let output = ask(runner, python, QUESTION, &names)?;
    serde_json::from_slice(&output).map_err(|_| InterpreterError::NoAnswer(python.to_path_buf()))
}

/// Versions of the packages that these top-level modules belong to, as far as the interpreter knows them.
pub fn package_versions(runner: &dyn Runner, python: &Python, modules: &[String]) -> BTreeMap<String, String> {
    let output = ask(runner, &python.executable, VERSIONS, modules).unwrap_or_default();
    serde_json::from_slice(&output).unwrap_or_default()
}

fn ask(runner: &dyn Runner, python: &Path, question: &str, arguments: &[String]) -> Result<Vec<u8>, PackagesError> {
    let words = ["-c", question].into_iter().chain(arguments.iter().map(String::as_str));
    runner.run(&Invocation { program: python.to_path_buf(), args: words.map(Into::into).collect() })
}
