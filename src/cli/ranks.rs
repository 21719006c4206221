//! `--ranks` and the variables of launchers: with whom this process trains.

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

/// With whom this process trains.
#[derive(Clone, Debug)]
pub enum Company {
    /// With nobody.
    Alone,
    /// With itself, as so many threads.
    Threads(usize),
    /// With the processes a launcher started.
    Processes {
        /// What the launcher said.
        launch: Launch,
        /// Longest wait for another one.
        timeout: Duration,
    },
}

impl RanksArgs {
    /// Reads the launcher's variables beside the flags.
    pub fn company(self) -> anyhow::Result<Company> {
        let launch = Launch::from_environment(|name| std::env::var(name).ok())?;
        Ok(match (self.ranks, launch) {
            (None | Some(1), None) => Company::Alone,
            (Some(ranks), None) => Company::Threads(ranks),
            (ranks, Some(launch)) => {
                ensure!(
                    ranks.is_none(),
                    "--ranks makes threads of one process, but this is {} of a launcher; leave out one of them",
                    launch.place
                );
                Company::Processes { launch, timeout: Duration::from_secs(self.rank_timeout) }
            }
        })
    }
}

impl Company {
    /// What a launcher said, if one started this process.
    pub fn launch(&self) -> Option<&Launch> {
        match self {
            Company::Processes { launch, .. } => Some(launch),
            _ => None,
        }
    }

    /// Meets the other processes. Gradients go through NCCL between GPUs if all ranks find it, which one line says if they
    /// do not; else through the host and rank 0.
    pub fn meet(&self, on_gpu: bool, interrupt: &Interrupt) -> anyhow::Result<Box<dyn Collective>> {
        let Company::Processes { launch, timeout } = self else { return Ok(Box::new(Solo)) };
        let met = Rendezvous::of(launch, *timeout).connect(interrupt).map_err(|error| match error {
            RendezvousError::Interrupted => anyhow::Error::from(Interrupted).context(error.to_string()),
            error => error.into(),
        })?;
        let Some(ordinal) = launch.local_rank.filter(|_| on_gpu) else { return Ok(Box::new(met)) };
        if NcclRank::is_found_by_all(&met)? {
            return Ok(Box::new(NcclRank::join(met, ordinal)?));
        }
        if met.place().is_lead() {
            let remedy = "put a link of that name to libnccl.so.2 on LD_LIBRARY_PATH (docs/cuda.md)";
            let mut stderr = anstream::stderr().lock();
            writeln!(stderr, "not all ranks find libnccl.so: gradients go through the host, which is slow; {remedy}")?;
        }
        Ok(Box::new(met))
    }
}
