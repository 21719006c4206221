//! How a submission's own script is started: what `rerun` does with it.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stands in `env` and `args` for the seed of the run.
pub const SEED_PLACEHOLDER: &str = "{seed}";

/// Most processes of one run.
pub const MAX_PROCESSES: u32 = 1024;

/// Variables that launchers set for each process; stating them would break the rendezvous.
const LAUNCHER_VARIABLES: [&str; 8] = [
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_RUN_ID",
];

/// The program that starts the script's processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Launcher {
    /// PyTorch's `torchrun`: one process a GPU, on one machine.
    #[default]
    Torchrun,
    /// The interpreter itself: one process.
    Python,
    /// Slurm, at once.
    Srun,
    /// Slurm, as a batch job.
    Sbatch,
}

impl Launcher {
    /// The program's name.
    pub fn word(self) -> &'static str {
        match self {
            Launcher::Torchrun => "torchrun",
            Launcher::Python => "python",
            Launcher::Srun => "srun",
            Launcher::Sbatch => "sbatch",
        }
    }
}

/// What a data file or folder is to the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MountRole {
    /// Token shards, or a folder above them.
    Data,
    /// The tokenizer.
    Tokenizer,
}

/// A file or folder the script reads and must not write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataMount {
    /// What it is.
    pub role: MountRole,
    /// Where it lies; relative ones start at the folder of the manifest.
    pub path: PathBuf,
    /// The variable that tells the script, such as `DATA_PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
}

/// The submission's own script and how it is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Folder of the submission; relative ones start at the folder of the manifest.
    #[serde(default = "here")]
    pub folder: PathBuf,
    /// The script, inside of `folder`.
    pub script: PathBuf,
    /// The program that starts it.
    #[serde(default)]
    pub launcher: Launcher,
    /// Processes, 1 to 1024; one GPU each where the script uses GPUs.
    #[serde(default = "one")]
    pub processes: u32,
    /// Environment variables beside those of the launcher; `{seed}` stands for the seed.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Arguments after the script; `{seed}` stands for the seed.
    #[serde(default)]
    pub args: Vec<String>,
    /// What the submission asks to do before, such as installing packages. Shown, never run.
    #[serde(default)]
    pub setup: Vec<String>,
    /// Data and tokenizer, mounted read-only.
    #[serde(default)]
    pub data: Vec<DataMount>,
    /// Seeds, one run each.
    #[serde(default)]
    pub seeds: Vec<u64>,
}

fn here() -> PathBuf {
    PathBuf::from(".")
}

fn one() -> u32 {
    1
}

/// First impossible value as (dotted field, message).
pub(super) fn check_run(run: &RunConfig) -> Result<(), (String, String)> {
    let fail = |field: &str, message: String| Err((format!("run.{field}"), message));
    if !(1..=MAX_PROCESSES).contains(&run.processes) {
        return fail("processes", format!("{} is outside 1..={MAX_PROCESSES}", run.processes));
    }
    if run.launcher == Launcher::Python && run.processes != 1 {
        return fail("processes", format!("python starts one process, not {}; use torchrun or srun", run.processes));
    }
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if run.script.as_os_str().is_empty() || !run.script.components().all(inside) {
        return fail("script", format!("`{}` must be a path inside of run.folder", run.script.display()));
    }
    for (name, value) in &run.env {
        if !is_variable_name(name) {
            return fail("env", format!("`{name}` is no name of a variable: letters, digits and `_`"));
        }
        if LAUNCHER_VARIABLES.contains(&name.as_str()) {
            return fail("env", format!("`{name}` is set by the launcher, for each process; leave it out"));
        }
        if value.contains('\0') {
            return fail("env", format!("the value of `{name}` holds a zero byte"));
        }
    }
    if run.args.iter().any(|arg| arg.contains('\0')) {
        return fail("args", "an argument holds a zero byte".into());
    }
    let mut seeds = run.seeds.clone();
    seeds.sort_unstable();
    if let Some(pair) = seeds.windows(2).find(|pair| pair[0] == pair[1]) {
        return fail("seeds", format!("{} stands there twice", pair[0]));
    }
    Ok(())
}

/// Whether a text can name an environment variable: letters, digits and `_`, no digit first.
pub fn is_variable_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether launchers set this variable for each process.
pub fn is_launcher_variable(name: &str) -> bool {
    LAUNCHER_VARIABLES.contains(&name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::manifest::{Launcher, canonical_yaml, parse};

    fn with_run(run: &str) -> Result<crate::manifest::Manifest, String> {
        let text = format!("schema: golf-harness/manifest/v1\nname: x\nrun: {{ {run} }}\n");
        parse(&text, Path::new("x.yaml")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_run_is_read_and_written() {
        let manifest = with_run("script: train_gpt.py, processes: 8, env: { SEED: '{seed}' }, seeds: [42]").unwrap();
        let run = manifest.run.as_ref().unwrap();
        assert_eq!((run.launcher, run.processes, run.folder.as_path()), (Launcher::Torchrun, 8, Path::new(".")));
        assert_eq!(parse(&canonical_yaml(&manifest), Path::new("y.yaml")).unwrap(), manifest);
        let without = parse("schema: golf-harness/manifest/v1\nname: x\n", Path::new("x.yaml")).unwrap();
        assert!(without.run.is_none() && !canonical_yaml(&without).contains("\nrun:"));
    }

    #[test]
    fn impossible_runs_are_refused() {
        for (run, words) in [
            ("script: a.py, processes: 0", "run.processes: 0 is outside 1..=1024"),
            ("script: a.py, processes: 1025", "outside 1..=1024"),
            ("script: a.py, launcher: python, processes: 2", "python starts one process"),
            ("script: ../a.py", "run.script: `../a.py` must be a path inside of run.folder"),
            ("script: /a.py", "inside of run.folder"),
            ("script: ''", "inside of run.folder"),
            ("script: a.py, env: { 'A B': '1' }", "`A B` is no name"),
            ("script: a.py, env: { WORLD_SIZE: '8' }", "set by the launcher"),
            ("script: a.py, env: { A: \"\\0\" }", "zero byte"),
            ("script: a.py, args: [\"\\0\"]", "zero byte"),
            ("script: a.py, seeds: [1, 2, 1]", "run.seeds: 1 stands there twice"),
            ("script: a.py, launcher: mpirun", "unknown variant"),
            ("processes: 8", "missing field `script`"),
        ] {
            let error = with_run(run).unwrap_err();
            assert!(error.contains(words), "{run}: {error}");
        }
    }
}
