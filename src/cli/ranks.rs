//! `--ranks` and the variables of launchers: the ranks of a training run.

use std::io::Write;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use crate::collective::{Collective, Launch, NcclRank, Rendezvous, RendezvousError, Solo};
use crate::interrupt::{Interrupt, Interrupted};

/// The flags of the binary that trains.
#[derive(Clone, Copy, Debug, Args)]
pub struct RanksArgs {
    /// Train with so many ranks as threads of this process: 1, 2, 4 or 8; the bytes do not depend on it
    #[arg(long, value_name = "N")]
    ranks: Option<usize>,

    /// Longest wait for another process's rank before it counts as lost
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    rank_timeout: u64,
}

/// How this process and its fellow ranks were started.
#[derive(Clone, Debug)]
pub enum LaunchMode {
    /// One process, one rank.
    Single,
    /// One process, so many ranks as threads of it.
    Threads(usize),
    /// One of the processes a launcher started.
    Processes {
        /// What the launcher said.
        launch: Launch,
        /// Longest wait for another one.
        timeout: Duration,
    },
}

impl RanksArgs {
    /// Reads the launcher's variables beside the flags.
    pub fn launch_mode(self) -> anyhow::Result<LaunchMode> {
        let launch = Launch::from_environment(|name| std::env::var(name).ok())?;
        Ok(match (self.ranks, launch) {
            (None | Some(1), None) => LaunchMode::Single,
            (Some(ranks), None) => LaunchMode::Threads(ranks),
            (ranks, Some(launch)) => {
                ensure!(
                    ranks.is_none(),
                    "--ranks makes threads of one process, but this is {} of a launcher; leave out one of them",
                    launch.rank
                );
                LaunchMode::Processes { launch, timeout: Duration::from_secs(self.rank_timeout) }
            }
        })
    }
}

impl LaunchMode {
    /// What a launcher said, if one started this process.
    pub fn launch(&self) -> Option<&Launch> {
        match self {
            LaunchMode::Processes { launch, .. } => Some(launch),
            _ => None,
        }
    }

    /// Connects to the other processes. Gradients go through NCCL between GPUs if all ranks find it; else through the
    /// host and rank 0, which one line says.
    pub fn rendezvous(&self, on_gpu: bool, interrupt: &Interrupt) -> anyhow::Result<Box<dyn Collective>> {
        let LaunchMode::Processes { launch, timeout } = self else { return Ok(Box::new(Solo)) };
        let ranks = Rendezvous::of(launch, *timeout).connect(interrupt).map_err(|error| match error {
            RendezvousError::Interrupted => anyhow::Error::from(Interrupted).context(error.to_string()),
            error => error.into(),
        })?;
        let Some(ordinal) = launch.local_rank.filter(|_| on_gpu) else { return Ok(Box::new(ranks)) };
        if NcclRank::is_found_by_all(&ranks)? {
            return Ok(Box::new(NcclRank::join(ranks, ordinal)?));
        }
        if ranks.rank().is_rank_zero() {
            let remedy = "put a link of that name to libnccl.so.2 on LD_LIBRARY_PATH (docs/cuda.md)";
            let mut stderr = anstream::stderr().lock();
            let text = "not all ranks find libnccl.so: gradients go through the host, which is slow";
            let _ = writeln!(stderr, "{text}; {remedy}");
        }
        Ok(Box::new(ranks))
    }
}
