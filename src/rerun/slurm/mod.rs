//! Seeds through Slurm: at once by `srun`, or as an array job by `sbatch`, judged later.
//!
//! What a task runs is this program ([`task`]), so that sandbox and supervision hold on the machine where the script is.
//! Tasks share the run folder and nothing else: [`job`] says there what is run, a note for each seed says what became of
//! it. Without a sandbox, `srun` starts the script's own processes, on several machines if it is told to ([`rank`]).

#[cfg(target_os = "linux")]
pub mod collect;
#[cfg(target_os = "linux")]
pub mod job;
pub mod options;
pub mod queue;
pub mod rank;
#[cfg(target_os = "linux")]
pub mod submit;
#[cfg(target_os = "linux")]
pub mod task;
