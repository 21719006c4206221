//! Variables that a README's command gives to the wrong program.

use std::collections::BTreeSet;

use super::{Assignment, Command, Joined, Word};

/// Variables that were put before an installer, so that the training command after it does not see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostVariables {
    /// Line of the first variable.
    pub line: u64,
    /// Names in order.
    pub names: Vec<String>,
    /// What they reach, such as `pip`.
    pub installer: String,
    /// What they were meant for, such as `torchrun`.
    pub launcher: String,
    /// Line of that command.
    pub launcher_line: u64,
}

/// Installers' own settings, which belong before an installer.
const INSTALLER_VARIABLES: [&str; 9] =
    ["PIP_", "UV_", "CONDA_", "DEBIAN_", "FLASH_ATT", "TORCH_CUDA_ARCH", "MAX_JOBS", "CFLAGS", "CUDA_HOME"];

/// Most places reported.
const MAX_LOST: usize = 16;

/// Finds `VAR=... pip install x && torchrun ...`: the variables end with `pip`, the training runs without them.
///
/// The first `MAX_LOST` of them; time grows with the text and no faster.
pub fn lost_variables(commands: &[Command]) -> Vec<LostVariables> {
    let mut lost = Vec::new();
    let exported: BTreeSet<String> = commands.iter().flat_map(exported_names).collect();
    let launchers = next_launchers(commands);
    // The variables of one launcher, which many installers may stand before.
    let mut given: (usize, BTreeSet<&str>) = (usize::MAX, BTreeSet::new());
    for (command, at) in commands.iter().zip(launchers) {
        let (Some(at), Some(installer)) = (at, installer(&command.words)) else { continue };
        let meant: Vec<&Assignment> = command
            .assignments
            .iter()
            .filter(|given| !INSTALLER_VARIABLES.iter().any(|prefix| given.name.starts_with(prefix)))
            .collect();
        let (Some(first), Some(next)) = (meant.first(), commands.get(at)) else { continue };
        let Some(launcher) = launcher(&next.words) else { continue };
        if given.0 != at {
            given = (at, next.assignments.iter().map(|given| given.name.as_str()).collect());
        }
        let reaches = |name: &str| given.1.contains(name) || exported.contains(name);
        let names: Vec<String> = meant.iter().map(|given| given.name.clone()).filter(|name| !reaches(name)).collect();
        if !names.is_empty() {
            let line = first.value.line;
            lost.push(LostVariables { line, names, installer, launcher, launcher_line: next.line });
        }
        if lost.len() == MAX_LOST {
            break;
        }
    }
    lost
}

/// For each command the first launcher behind it that `&&` joins to it, through whatever stands between.
fn next_launchers(commands: &[Command]) -> Vec<Option<usize>> {
    let mut found = vec![None; commands.len()];
    for (at, command) in commands.iter().enumerate().skip(1).rev() {
        if command.joined == Joined::And {
            found[at - 1] = if launcher(&command.words).is_some() { Some(at) } else { found[at] };
        }
    }
    found
}

fn exported_names(command: &Command) -> Vec<String> {
    let name = |word: &Word| word.text().split('=').next().unwrap_or_default().to_string();
    match command.words.split_first() {
        Some((first, rest)) if first.literal() == Some("export") => rest.iter().map(name).collect(),
        _ => Vec::new(),
    }
}

fn program(words: &[Word]) -> Option<String> {
    let mut texts = words.iter().map(Word::text);
    let first = texts.find(|word| !matches!(word.as_str(), "sudo" | "env" | "time" | "nohup"))?;
    first.rsplit('/').next().map(str::to_string)
}

fn installer(words: &[Word]) -> Option<String> {
    let program = program(words)?;
    let by_python =
        program.starts_with("python") && words.windows(2).any(|pair| pair[0].text() == "-m" && pair[1].text() == "pip");
    let is_installer =
        matches!(program.as_str(), "pip" | "pip3" | "uv" | "conda" | "mamba" | "apt" | "apt-get" | "brew");
    if by_python { Some("pip".into()) } else { is_installer.then_some(program) }
}

fn launcher(words: &[Word]) -> Option<String> {
    let program = program(words)?;
    let starts = matches!(program.as_str(), "torchrun" | "accelerate" | "bash" | "sh" | "srun" | "mpirun");
    (starts || program.starts_with("python") && installer(words).is_none()).then_some(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::code::shell::commands;

    /// The reproduction block of PR #286's README.
    const PR_286: &str = "# X\n\n```bash\nRUN_ID=10l_seed1337 \\\nDATA_PATH=./data \\\nSEED=1337 \\\npip install \
                          zstandard && \\\ntorchrun --standalone --nproc_per_node=8 \\\n./train_gpt.py\n```\n";

    #[test]
    fn pr_286_gives_its_variables_to_pip() {
        let lost = lost_variables(&commands(PR_286));
        assert_eq!(
            lost,
            [LostVariables {
                line: 4,
                names: ["RUN_ID", "DATA_PATH", "SEED"].map(String::from).to_vec(),
                installer: "pip".into(),
                launcher: "torchrun".into(),
                launcher_line: 8,
            }]
        );
    }

    #[test]
    fn commands_that_work_are_left_alone() {
        for block in [
            "pip install zstandard && SEED=1337 torchrun train_gpt.py",
            "SEED=1337 torchrun train_gpt.py",
            "export SEED=1\nSEED=1 pip install x && torchrun t.py",
            "PIP_NO_CACHE_DIR=1 MAX_JOBS=4 pip install flash-attn && torchrun t.py",
            "SEED=1 pip install x\ntorchrun t.py",
            "SEED=1 \\\n  pip install x; torchrun t.py",
            "for SEED in 1 2; do\n  SEED=$SEED torchrun t.py\ndone",
        ] {
            assert_eq!(lost_variables(&commands(&format!("```\n{block}\n```\n"))), [], "{block}");
        }
    }

    #[test]
    fn readmes_of_nothing_but_commands_take_no_longer_than_their_length() {
        let chain = "A=1 pip install x && ".repeat(100_000) + "torchrun y";
        let lines = "A=1 pip install x && torchrun y\n".repeat(50_000);
        let many = (0..50_000).map(|i| format!("A{i}=1 ")).collect::<String>();
        let wide = format!("{many} pip install x && ").repeat(3) + &many.replace("A", "B") + " torchrun y";
        for block in [chain, lines, wide] {
            let start = std::time::Instant::now();
            assert!(!lost_variables(&commands(&format!("```\n{block}\n```\n"))).is_empty());
            // Seconds where it grew with the square.
            assert!(start.elapsed().as_secs() < 8, "{:?}", start.elapsed());
        }
    }

    #[test]
    fn other_languages_and_open_fences_are_harmless() {
        assert!(commands("```python\nSEED=1 pip install x && torchrun y\n```\n").is_empty());
        assert!(commands("```bash\nSEED=1 pip 'unclosed && torchrun y\n").is_empty());
        // A longer fence holds a shorter one.
        assert_eq!(commands("````\n```\n````\nSEED=1 pip install x\n").len(), 1);
    }
}
