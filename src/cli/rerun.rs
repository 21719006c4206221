//! `rerun`: run a submission's own script again, under supervision.

use std::path::{Path, PathBuf};

use clap::Parser;

mod around;
#[cfg(target_os = "linux")]
mod collect;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod score;
#[cfg(target_os = "linux")]
mod show;
#[cfg(target_os = "linux")]
mod slurm;

use self::around::Around;
#[cfg(target_os = "linux")]
pub use self::{collect::NothingJudged, slurm::SubmittedSeeds};
use super::output::print;
use super::outputs::Outputs;
use super::places::check_folder;
use super::previous::Kind;
use super::values::{at_least, number};
use super::{CommonArgs, ExitCode};
use crate::atomic_write;
use crate::manifest::{Launcher, MAX_PROCESSES, is_launcher_variable, is_variable_name};
use crate::rerun::plan::{self, Plan, Request, Subject};
use crate::units::Bytes;

/// Run a submission's own script again
///
/// Says first what would be run: script, launcher, variables and arguments with the place each comes from, data,
/// packages, GPUs, time, and everything that is missing. What can mean several things is asked for by flag.
/// Then runs it, seed by seed, in a sandbox, and holds what comes out to the claim. The same command goes on where it
/// was stopped. This is the one program here that executes a submission's code; with --plan it does not.
#[derive(Parser)]
#[command(
    version,
    long_version = super::version::long(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  golf-harness rerun fixtures/submissions/runnable --plan
  golf-harness rerun fixtures/submissions/runnable --seeds 1,2,3
  golf-harness rerun fixtures/submissions/runnable --seeds 1,2,3 \\
      --submission new --against manifests/board.yaml
  golf-harness rerun fixtures/submissions/runnable --plan --command 20
  golf-harness rerun fixtures/submissions/runnable --plan --seeds 1 \\
      --data-path fixtures/smoke --tokenizer-path fixtures/smoke/tokenizer.model
  golf-harness rerun fixtures/submissions/runnable --plan -o run.yaml
  golf-harness rerun run.yaml --plan --env SEED=4
  golf-harness rerun fixtures/submissions/runnable --plan --smoke --nproc 1
  golf-harness rerun fixtures/submissions/runnable --seeds 1,2,3 \\
      --launcher sbatch --launcher-arg=--partition=gpu
  golf-harness rerun fixtures/submissions/runnable --seeds 1,2,3 \\
      --container localhost/golf-harness-rerun:test
  golf-harness rerun collect runs/rerun-runnable

With --json, stdout is the report, or the plan where it cannot start; --progress json tells how far each seed is.

Exit codes: 0 it agrees with the claim (with --plan: it can start), 1 it differs, or a run failed, 2 it could not be
started or there is nothing to compare with, 130 interrupted"
)]
pub struct Args {
    /// Folder of a submission, or a manifest with a `run:` section
    #[arg(value_name = "FOLDER|MANIFEST", required = true)]
    path: Option<PathBuf>,

    /// Print the plan and stop; nothing of the submission is executed
    #[arg(long)]
    plan: bool,

    /// Write the manifest with the plan as its `run:` section
    #[arg(long, short, value_name = "FILE", requires = "plan")]
    output: Option<PathBuf>,

    /// Replace the file of --output that is there
    #[arg(long, requires = "output")]
    force: bool,

    /// Seeds, one run each
    #[arg(long, value_name = "SEED,...", value_delimiter = ',', value_parser = at_least::<0>, help_heading = "Run")]
    seeds: Vec<u64>,

    /// Set a hyper-parameter, by the variable or the option that the script has for it; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment, help_heading = "Run")]
    set: Vec<(String, String)>,

    /// Set an environment variable of the script; `{seed}` stands for the seed; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable, help_heading = "Run")]
    env: Vec<(String, String)>,

    /// Follow the command on this line of the README
    #[arg(long, value_name = "LINE", help_heading = "Run")]
    command: Option<u64>,

    /// Whether variables that the README sets without exporting them reach the script
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no, help_heading = "Run")]
    allexport: Option<bool>,

    /// The script to start, inside of the folder
    #[arg(long, value_name = "PATH", help_heading = "Run")]
    script: Option<String>,

    /// The program that starts it
    #[arg(long, value_enum, value_name = "PROGRAM", help_heading = "Run")]
    launcher: Option<Launcher>,

    /// Processes, one GPU each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PROCESSES)), help_heading = "Run")]
    nproc: Option<u32>,

    /// An option for srun or sbatch, such as --launcher-arg=--partition=gpu; repeatable
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true, help_heading = "Run")]
    launcher_arg: Vec<String>,

    /// A few iterations without the cap on time: says whether it starts, reproduces nothing
    #[arg(long, help_heading = "Run")]
    smoke: bool,

    /// Token shards, in place of the path the submission names
    #[arg(long, value_name = "PATH", help_heading = "Machine")]
    data_path: Option<PathBuf>,

    /// Tokenizer, in place of the path the submission names
    #[arg(long, value_name = "PATH", help_heading = "Machine")]
    tokenizer_path: Option<PathBuf>,

    /// The interpreter that runs the script
    #[arg(long, value_name = "PATH", default_value = "python3", help_heading = "Machine")]
    python: PathBuf,

    /// Folder for logs, working folders and reports; the same command goes on there [default: runs/rerun-NAME]
    #[arg(long, value_name = "DIR", conflicts_with = "plan", help_heading = "Output")]
    out: Option<PathBuf>,

    /// Write a complete record folder of what was rerun
    #[arg(long, value_name = "DIR", conflicts_with = "plan", help_heading = "Output")]
    submission: Option<PathBuf>,

    /// What stands around the script; `best` is bubblewrap, or landlock where user name spaces are refused
    #[arg(long, value_enum, value_name = "KIND", default_value = "best", help_heading = "Sandbox")]
    sandbox: SandboxChoice,

    /// Run in a container of this image, which has the interpreter of --python; it is never fetched
    #[arg(long, value_name = "IMAGE", conflicts_with = "sandbox", help_heading = "Sandbox")]
    container: Option<String>,

    /// What runs the container: podman, docker, apptainer or singularity [default: the first that has the image]
    #[arg(long, value_name = "PROGRAM", requires = "container", help_heading = "Sandbox")]
    container_engine: Option<PathBuf>,

    /// Run without a sandbox, in a machine that may be harmed; the report says so
    #[arg(long, conflicts_with_all = ["sandbox", "container"], help_heading = "Sandbox")]
    no_sandbox: bool,

    /// Stop training that takes longer by our clock [default: 720 in the 10-minute track, else none]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Limits")]
    cap_train: Option<f64>,

    /// Stop an evaluation that takes longer by our clock [default: 720 in the 10-minute track, else none]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Limits")]
    cap_eval: Option<f64>,

    /// Memory of all processes of a seed, such as 64G [default: nine tenths of the machine's]
    #[arg(long, value_name = "BYTES", value_parser = size, help_heading = "Limits")]
    memory: Option<Bytes>,

    /// What a seed may write to disk, such as 20G
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "20G", help_heading = "Limits")]
    disk: Bytes,

    /// How far a seed, and the mean, may be from the claim, bits per byte [default: three spreads of the claimed seeds]
    #[arg(long, value_name = "BPB", value_parser = seconds, help_heading = "Limits")]
    tolerance: Option<f64>,

    /// Compare what came out with standing records: better by 0.005 nats at p < 0.01? (manifests/board.yaml)
    #[arg(long, value_name = "BOARD", conflicts_with = "plan")]
    against: Option<PathBuf>,

    /// Score the artifacts that come out with this program, too, and set that beside the script's own number; the
    /// manifest describes the network [default: the submission's own manifest]
    #[arg(long, value_name = "MANIFEST", num_args = 0..=1, require_equals = true, conflicts_with = "plan")]
    score: Option<Option<PathBuf>>,

    #[command(flatten)]
    common: CommonArgs,

    #[cfg(target_os = "linux")]
    #[command(subcommand)]
    other: Option<Other>,
}

impl Args {
    /// What is to be run.
    fn subject(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("."))
    }
}

/// What is done with seeds that go through Slurm.
#[cfg(target_os = "linux")]
#[derive(clap::Subcommand)]
enum Other {
    Collect(collect::CollectArgs),
    Seed(collect::SeedArgs),
}

/// What stands around the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SandboxChoice {
    /// bubblewrap, or Landlock where user name spaces are refused.
    Best,
    /// Name spaces and a file system of its own.
    Bubblewrap,
    /// The kernel's Landlock and seccomp.
    Landlock,
}

/// A number that is not negative, nor longer than any run.
fn seconds(text: &str) -> Result<f64, String> {
    number(text).and_then(|value| if value < 1e9 { Ok(value) } else { Err("must be less than 1,000,000,000".into()) })
}

/// Bytes, with K, M, G or T for powers of 1024.
fn size(text: &str) -> Result<Bytes, String> {
    let (digits, shift) = match text.find(|c: char| !c.is_ascii_digit()) {
        None => (text, 0),
        Some(end) => match &text[end..] {
            "K" => (&text[..end], 10),
            "M" => (&text[..end], 20),
            "G" => (&text[..end], 30),
            "T" => (&text[..end], 40),
            _ => return Err("expected a number of bytes, with K, M, G or T for powers of 1024".into()),
        },
    };
    let number: u64 = digits.parse().map_err(|_| "expected a number of bytes, such as 20G".to_string())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).map(Bytes).ok_or_else(|| "out of range".into())
}

/// `KEY=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_string(), value.to_string())),
        _ => Err("expected KEY=VALUE, such as MATRIX_LR=0.02".into()),
    }
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("expected yes or no".into()),
    }
}

/// `NAME=VALUE` of an environment variable.
fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = assignment(text)?;
    if !is_variable_name(&name) {
        return Err(format!("`{name}` is no name of a variable: letters, digits and `_`"));
    }
    if is_launcher_variable(&name) {
        return Err(format!("`{name}` is set by the launcher, for each process"));
    }
    Ok((name, value))
}

/// Does what is asked.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.common.apply_color();
    #[cfg(target_os = "linux")]
    match &args.other {
        Some(Other::Collect(collected)) => return collect::run(collected, &args.common),
        Some(Other::Seed(seed)) => return collect::seed(seed, &args.common),
        None => {}
    }
    #[cfg(target_os = "linux")]
    score::check(&args.score)?;
    if let Some(seed) =
        args.seeds.iter().enumerate().find_map(|(at, seed)| args.seeds[..at].contains(seed).then_some(seed))
    {
        anyhow::bail!("--seeds: {seed} stands there twice");
    }
    args.out.as_deref().map_or(Ok(()), |out| check_folder("--out", out))?;
    let mut outputs = Outputs::default();
    outputs.reads_subject(args.subject()).writes_each("--output", &args.output, Kind::Raw);
    outputs.check(args.force)?;
    let subject = Subject::read(args.subject())?;
    let around = Around::of(args)?;
    let plan = plan::plan(&subject, &request(args), &around.machine(&args.python));
    if !args.plan {
        return start(args, &subject, &plan, &around);
    }
    print(&args.common, || &plan, || plan::text(&plan, args.common.verbose > 0))?;
    if let Some(file) = &args.output {
        atomic_write::write(file, plan::manifest_with_run(&subject, &plan, file)?.as_bytes())?;
    }
    Ok(if plan.startable { ExitCode::Ok } else { ExitCode::CouldNotCheck })
}

#[cfg(target_os = "linux")]
fn start(args: &Args, subject: &Subject, plan: &Plan, around: &Around) -> anyhow::Result<ExitCode> {
    run::start(args, subject, plan, around)
}

#[cfg(not(target_os = "linux"))]
fn start(_: &Args, _: &Subject, _: &Plan, _: &Around) -> anyhow::Result<ExitCode> {
    anyhow::bail!("scripts are started on Linux only, whose kernel confines them; --plan works everywhere")
}

fn request(args: &Args) -> Request {
    Request {
        seeds: args.seeds.clone(),
        env: args.env.clone(),
        set: args.set.clone(),
        script: args.script.clone(),
        launcher: args.launcher,
        processes: args.nproc,
        command: args.command,
        allexport: args.allexport,
        data_path: args.data_path.clone(),
        tokenizer_path: args.tokenizer_path.clone(),
        smoke: args.smoke,
    }
}
