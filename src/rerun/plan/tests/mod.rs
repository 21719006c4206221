//! Plans of folders made here, on a machine made up here.

mod readmes;
mod sources;
mod surroundings;

use std::path::Path;

use super::machine::Machine;
use super::packages::{Interpreter, PackagesError};
use super::{Plan, ProblemKind, Request, Subject};
use crate::submission::RecordFolder;

/// A machine that has what it is told to have.
struct Fake {
    gpus: usize,
    free: u64,
    packages: Vec<&'static str>,
    programs: Vec<&'static str>,
}

impl Default for Fake {
    fn default() -> Self {
        Fake { gpus: 8, free: 1 << 40, packages: vec!["torch", "numpy", "sentencepiece"], programs: vec!["torchrun"] }
    }
}

impl Machine for Fake {
    fn gpus(&self) -> Vec<String> {
        vec!["NVIDIA H100 80GB HBM3".into(); self.gpus]
    }

    fn free_bytes(&self, _: &Path) -> Option<u64> {
        Some(self.free)
    }

    fn has_program(&self, name: &str) -> bool {
        self.programs.contains(&name)
    }

    fn packages(&self, names: &[String]) -> Result<Interpreter, PackagesError> {
        let found = names.iter().filter(|name| self.packages.contains(&name.as_str())).cloned().collect();
        Ok(Interpreter { version: "3.11.9".into(), executable: "/usr/bin/python3".into(), found })
    }
}

/// A script with the challenge's interface, all of whose data are at hand.
const SCRIPT: &str = "import os\nimport torch\nDATA = os.environ.get('DATA_PATH', '.')\nTOK = \
                      os.environ.get('TOKENIZER_PATH', '.')\nRANK = int(os.environ.get('RANK', 0))\nSEED = \
                      int(os.environ.get('SEED', 1337))\nLR = float(os.environ.get('MATRIX_LR', 0.04))\nN = \
                      int(os.environ.get('ITERATIONS', 20000))\nCAP = os.environ.get('MAX_WALLCLOCK_SECONDS', '600')\n";

/// A folder of these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn plan_with(files: &[(&str, &str)], request: &Request, machine: &Fake) -> Plan {
    let folder = folder(files);
    super::plan(&Subject::of_folder(RecordFolder::read(folder.path())), request, machine)
}

/// The plan of a README beside [`SCRIPT`].
fn plan_of(readme: &str) -> Plan {
    plan_with(&[("README.md", readme), ("train_gpt.py", SCRIPT)], &Request::default(), &Fake::default())
}

/// A shell block.
fn block(text: &str) -> String {
    format!("# Title\n\n```bash\n{text}\n```\n")
}

/// Variables of the run as `NAME=value`, in order of names.
fn environment(plan: &Plan) -> Vec<String> {
    let set = plan.variables.iter().filter(|variable| variable.is_set);
    set.map(|variable| format!("{}={}", variable.name, variable.value)).collect()
}

fn arguments(plan: &Plan) -> String {
    plan.arguments.iter().map(|arg| arg.value.as_str()).collect::<Vec<_>>().join(" ")
}

fn messages(plan: &Plan, kind: ProblemKind) -> Vec<&str> {
    plan.problems.iter().filter(|problem| problem.kind == kind).map(|problem| problem.message.as_str()).collect()
}
