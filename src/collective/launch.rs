//! Which rank a launcher made this process: torchrun, mpirun or srun say it in environment variables.

use super::{Rank, RankError};

/// The port of PyTorch's launchers without a `MASTER_PORT`.
const DEFAULT_PORT: u16 = 29_500;

/// Who started the processes, in the order they are asked: a launcher inside another one is the one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// torchrun, and anything else that sets its variables.
    Torchrun,
    /// Open MPI's mpirun.
    OpenMpi,
    /// MPICH's and Intel's mpirun.
    Pmi,
    /// Slurm's srun.
    Slurm,
}

impl Launcher {
    const ALL: [Launcher; 4] = [Launcher::Torchrun, Launcher::OpenMpi, Launcher::Pmi, Launcher::Slurm];

    /// Variables with the rank, the number of ranks and the rank among those of this machine.
    fn variables(self) -> [&'static str; 3] {
        match self {
            Launcher::Torchrun => ["RANK", "WORLD_SIZE", "LOCAL_RANK"],
            Launcher::OpenMpi => ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"],
            Launcher::Pmi => ["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"],
            Launcher::Slurm => ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"],
        }
    }
}

/// What a launcher says about this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Who said it.
    pub launcher: Launcher,
    /// The rank and how many there are, more than one.
    pub rank: Rank,
    /// The rank among those on this machine: which GPU is its own.
    pub local_rank: Option<usize>,
    /// Name or address of rank 0's machine.
    pub host: String,
    /// Port on it that the ranks connect to.
    pub port: u16,
}

/// Variables that do not say which rank this is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// One of a pair is absent.
    #[error("{present} is set and {missing} is not: set both (or neither, to train with one process)")]
    Half {
        /// The variable that is there.
        present: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// Not a number.
    #[error("{variable}={value}: expected a whole number from 0")]
    Number {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// A world or rank that cannot be.
    #[error("{rank_variable} and {world_variable}: {source}")]
    Rank {
        /// Variable of the rank.
        rank_variable: &'static str,
        /// Variable of the number of ranks.
        world_variable: &'static str,
        /// What is wrong.
        source: RankError,
    },
    /// Two launchers that agree on the world and not on the rank.
    #[error(
        "{first}={first_rank} contradicts {second}={second_rank} in one world of {world}; \
         unset the variables of the launcher that did not start this process"
    )]
    Contradiction {
        /// A variable.
        first: &'static str,
        /// Its rank.
        first_rank: usize,
        /// Another.
        second: &'static str,
        /// Its rank.
        second_rank: usize,
        /// Ranks in both.
        world: usize,
    },
    /// No address of rank 0.
    #[error(
        "{rank} does not know where rank 0 is: set MASTER_ADDR to its machine (and MASTER_PORT, else {DEFAULT_PORT})"
    )]
    Master {
        /// Which rank.
        rank: String,
    },
}

impl Launch {
    /// Reads the variables through `get`. `None`: nobody launched several processes.
    ///
    /// Under Slurm only a step of srun counts: a batch script, too, has SLURM_PROCID.
    pub fn from_environment(get: impl Fn(&'static str) -> Option<String>) -> Result<Option<Self>, LaunchError> {
        let get = |variable| get(variable).filter(|value| !value.is_empty());
        let mut found: Option<(Launcher, usize, usize)> = None;
        for launcher in Launcher::ALL {
            if launcher == Launcher::Slurm && get("SLURM_STEP_ID").is_none() {
                continue;
            }
            let Some((rank, world)) = pair(launcher, &get)? else { continue };
            match found {
                None => found = Some((launcher, rank, world)),
                Some((by, first_rank, of)) if of == world && first_rank != rank => {
                    let (first, second) = (by.variables()[0], launcher.variables()[0]);
                    return Err(LaunchError::Contradiction { first, first_rank, second, second_rank: rank, world });
                }
                Some(_) => {}
            }
        }
        let Some((launcher, rank, world)) = found else { return Ok(None) };
        let [rank_variable, world_variable, local_variable] = launcher.variables();
        let rank = Rank::new(rank, world);
        let rank = rank.map_err(|source| LaunchError::Rank { rank_variable, world_variable, source })?;
        if world == 1 {
            return Ok(None);
        }
        let local_rank = get(local_variable).map(|value| number(local_variable, value)).transpose()?;
        let host = get("MASTER_ADDR").ok_or_else(|| LaunchError::Master { rank: rank.to_string() })?;
        let port = get("MASTER_PORT").map(|value| port_number("MASTER_PORT", value)).transpose()?;
        let port = port.unwrap_or(DEFAULT_PORT);
        // torchrun's own agent listens on MASTER_PORT when it says so.
        let is_taken = get("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True");
        let port = if is_taken { port.wrapping_add(1).max(1) } else { port };
        Ok(Some(Launch { launcher, rank, local_rank, host, port }))
    }
}

/// Rank and world as one launcher gives them; `None` when it says nothing.
fn pair(
    launcher: Launcher,
    get: &impl Fn(&'static str) -> Option<String>,
) -> Result<Option<(usize, usize)>, LaunchError> {
    let [rank, world, _] = launcher.variables();
    match (get(rank), get(world)) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(LaunchError::Half { present: rank, missing: world }),
        (None, Some(_)) => Err(LaunchError::Half { present: world, missing: rank }),
        (Some(own), Some(of)) => Ok(Some((number(rank, own)?, number(world, of)?))),
    }
}

fn number(variable: &'static str, value: String) -> Result<usize, LaunchError> {
    value.trim().parse().map_err(|_| LaunchError::Number { variable, value })
}

fn port_number(variable: &'static str, value: String) -> Result<u16, LaunchError> {
    match value.trim().parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(LaunchError::Number { variable, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(variables: &[(&'static str, &str)]) -> Result<Option<Launch>, LaunchError> {
        let find = |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
        Launch::from_environment(find)
    }

    fn refusal(variables: &[(&'static str, &str)]) -> String {
        launch(variables).unwrap_err().to_string()
    }

    const MASTER: (&str, &str) = ("MASTER_ADDR", "node-0");

    #[test]
    fn every_launcher_is_understood() {
        assert_eq!(launch(&[]), Ok(None));
        assert_eq!(launch(&[("RANK", "0"), ("WORLD_SIZE", "1")]), Ok(None));
        for (by, rank, world, local) in [
            (Launcher::Torchrun, "RANK", "WORLD_SIZE", "LOCAL_RANK"),
            (Launcher::OpenMpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
            (Launcher::Pmi, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
            (Launcher::Slurm, "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
        ] {
            let step = ("SLURM_STEP_ID", "0");
            let found = launch(&[(rank, "5"), (world, "8"), (local, "1"), MASTER, step]).unwrap().unwrap();
            assert_eq!((found.launcher, found.rank, found.local_rank), (by, Rank::new(5, 8).unwrap(), Some(1)));
            assert_eq!((found.host.as_str(), found.port), ("node-0", 29_500));
        }
        // A batch script is no step, and torchrun inside a Slurm step is torchrun.
        assert_eq!(launch(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")]), Ok(None));
        let inside = [("RANK", "3"), ("WORLD_SIZE", "8"), ("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1")];
        let agent = [("SLURM_STEP_ID", "0"), MASTER, ("MASTER_PORT", "4000"), ("TORCHELASTIC_USE_AGENT_STORE", "True")];
        let found = launch(&[&inside[..], &agent[..]].concat()).unwrap().unwrap();
        assert_eq!((found.launcher, found.rank.index(), found.port), (Launcher::Torchrun, 3, 4001));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert!(refusal(&[("RANK", "0")]).starts_with("RANK is set and WORLD_SIZE is not"));
        assert!(refusal(&[("WORLD_SIZE", "8")]).starts_with("WORLD_SIZE is set and RANK is not"));
        assert!(refusal(&[("RANK", "x"), ("WORLD_SIZE", "2")]).starts_with("RANK=x: expected a whole number"));
        assert!(
            refusal(&[("RANK", "0"), ("WORLD_SIZE", "3"), MASTER]).contains("WORLD_SIZE: a world of 3 ranks cannot")
        );
        assert!(refusal(&[("RANK", "2"), ("WORLD_SIZE", "2"), MASTER]).contains("rank 2 is outside a world of 2"));
        assert!(
            refusal(&[("RANK", "1"), ("WORLD_SIZE", "2")]).starts_with("rank 1 of 2 does not know where rank 0 is")
        );
        let port = refusal(&[("RANK", "1"), ("WORLD_SIZE", "2"), MASTER, ("MASTER_PORT", "70000")]);
        assert!(port.starts_with("MASTER_PORT=70000"), "{port}");
        let two = [("RANK", "0"), ("WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "2"), ("OMPI_COMM_WORLD_SIZE", "4")];
        assert!(refusal(&two).starts_with("RANK=0 contradicts OMPI_COMM_WORLD_RANK=2 in one world of 4"));
    }
}
