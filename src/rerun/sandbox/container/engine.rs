//! Container engines: which there is, and how each is called.

use std::path::{Path, PathBuf};
use std::process::Command;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rerun::ask::{Answer, ask};

/// Variables that an engine's own program is started with: what finds its state, its daemon and its settings.
const KEPT_VARIABLES: [&str; 14] = [
    "CONTAINERS_CONF",
    "CONTAINERS_REGISTRIES_CONF",
    "CONTAINERS_STORAGE_CONF",
    "DBUS_SESSION_BUS_ADDRESS",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "HOME",
    "LOGNAME",
    "PATH",
    "USER",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
];

/// A kind of container engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// podman, as root or as a user.
    Podman,
    /// docker: containers below its daemon.
    Docker,
    /// apptainer, or its other name, singularity: images are files.
    Apptainer,
}

impl Engine {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Engine::Podman => "podman",
            Engine::Docker => "docker",
            Engine::Apptainer => "apptainer",
        }
    }
}

/// Programs that are looked for, in order.
pub(super) const PROGRAMS: [&str; 4] = ["podman", "docker", "apptainer", "singularity"];

/// An engine that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub engine: Engine,
    pub program: PathBuf,
    pub version: String,
}

impl Found {
    /// Asks a program what it is; none if there is no such program. `docker` may be podman under another name.
    pub fn look(program: &Path) -> Option<Result<Self, String>> {
        let mut command = self::command(program);
        command.arg("--version");
        let answer = match ask(command) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => return Some(Err(error.to_string())),
            Ok(None) => return Some(Err("it gives no answer".into())),
            Ok(Some(answer)) => answer,
        };
        let text = String::from_utf8_lossy(&answer.output).into_owned();
        let engine = match text.split_whitespace().next().map(str::to_ascii_lowercase).as_deref() {
            Some("podman") => Engine::Podman,
            Some("docker") => Engine::Docker,
            Some("apptainer" | "singularity" | "singularity-ce") => Engine::Apptainer,
            _ => return Some(Err(format!("it is no container engine: {}", crate::report::quote(&text)))),
        };
        let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let version = crate::report::quote(version.unwrap_or("unknown").trim_end_matches(','));
        Some(Ok(Found { engine, program: program.to_path_buf(), version }))
    }

    /// Asks the engine something.
    pub fn ask(&self, words: &[&str]) -> Result<Answer, String> {
        let mut command = command(&self.program);
        command.args(words);
        match ask(command) {
            Err(error) => Err(error.to_string()),
            Ok(None) => Err("it gives no answer".into()),
            Ok(Some(answer)) if !answer.is_good => Err(answer.last_words()),
            Ok(Some(answer)) => Ok(answer),
        }
    }
}

/// Variables for an engine's program.
pub(in crate::rerun::sandbox) fn variables() -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
    KEPT_VARIABLES.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)))
}

/// An engine's program, with its own variables and nothing else of this environment.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(variables()).current_dir("/");
    command
}
