//! `verify`: check a manifest, a record folder or a tree of them, and say why.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};

use super::config::Config;
use super::output::stdout;
use super::outputs::Outputs;
use super::places::is_there;
use super::previous::Kind;
use super::signal::unless_interrupted;
use super::values::TrackName;
use super::{CommonArgs, ConfigArgs, ExitCode, config, interrupt_on_signal, site, use_threads};
use crate::atomic_write;
use crate::interrupt::Interrupted;
use crate::manifest::Track;
use crate::report::{Audit, Defaults, Detail, Format, Order, Severity, View};
use crate::rerun::plan::imply_run;
use crate::rules::audit::{self, AuditError, Options, Profiling};
use crate::rules::{Auditor, InProcess, PolicyError, PolicyFile, explain, find, info, is_iso_date, markdown, tree};
use crate::site::{Earlier, Site};
use crate::stats::Board;
use crate::submission::{RecordFolder, implied_manifest};
use crate::worker::Workers;

/// Check a claim against its own files, logs and numbers
///
/// Reads manifests and record folders, runs every rule, prints what is wrong with the evidence.
/// Nothing from a submission is ever executed.
#[derive(Parser)]
#[command(
    version,
    long_version = super::version::long(),
    after_help = "\
Examples:
  golf-harness verify fixtures/submissions/good
  golf-harness verify fixtures/submissions
  golf-harness verify manifests/pr-286.yaml
  golf-harness verify --explain over_budget
  golf-harness verify --base HEAD~1 --head HEAD
  golf-harness verify fixtures/submissions/good --against manifests/board.yaml
  golf-harness verify fixtures/submissions --format sarif -o report.sarif
  golf-harness verify fixtures/submissions/good --init -o manifest.yaml
  golf-harness verify fixtures/submissions --site audit
  golf-harness verify fixtures/submissions --only fail --sort bytes

Exit codes: 0 everything examined and nothing at or above --fail-on, 1 something is, 2 could not check or not everything
examined, 130 interrupted"
)]
pub struct Args {
    /// Manifests, record folders, or trees of them
    #[arg(required_unless_present_any = ["base", "explain", "rules"], value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Check what a git range adds: the revision it branched from
    #[arg(long, value_name = "REV", requires = "head", help_heading = "Git range")]
    base: Option<String>,

    /// Check what a git range adds: its last revision
    #[arg(long, value_name = "REV", requires = "base", help_heading = "Git range")]
    head: Option<String>,

    /// Repository of the range
    #[arg(long, value_name = "PATH", default_value = ".", requires = "base", help_heading = "Git range")]
    repository: PathBuf,

    /// Compare claims with standing records: better by 0.005 nats at p < 0.01? (manifests/board.yaml)
    #[arg(long, value_name = "BOARD")]
    against: Option<PathBuf>,

    /// Explain one rule and stop
    #[arg(long, value_name = "RULE", exclusive = true)]
    explain: Option<String>,

    /// Print the rulebook as Markdown and stop
    #[arg(long, exclusive = true)]
    rules: bool,

    /// Write the manifest that one record folder implies, gaps marked, to --output or stdout
    #[arg(long, conflicts_with_all = ["base", "format", "also"])]
    init: bool,

    /// Suppress a rule: its violations become notes; repeatable
    #[arg(long, value_name = "RULE", help_heading = "Policy")]
    allow: Vec<String>,

    /// Use this policy file instead of the built-in ones
    #[arg(long, value_name = "FILE", help_heading = "Policy")]
    policy: Option<PathBuf>,

    /// Apply this track's rules instead of those of the subject's place
    #[arg(long, value_enum, value_name = "TRACK", help_heading = "Policy")]
    track: Option<TrackName>,

    /// Apply the rules in force on this day (YYYY-MM-DD) instead of the latest
    #[arg(long, value_name = "DATE", value_parser = date, help_heading = "Policy")]
    as_of: Option<String>,

    /// Report format
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,

    /// Show findings of this severity alone, and of a tree the subjects that have one; for text, csv and csv-summary.
    /// Counts and exit code are those of everything
    #[arg(long, value_enum, value_name = "SEVERITY", conflicts_with = "init")]
    only: Option<SeverityName>,

    /// Order of the subjects in text, csv and csv-summary; what lacks the value comes last
    #[arg(long, value_enum, value_name = "BY", conflicts_with = "init")]
    sort: Option<Order>,

    /// Write the report to a file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Write the report in one more format to a file; repeatable. All files are written, or none
    #[arg(long, value_name = "FORMAT=FILE", value_parser = format_and_file)]
    also: Vec<(Format, PathBuf)>,

    /// Write a site to this folder: an overview and a page for each subject, to open in a browser (docs/site.md)
    #[arg(long, value_name = "DIR", conflicts_with = "init", help_heading = "Site")]
    site: Option<PathBuf>,

    /// Show on the site what changed since an earlier report of `--format json`
    #[arg(long, value_name = "OLD.json", requires = "site", help_heading = "Site")]
    compare: Option<PathBuf>,

    /// Replace a file that is there and is no report
    #[arg(long, conflicts_with = "init")]
    force: bool,

    /// Lowest severity that makes the exit code 1
    #[arg(long, value_enum, default_value = "fail", value_name = "SEVERITY")]
    fail_on: SeverityName,

    /// Audit in this process, without limits on memory and time, instead of in a confined one for each subject
    #[arg(long)]
    in_process: bool,

    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum SeverityName {
    #[value(alias = "error")]
    Fail,
    Warning,
    Review,
    Unknown,
}

impl From<SeverityName> for Severity {
    fn from(severity: SeverityName) -> Severity {
        match severity {
            SeverityName::Fail => Severity::Fail,
            SeverityName::Warning => Severity::Warning,
            SeverityName::Review => Severity::Review,
            SeverityName::Unknown => Severity::Unknown,
        }
    }
}

/// A calendar date.
fn date(text: &str) -> Result<String, String> {
    if is_iso_date(text) { Ok(text.into()) } else { Err("expected a date YYYY-MM-DD".into()) }
}

/// `sarif=report.sarif`.
fn format_and_file(text: &str) -> Result<(Format, PathBuf), String> {
    let (format, file) = text.split_once('=').ok_or("expected FORMAT=FILE, such as sarif=report.sarif")?;
    if file.is_empty() {
        return Err("no file is named, as in sarif=report.sarif".into());
    }
    Ok((Format::from_str(format, false)?, PathBuf::from(file)))
}

/// Audits what the flags name, or answers a question about the rulebook.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.common.apply_color();
    if let Some(id) = &args.explain {
        let rule = find(id).ok_or_else(|| PolicyError::unknown_rule(id))?;
        write!(stdout(), "{}", explain(rule))?;
        return Ok(ExitCode::Ok);
    }
    if args.rules {
        write!(stdout(), "{}", markdown())?;
        return Ok(ExitCode::Ok);
    }
    if args.init {
        return init(args);
    }
    let config = args.config.load(&audited(args), &args.common)?;
    let settings = &config.settings;
    let policy = args.policy.as_ref().or(settings.policy.as_ref());
    outputs(args, policy).check(args.force)?;
    use_threads(None)?;
    check_view(args)?;
    let options = Options {
        track: args.track.map(Track::from).or(settings.track),
        as_of: args.as_of.clone(),
        policy: policy.map(|path| PolicyFile::load(path)).transpose()?,
        allow: if args.allow.is_empty() { settings.allow.clone() } else { args.allow.clone() },
        against: args.against.as_deref().map(Board::load).transpose()?,
        profile: if args.site.is_some() { Profiling::Collect } else { Profiling::Skip },
        ..Options::default()
    };
    options.check()?;
    let earlier = args.compare.as_deref().map(Earlier::load).transpose()?;
    let mut audit = audit(args, &options)?;
    audit.defaults = defaults(args, &config);
    let severity = Severity::from(args.fail_on);
    write_reports(args, &audit, severity)?;
    if let Some(folder) = &args.site {
        let shipped = Board::shipped().ok();
        let board = options.against.as_ref().or(shipped.as_ref());
        site::write(folder, &Site { audit: &audit, board, earlier: earlier.as_ref() })?;
    }
    Ok(audit.conclusion(severity).into())
}

/// What must not configure its own audit.
fn audited(args: &Args) -> Vec<PathBuf> {
    let repository = args.base.as_ref().map(|_| config::repository(&args.repository));
    args.paths.iter().cloned().chain(repository).collect()
}

/// The defaults that no flag replaced. A person is told of them, because they can turn a failure into a pass.
fn defaults(args: &Args, config: &Config) -> Option<Defaults> {
    let mut defaults = config.of_audit()?;
    defaults.policy = defaults.policy.filter(|_| args.policy.is_none());
    defaults.track = defaults.track.filter(|_| args.track.is_none());
    if !args.allow.is_empty() {
        defaults.allow.clear();
    }
    if !args.common.quiet {
        let _ = writeln!(anstream::stderr().lock(), "note: {} decides, too: {}", defaults.path, config.settings);
    }
    Some(defaults)
}

/// What is read and what is written.
fn outputs(args: &Args, policy: Option<&PathBuf>) -> Outputs {
    let mut outputs = Outputs::default();
    for path in &args.paths {
        outputs.reads_subject(path);
    }
    outputs.reads_each("the policy", policy);
    outputs.reads_each("the board", &args.against);
    outputs.reads_each("the earlier report", &args.compare);
    if args.base.is_some() {
        outputs.reads_folder(args.repository.join(".git"));
    }
    outputs.writes_each("--output", &args.output, Kind::Report);
    outputs.writes_each("--also", args.also.iter().map(|(_, path)| path), Kind::Report);
    if let Some(folder) = &args.site {
        outputs.writes_site("--site", folder);
    }
    outputs
}

/// Writes the manifest one record folder implies.
fn init(args: &Args) -> anyhow::Result<ExitCode> {
    let [path] = args.paths.as_slice() else { anyhow::bail!("--init takes exactly one record folder") };
    anyhow::ensure!(path.is_dir(), "{} is not a folder", path.display());
    if let Some(file) = &args.output {
        anyhow::ensure!(
            !is_there(file),
            "{} is there; --init never overwrites: name another file, or remove it first",
            file.display()
        );
        Outputs::default().reads_folder(path).writes("--output", file, Kind::Raw).check(false)?;
    }
    let below = tree::record_folders_below(path);
    if !below.is_empty() {
        let names: Vec<String> = below.iter().take(5).map(|path| path.display().to_string()).collect();
        let more = if below.len() > 5 { format!(" and {} more", below.len() - 5) } else { String::new() };
        anyhow::bail!("{} is not one record folder but holds {}{more}; name one", path.display(), names.join(", "));
    }
    let folder = RecordFolder::read(path);
    let mut implied = implied_manifest(&folder);
    imply_run(&mut implied.manifest, folder);
    let yaml = implied.to_yaml();
    match &args.output {
        Some(file) => atomic_write::write(file, yaml.as_bytes())?,
        None => write!(stdout(), "{yaml}")?,
    }
    Ok(ExitCode::Ok)
}

/// Audits the paths, and what the git range adds.
fn audit(args: &Args, options: &Options) -> anyhow::Result<Audit> {
    let interrupt = interrupt_on_signal()?;
    let progress = args.common.progress("verify", 0);
    // Without Unix there is nothing to confine a worker with.
    let mut readable = args.paths.clone();
    // What a range adds is taken out to there.
    readable.extend(args.base.is_some().then(std::env::temp_dir));
    let workers = if cfg!(unix) && !args.in_process { Some(Workers::new(readable)?) } else { None };
    let auditor = workers.as_ref().map_or(&InProcess as &dyn Auditor, |workers| workers);
    let audit = tree::paths(&args.paths, options, auditor, &interrupt, &progress)?;
    progress.finish();
    let Some(tree::Checked { mut reports, skipped }) = audit else { return Err(Interrupted.into()) };
    let folder = |path: &Path, options: &Options| {
        let report = auditor.folder(path, path.display().to_string(), options, &interrupt)?;
        interrupt.check().map_err(|interrupted| AuditError::Auditor(interrupted.into()))?;
        Ok(report)
    };
    if let (Some(base), Some(head)) = (&args.base, &args.head) {
        let change = audit::change(&args.repository, (base, head), options, Some(&folder));
        reports.extend(unless_interrupted(change, &interrupt)?);
    }
    if args.common.verbose > 0 {
        let unconfined = workers.iter().flat_map(Workers::unconfined);
        unconfined.for_each(|layer| drop(writeln!(anstream::stderr(), "audit workers do without {layer}")));
    }
    Ok(Audit::new(reports, skipped))
}

/// How the report goes to stdout or `--output`.
fn format(args: &Args) -> Format {
    if args.common.json { Format::Json } else { args.format }
}

/// Refuses a choice that no report asked for would follow.
fn check_view(args: &Args) -> anyhow::Result<()> {
    let asked = [args.only.map(|_| "--only"), args.sort.map(|_| "--sort")];
    let mut formats = args.also.iter().map(|(format, _)| *format).chain([format(args)]);
    if let Some(flag) = asked.into_iter().flatten().next()
        && !formats.any(Format::follows_view)
    {
        anyhow::bail!("{flag} is for reports of format text, csv or csv-summary; every other is the whole audit");
    }
    Ok(())
}

/// Writes the report to the files asked for, and to stdout unless `--output` takes its place.
fn write_reports(args: &Args, audit: &Audit, severity: Severity) -> anyhow::Result<()> {
    let detail = match (args.common.quiet, args.common.verbose) {
        (true, _) => Detail::Brief,
        (false, 0) => Detail::Usual,
        (false, _) => Detail::Full,
    };
    let view = View { detail, only: args.only.map(Severity::from), order: args.sort };
    let format = format(args);
    let files = args.also.iter().map(|(format, file)| (*format, file)).chain(args.output.iter().map(|f| (format, f)));
    let mut reports = Vec::new();
    for (format, file) in files {
        let mut report = Vec::new();
        format.reporter(view, severity, info).write(audit, &mut report)?;
        // A file gets no colors.
        reports.push((file.as_path(), anstream::adapter::strip_bytes(&report).into_vec()));
    }
    atomic_write::write_all(&reports)?;
    if args.output.is_none() {
        let mut out = stdout();
        format.reporter(view, severity, info).write(audit, &mut out)?;
        out.flush()?;
    }
    Ok(())
}
