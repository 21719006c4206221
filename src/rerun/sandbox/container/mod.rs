//! A container of an image that is here, run by podman, docker or apptainer.
//!
//! The image gives the file system and the interpreter; everything else is as with bubblewrap: code and data read-only,
//! three folders of the run's own, loopback, no capabilities, and the entry with its seccomp filter inside. Nothing is
//! fetched: an image that is not here is refused with the command that fetches it.
//!
//! Three things end a container with its supervisor: the keeper, which removes it by its name; the entry inside, which
//! ends as soon as a lock that the supervisor holds is free (`tether`); and the next start, which removes whatever
//! has the run folder's name.

pub(super) mod arguments;
pub(super) mod engine;
mod find;
mod gpus;
mod libraries;
mod pid;
mod questions;
#[cfg(test)]
mod tests;
pub(in crate::rerun) mod tether;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use engine::Engine;
pub use find::{ContainerError, find};

pub(in crate::rerun) use pid::Watch;

use crate::digest::ContentDigest;
use crate::rerun::interpreter::{InterpreterError, interpreter_of_image};
use crate::rerun::launch::Python;
use crate::rerun::record::ContainerRecord;

/// An image, and what runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// The engine.
    pub engine: Engine,
    /// Its program.
    pub program: PathBuf,
    /// Its version.
    pub version: String,
    /// The image, as it was asked for.
    pub image: String,
    /// What is run: the engine's identifier of exactly this image, or the path of its file.
    pub id: String,
    /// Digest of the image: of its manifest, if it came from a registry, else of its configuration or its file.
    pub digest: String,
    /// Whom the script runs as.
    pub user: User,
    /// What the engine can bound.
    pub bounds: EngineBounds,
}

/// Whom a script runs as, by the image's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// How these numbers come to be those of the run's folders.
    pub mapping: Mapping,
}

/// How numbers inside of a container relate to those outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// Started by root: the script is nobody, and its folders are given to nobody.
    Nobody,
    /// The same numbers inside as outside.
    Same,
    /// Podman of a user, which keeps the caller's number.
    KeptId,
    /// Docker of a user: its root is the caller.
    RootIsCaller,
}

/// Which bounds an engine can hold by cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineBounds {
    /// Memory.
    pub memory: bool,
    /// Processes.
    pub processes: bool,
}

impl Container {
    /// In words.
    pub fn words(&self) -> String {
        format!("{} {} with seccomp, image {} ({})", self.engine.word(), self.version, self.image, self.digest)
    }

    /// What is kept of it.
    pub fn record(&self) -> ContainerRecord {
        ContainerRecord {
            engine: self.engine.word().into(),
            version: self.version.clone(),
            image: self.image.clone(),
            id: self.id.clone(),
            digest: self.digest.clone(),
            user: (self.user.uid, self.user.gid),
        }
    }

    /// The name of the containers of a run folder, by its lock: the same for every seed and every start, one at a time.
    pub fn name(lock: &Path) -> String {
        let digest = ContentDigest::of(lock.as_os_str().as_encoded_bytes()).sha256.to_string();
        format!("golf-harness-{}", digest.get(..16).unwrap_or(&digest))
    }

    /// The command that removes a container, whatever it is doing; none for an engine whose containers are processes.
    pub(super) fn removal(&self, name: &str) -> Option<Vec<String>> {
        let words: &[&str] = match self.engine {
            Engine::Podman => &["rm", "--force", "--time", "0", "--ignore", name],
            Engine::Docker => &["rm", "--force", name],
            Engine::Apptainer => return None,
        };
        let program = self.program.to_string_lossy().into_owned();
        Some(std::iter::once(program).chain(words.iter().map(|word| word.to_string())).collect())
    }

    /// Removes what an earlier start may have left. That there is none is no failure.
    pub(in crate::rerun) fn remove(&self, lock: &Path) {
        self.remove_named(&Self::name(lock));
    }

    fn remove_named(&self, name: &str) {
        let Some(words) = self.removal(name) else { return };
        if let Some((program, arguments)) = words.split_first() {
            let mut command = engine::command(Path::new(program));
            command.args(arguments);
            // If it fails and a container of that name is there, starting the next one fails and says so.
            let _ = crate::rerun::ask::ask(command);
        }
    }

    /// The interpreter of the image, with the image's own variables.
    pub fn interpreter(&self, python: &Path) -> Result<Python, InterpreterError> {
        let mut python = interpreter_of_image(self, python)?;
        python.variables.extend(gpus::variables(self.engine));
        Ok(python)
    }

    /// Layers that the engine does not give here, in words.
    pub(in crate::rerun) fn missing(&self) -> Vec<String> {
        let what = [
            (self.bounds.memory, "a bound on memory by the engine: looked at ten times a second"),
            (self.bounds.processes, "a bound on processes by the engine: looked at ten times a second"),
        ];
        what.into_iter().filter(|(is_there, _)| !is_there).map(|(_, words)| words.to_string()).collect()
    }
}
