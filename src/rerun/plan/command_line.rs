//! What a command starts: launcher, processes, script and arguments.

/// A word of a command line after expansion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arg {
    pub text: String,
    /// 1-based line.
    pub line: u64,
    /// Something in it is known only by running the command.
    pub unresolved: bool,
}

/// The program that starts the processes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// `torchrun`, `python -m torch.distributed.run`.
    Torchrun,
    /// The interpreter.
    Python,
    /// Slurm's `srun`.
    Srun,
    /// Slurm's `sbatch`.
    Sbatch,
    /// Something else: `accelerate`, `bash`, `modal`.
    Other(String),
}

impl Program {
    /// Its name.
    pub fn word(&self) -> &str {
        match self {
            Program::Torchrun => "torchrun",
            Program::Python => "python",
            Program::Srun => "srun",
            Program::Sbatch => "sbatch",
            Program::Other(name) => name,
        }
    }
}

/// How many processes a command starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Processes {
    /// It says so.
    Stated(u32),
    /// It says nothing; the launcher's own default is one.
    Default,
    /// It says something that is not a number here, such as `$NGPU` or `gpu`.
    Unclear(String),
}

/// What is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Started {
    /// A Python script or module.
    Script { program: Program, processes: Processes, script: String, args: Vec<Arg> },
    /// A shell script, with its arguments.
    ShellFile { program: Program, processes: Processes, file: String, args: Vec<Arg> },
    /// Shell text in an argument, as of `bash -c`.
    ShellText { program: Option<Program>, processes: Processes, text: Arg },
}

/// Options of launchers that take no value; `-` and `_` inside are alike.
const SWITCHES: [&str; 28] = [
    "standalone",
    "no_python",
    "run_path",
    "use_env",
    "multi_gpu",
    "cpu",
    "tpu",
    "use_deepspeed",
    "use_fsdp",
    "same_network",
    "debug",
    "quiet",
    "exclusive",
    "overlap",
    "label",
    "unbuffered",
    "pty",
    "kill_on_bad_exit",
    "wait",
    "parsable",
    "requeue",
    "oversubscribe",
    "allow_run_as_root",
    "bind_to_none",
    "mpi",
    "help",
    "version",
    "verbose",
];

/// Reads a command whose prefixes (`env`, `nohup`, assignments) were taken off. `None` if it starts no script.
pub(super) fn started(words: &[Arg]) -> Option<Started> {
    let (first, rest) = words.split_first()?;
    let program = first.text.rsplit('/').next().unwrap_or_default();
    match program {
        "torchrun" | "torchrun.exe" => torchrun(Program::Torchrun, rest),
        name if is_python(name) => python(rest),
        "accelerate" | "deepspeed" | "mpirun" | "mpiexec" | "composer" | "horovodrun" => {
            let rest = if program == "accelerate" { rest.get(1..).unwrap_or_default() } else { rest };
            launched_by(Program::Other(program.to_string()), rest)
        }
        "modal" | "sky" | "ray" => {
            let script = rest.iter().position(|word| word.text.contains(".py"))?;
            Some(Started::Script {
                program: Program::Other(program.to_string()),
                processes: Processes::Default,
                script: rest[script].text.split("::").next().unwrap_or_default().to_string(),
                args: rest[script + 1..].to_vec(),
            })
        }
        "srun" => launched_by(Program::Srun, rest),
        "sbatch" => {
            let (options, at) = options(rest, &[]);
            let file = rest.get(at)?.text.clone();
            Some(Started::ShellFile {
                program: Program::Sbatch,
                processes: processes(&options, &["ntasks", "n"]),
                file,
                args: rest[at + 1..].to_vec(),
            })
        }
        "bash" | "sh" | "zsh" | "source" | "." => shell(program, rest),
        "docker" | "podman" | "apptainer" | "singularity" | "ssh" => {
            let known = |word: &Arg| word.text == "torchrun" || is_python(&word.text);
            started(&rest[rest.iter().position(known)?..])
        }
        name if name.ends_with(".sh") => Some(Started::ShellFile {
            program: Program::Other("bash".into()),
            processes: Processes::Default,
            file: first.text.clone(),
            args: rest.to_vec(),
        }),
        name if name.ends_with(".py") && first.text.starts_with("./") => Some(Started::Script {
            program: Program::Python,
            processes: Processes::Default,
            script: first.text.clone(),
            args: rest.to_vec(),
        }),
        _ => None,
    }
}

/// `python`, `python3`, `python3.11`, `pypy3`.
fn is_python(name: &str) -> bool {
    let version = name.rsplit('/').next().unwrap_or(name).strip_prefix("python");
    version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.')) || name == "pypy3"
}

fn python(rest: &[Arg]) -> Option<Started> {
    let mut at = 0;
    loop {
        let word = rest.get(at)?;
        match word.text.as_str() {
            "-m" => {
                let module = rest.get(at + 1)?.text.as_str();
                let after = &rest[at + 2..];
                return match module {
                    "torch.distributed.run" | "torch.distributed.launch" | "torch.distributed.elastic" => {
                        torchrun(Program::Torchrun, after)
                    }
                    "accelerate.commands.launch" => launched_by(Program::Other("accelerate".into()), after),
                    "pip" | "venv" | "pytest" | "http.server" | "ensurepip" | "virtualenv" | "pyflakes" => None,
                    _ => Some(Started::Script {
                        program: Program::Python,
                        processes: Processes::Default,
                        script: format!("{}.py", module.replace('.', "/")),
                        args: after.to_vec(),
                    }),
                };
            }
            "-c" | "-" => return None,
            "-W" | "-X" => at += 2,
            option if option.starts_with('-') => at += 1,
            script => {
                return Some(Started::Script {
                    program: Program::Python,
                    processes: Processes::Default,
                    script: script.to_string(),
                    args: rest[at + 1..].to_vec(),
                });
            }
        }
    }
}

fn torchrun(program: Program, rest: &[Arg]) -> Option<Started> {
    let (options, at) = options(rest, &["m", "module"]);
    let module = options.iter().any(|(name, _)| matches!(name.as_str(), "m" | "module"));
    let word = &rest.get(at)?.text;
    let script = if module { format!("{}.py", word.replace('.', "/")) } else { word.clone() };
    let processes = processes(&options, &["nproc_per_node", "nproc"]);
    Some(Started::Script { program, processes, script, args: rest[at + 1..].to_vec() })
}

/// A launcher in front of another command: `srun python train.py`, `accelerate launch train.py`.
fn launched_by(program: Program, rest: &[Arg]) -> Option<Started> {
    let (options, at) = options(rest, &[]);
    let counts = processes(&options, &["ntasks", "n", "np", "num_processes", "num_gpus", "ntasks_per_node"]);
    let inner = rest.get(at..)?;
    let script = inner.first()?;
    if script.text.ends_with(".py") {
        let (script, args) = (script.text.clone(), inner[1..].to_vec());
        return Some(Started::Script { program, processes: counts, script, args });
    }
    match started(inner)? {
        Started::Script { program: Program::Python, script, args, .. } => {
            Some(Started::Script { program, processes: counts, script, args })
        }
        Started::ShellText { program: None, text, .. } => {
            Some(Started::ShellText { program: Some(program), processes: counts, text })
        }
        Started::ShellFile { file, args, .. } => Some(Started::ShellFile { program, processes: counts, file, args }),
        // `srun torchrun`: torchrun makes the processes.
        other => Some(other),
    }
}

fn shell(program: &str, rest: &[Arg]) -> Option<Started> {
    let at = rest.iter().position(|word| !word.text.starts_with('-') || word.text.ends_with('c'))?;
    let word = &rest[at];
    if word.text.starts_with('-') {
        let text = rest.get(at + 1)?.clone();
        return Some(Started::ShellText { program: None, processes: Processes::Default, text });
    }
    if matches!(program, "source" | ".") && !word.text.ends_with(".sh") {
        return None;
    }
    Some(Started::ShellFile {
        program: Program::Other("bash".into()),
        processes: Processes::Default,
        file: word.text.clone(),
        args: rest[at + 1..].to_vec(),
    })
}

/// Options before the first word that is none, and that word's index.
fn options(words: &[Arg], switches: &[&str]) -> (Vec<(String, Arg)>, usize) {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|word| word.text.starts_with('-')) {
        at += 1;
        if word.text == "--" {
            break;
        }
        let body = word.text.trim_start_matches('-');
        // `-n8`
        let joined = body.split_at_checked(1).filter(|(_, count)| {
            !word.text.starts_with("--") && !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit())
        });
        let (name, value) = match body.split_once('=').or(joined) {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (body, None),
        };
        let name = name.replace('-', "_");
        let is_switch = switches.contains(&name.as_str()) || SWITCHES.contains(&name.as_str());
        let value = match value {
            Some(text) => Arg { text, ..word.clone() },
            None if is_switch => Arg { text: String::new(), ..word.clone() },
            None => {
                let next = words.get(at).cloned();
                at += 1;
                next.unwrap_or_else(|| Arg { text: String::new(), ..word.clone() })
            }
        };
        found.push((name, value));
    }
    (found, at)
}

fn processes(options: &[(String, Arg)], names: &[&str]) -> Processes {
    match options.iter().rev().find(|(name, _)| names.contains(&name.as_str())) {
        None => Processes::Default,
        Some((_, value)) => stated(&value.text),
    }
}

/// A number of processes as somebody wrote it.
pub(super) fn stated(text: &str) -> Processes {
    match text.parse() {
        Ok(count) if (1..=crate::manifest::MAX_PROCESSES).contains(&count) => Processes::Stated(count),
        _ => Processes::Unclear(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(command: &str) -> Option<String> {
        let words: Vec<Arg> =
            command.split_whitespace().map(|word| Arg { text: word.into(), line: 1, unresolved: false }).collect();
        let count = |processes: Processes| match processes {
            Processes::Stated(count) => count.to_string(),
            Processes::Default => "-".into(),
            Processes::Unclear(text) => format!("?{text}"),
        };
        let rest = |args: Vec<Arg>| args.into_iter().map(|arg| format!(" {}", arg.text)).collect::<String>();
        Some(match started(&words)? {
            Started::Script { program, processes, script, args } => {
                format!("{} {} {script}{}", program.word(), count(processes), rest(args))
            }
            Started::ShellFile { program, processes, file, args } => {
                format!("file {} {} {file}{}", program.word(), count(processes), rest(args))
            }
            Started::ShellText { program, processes, text } => {
                format!(
                    "text {} {} {}",
                    program.map_or("-".into(), |p| p.word().to_string()),
                    count(processes),
                    text.text
                )
            }
        })
    }

    #[test]
    fn launchers_in_every_spelling() {
        for (command, expected) in [
            ("torchrun --standalone --nproc_per_node=8 train_gpt.py", "torchrun 8 train_gpt.py"),
            ("torchrun --nproc-per-node 8 --standalone a/t.py --lr 1", "torchrun 8 a/t.py --lr 1"),
            ("/opt/bin/torchrun --nnodes 1 --nproc_per_node gpu t.py", "torchrun ?gpu t.py"),
            ("torchrun t.py", "torchrun - t.py"),
            ("torchrun --nproc_per_node=8 -m research.train", "torchrun 8 research/train.py"),
            ("torchrun --master_port 29500 --nproc_per_node=0 t.py", "torchrun ?0 t.py"),
            ("python -m torch.distributed.run --standalone --nproc_per_node=2 t.py x", "torchrun 2 t.py x"),
            ("python3.12 -u -X dev t.py", "python - t.py"),
            ("python -m pkg.train --x", "python - pkg/train.py --x"),
            ("accelerate launch --num_processes 4 --multi_gpu t.py", "accelerate 4 t.py"),
            ("mpirun -np 8 python t.py --a", "mpirun 8 t.py --a"),
            ("srun -n8 --gpus-per-task 1 python -u t.py", "srun 8 t.py"),
            ("srun --ntasks=4 bash -c X", "text srun 4 X"),
            ("srun torchrun --nproc_per_node=8 t.py", "torchrun 8 t.py"),
            ("sbatch -n 8 job.sbatch 42", "file sbatch 8 job.sbatch 42"),
            ("bash run.sh v7", "file bash - run.sh v7"),
            ("./run.sh", "file bash - ./run.sh"),
            ("bash -lc X", "text - - X"),
            ("docker run --gpus all image torchrun --nproc_per_node=8 t.py", "torchrun 8 t.py"),
            ("modal run app.py::main --x", "modal - app.py --x"),
        ] {
            assert_eq!(read(command).as_deref(), Some(expected), "{command}");
        }
    }

    #[test]
    fn other_commands_start_no_script() {
        for command in [
            "pip install x",
            "python -m pip install x",
            "python -c X",
            "python -",
            "python",
            "torchrun",
            "git clone x",
            "source .venv/bin/activate",
            "srun",
            "cd x",
            "torchrun --nproc_per_node",
        ] {
            assert_eq!(read(command), None, "{command}");
        }
    }
}
