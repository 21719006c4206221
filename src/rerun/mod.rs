//! A submission's own script, run again under supervision and held to its claim.
//!
//! * [`plan`]: what would be run and what stands in the way; executes nothing of the submission;
//! * [`launch`]: what is run, with everything that decides what comes out of it;
//! * [`sandbox`]: what stands between it and the machine;
//! * [`supervise`]: one run from its start to its end: every line with its time, bounds, nothing left behind;
//! * [`record`]: what one run came to, kept on disk, so that an interrupted session goes on where it was;
//! * [`session`]: all seeds;
//! * [`slurm`]: seeds through Slurm;
//! * [`judge`]: claimed against rerun;
//! * `rescore`: the artifacts that came out, scored by this program's engine;
//! * [`evidence`]: what is handed on.

pub(crate) mod ask;
pub mod evidence;
#[cfg(target_os = "linux")]
pub mod facts;
#[cfg(target_os = "linux")]
pub mod interpreter;
pub mod judge;
pub mod launch;
pub mod plan;
pub mod ready;
pub mod record;
#[cfg(feature = "engine")]
pub mod rescore;
#[cfg(target_os = "linux")]
pub mod sandbox;
#[cfg(target_os = "linux")]
pub mod session;
pub mod slurm;
#[cfg(target_os = "linux")]
pub mod supervise;

/// If this process was started to stand between a supervisor and a script, does that.
#[cfg(target_os = "linux")]
pub fn serve() -> Option<std::process::ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    if first == supervise::keeper::ARGUMENT {
        return Some(supervise::keeper::keep(arguments));
    }
    if first == supervise::keeper::GENTLE_ARGUMENT {
        return Some(supervise::keeper::keep_gently(arguments));
    }
    if first == slurm::rank::ARGUMENT {
        return Some(slurm::rank::serve(arguments));
    }
    (first == sandbox::entry::ARGUMENT).then(|| sandbox::entry::enter(arguments))
}

/// There is nothing to stand between.
#[cfg(not(target_os = "linux"))]
pub fn serve() -> Option<std::process::ExitCode> {
    None
}
