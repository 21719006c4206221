//! Where a script's interpreter is: on this machine, or in an image.

use std::path::Path;

use super::Args;
use crate::rerun::plan::ThisMachine;
#[cfg(target_os = "linux")]
use crate::rerun::{
    interpreter::{InterpreterError, interpreter},
    launch::Python,
    plan::packages::{Runner, Unconfined},
    sandbox::container::{self, Container},
};

/// The container, if one is asked for.
pub(super) struct Around {
    #[cfg(target_os = "linux")]
    pub container: Option<Container>,
}

#[cfg(target_os = "linux")]
impl Around {
    /// Finds the image that the flags name.
    pub fn of(args: &Args) -> anyhow::Result<Self> {
        let find = |image: &String| container::find(image, args.container_engine.as_deref());
        Ok(Around { container: args.container.as_ref().map(find).transpose()? })
    }

    /// This machine, with the interpreter asked where it is.
    pub fn machine(&self, python: &Path) -> ThisMachine {
        let mut machine = ThisMachine::new(python.to_path_buf());
        if let Some(container) = &self.container {
            machine.runner = Box::new(container.clone());
        }
        machine
    }

    /// The interpreter that runs the script.
    pub fn interpreter(&self, python: &Path) -> Result<Python, InterpreterError> {
        match &self.container {
            Some(container) => container.interpreter(python),
            None => interpreter(&Unconfined, python),
        }
    }

    /// What questions to the interpreter go through.
    pub fn runner(&self) -> &dyn Runner {
        match &self.container {
            Some(container) => container,
            None => &Unconfined,
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Around {
    /// Scripts run on Linux only, and so do containers of theirs.
    pub fn of(args: &Args) -> anyhow::Result<Self> {
        anyhow::ensure!(args.container.is_none(), "--container needs Linux, where scripts are started");
        Ok(Around {})
    }

    /// This machine.
    pub fn machine(&self, python: &Path) -> ThisMachine {
        ThisMachine::new(python.to_path_buf())
    }
}
