//! `rerun`: run a submission's own script again, under supervision.

use std::io::Write;
use std::path::PathBuf;

use clap::Parser;

use super::{CommonArgs, ExitCode};
use crate::atomic_write;
use crate::manifest::{Launcher, MAX_PROCESSES, is_launcher_variable, is_variable_name};
use crate::rerun::plan::{self, Plan, Request, Subject, ThisMachine};

/// Run a submission's own script again
///
/// Says first what would be run: script, launcher, variables and arguments with the place each comes from, data,
/// packages, GPUs, time, and everything that is missing. What can mean several things is asked for by flag.
/// This is the one program here that executes a submission's code; with --plan it does not.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  rerun FOLDER --plan                           what would be run, and what is missing
  rerun FOLDER --plan --command 71              follow the command on line 71 of the README
  rerun FOLDER --plan --seeds 42,1337,2025 --data-path DATA --tokenizer-path FILE
  rerun FOLDER --plan -o run.yaml               write the plan as a manifest with a `run:` section
  rerun run.yaml --plan --set MATRIX_LR=0.02    the manifest's run, with one value changed
  rerun FOLDER --plan --smoke --nproc 1         a few iterations, no reproduction

Exit codes: 0 it can start, 2 something is missing or ambiguous, 130 interrupted"
)]
pub struct Args {
    /// Folder of a submission, or a manifest with a `run:` section
    #[arg(value_name = "FOLDER|MANIFEST")]
    path: PathBuf,

    /// Print the plan and stop; nothing of the submission is executed
    #[arg(long)]
    plan: bool,

    /// Write the manifest with the plan as its `run:` section
    #[arg(long, short, value_name = "FILE", requires = "plan")]
    output: Option<PathBuf>,

    /// Seeds, one run each
    #[arg(long, value_name = "SEED,...", value_delimiter = ',', help_heading = "Run")]
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

    #[command(flatten)]
    common: CommonArgs,
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

/// Prints the plan.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.common.apply_color();
    if let Some(seed) =
        args.seeds.iter().enumerate().find_map(|(at, seed)| args.seeds[..at].contains(seed).then_some(seed))
    {
        anyhow::bail!("--seeds: {seed} stands there twice");
    }
    args.output.iter().try_for_each(|file| atomic_write::check_writable(file))?;
    let subject = Subject::read(&args.path)?;
    let plan = plan::plan(&subject, &request(args), &ThisMachine::new(args.python.clone()));
    print(args, &plan)?;
    if let Some(file) = &args.output {
        atomic_write::write(file, plan::manifest_with_run(&subject, &plan, file)?.as_bytes())?;
    }
    if !args.plan {
        anyhow::bail!("starting a script needs the sandbox, which this version does not have; --plan ends here");
    }
    Ok(if plan.startable { ExitCode::Ok } else { ExitCode::CouldNotCheck })
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

fn print(args: &Args, plan: &Plan) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    if args.common.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(plan)?)?;
    } else {
        write!(stdout, "{}", plan::text(plan, args.common.verbose > 0))?;
    }
    Ok(())
}
