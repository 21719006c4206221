//! The first process of a container, by the number that this machine has for it: what is below it is the script's.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::{Container, Engine, engine};
use crate::rerun::ask::ask;

/// How often an engine is asked, and how many times.
const TICK: Duration = Duration::from_millis(100);
const TIMES: usize = 300;

/// Asks an engine in the background, so that no line of output waits for the answer.
pub(in crate::rerun) struct Watch {
    receiver: Receiver<u32>,
    is_over: Arc<AtomicBool>,
}

impl Watch {
    /// For the container of a run folder; none where containers are processes below ours anyway.
    pub fn begin(container: &Container, lock: &Path) -> Option<Self> {
        if container.engine == Engine::Apptainer {
            return None;
        }
        let (sender, receiver) = mpsc::channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let (program, name, over) = (container.program.clone(), Container::name(lock), is_over.clone());
        std::thread::spawn(move || {
            for _ in 0..TIMES {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let mut command = engine::command(&program);
                command.args(["container", "inspect", "--format", "{{.State.Pid}}", &name]);
                let answer = ask(command).ok().flatten().filter(|answer| answer.is_good);
                let pid = answer.and_then(|answer| String::from_utf8_lossy(&answer.output).trim().parse::<u32>().ok());
                if let Some(pid) = pid.filter(|pid| *pid > 0) {
                    // Nobody may wait for it any more.
                    let _ = sender.send(pid);
                    return;
                }
                std::thread::sleep(TICK);
            }
        });
        Some(Watch { receiver, is_over })
    }

    /// The number, once it is known.
    pub fn look(&self) -> Option<u32> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
