//! Questions to the interpreter of an image, in a container with nothing mounted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::arguments::Words;
use super::{Container, Engine, engine};
use crate::rerun::ask::ask;
use crate::rerun::plan::packages::{Invocation, PackagesError, Runner};

/// Questions of this process so far: each has a container of its own.
static ASKED: AtomicU64 = AtomicU64::new(0);

impl Runner for Container {
    fn run(&self, invocation: &Invocation) -> Result<Vec<u8>, PackagesError> {
        let program = || invocation.program.clone();
        let name = format!("golf-harness-question-{}-{}", std::process::id(), ASKED.fetch_add(1, Ordering::Relaxed));
        let mut words = Words(Vec::new());
        match self.engine {
            Engine::Podman | Engine::Docker => {
                self.run(&name, &mut words);
                words.pair("--entrypoint", &invocation.program.to_string_lossy());
                words.0.push(self.id.clone());
            }
            Engine::Apptainer => {
                words.words(&["exec", "--containall", "--cleanenv", "--no-home"]);
                words.0.extend([self.id.clone(), invocation.program.to_string_lossy().into_owned()]);
            }
        }
        let mut command = engine::command(&self.program);
        command.args(&words.0).args(&invocation.args);
        match ask(command) {
            Ok(Some(answer)) if answer.is_good => Ok(answer.output),
            Ok(Some(answer)) => Err(PackagesError::NotStarted { program: program(), reason: answer.last_words() }),
            Ok(None) => {
                self.remove_named(&name);
                Err(PackagesError::Slow { program: program() })
            }
            Err(source) => Err(PackagesError::Start { program: program(), source }),
        }
    }
}
