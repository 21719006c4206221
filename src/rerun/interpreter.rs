//! Which interpreter a name stands for, and what it needs to run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::launch::Python;

/// Printed by the interpreter itself: a shim or a virtual environment knows best where its parts are.
const QUESTION: &str = "\
import json, site, sys
version = '%d.%d.%d' % sys.version_info[:3]
user = site.getuserbase() if site.ENABLE_USER_SITE else None
print(json.dumps({'executable': sys.executable, 'version': version, 'user': user,
    'roots': [sys.prefix, sys.base_prefix] + [p for p in sys.path if p]}))
";
/// Variables that find an interpreter.
const KEPT_VARIABLES: [&str; 5] = ["PATH", "HOME", "PYENV_ROOT", "PYENV_VERSION", "LD_LIBRARY_PATH"];

/// Why there is no interpreter.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}; name another with --python", python.display())]
pub struct InterpreterError {
    python: PathBuf,
    reason: String,
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
}

/// Asks the interpreter that `python` names. It runs outside of the sandbox, and nothing of a submission with it.
pub fn interpreter(python: &Path) -> Result<Python, InterpreterError> {
    let fail = |reason: String| InterpreterError { python: python.to_path_buf(), reason };
    let output = ask(python, QUESTION, &[]).map_err(|error| fail(error.to_string()))?;
    let answer: Answer = serde_json::from_slice(&output).map_err(|_| fail("it is no Python 3, or is broken".into()))?;
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
    Ok(Python { executable: answer.executable, version: answer.version, roots, user_base })
}

/// Versions of the packages that these top-level modules belong to, as far as the interpreter knows them.
pub fn package_versions(python: &Python, modules: &[String]) -> BTreeMap<String, String> {
    let output = ask(&python.executable, VERSIONS, modules).unwrap_or_default();
    serde_json::from_slice(&output).unwrap_or_default()
}

/// Runs a question, with nothing in reach that changes the answer.
fn ask(python: &Path, question: &str, arguments: &[String]) -> std::io::Result<Vec<u8>> {
    let kept = KEPT_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(python);
    command.args(["-c", question]).args(arguments).env_clear().envs(kept).current_dir("/");
    Ok(command.stdin(Stdio::null()).stderr(Stdio::null()).output()?.stdout)
}
