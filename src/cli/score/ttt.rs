//! `score` with test-time training: where its trace goes, and `score check-trace`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use schemars::JsonSchema;
use serde::Serialize;

use super::Args;
use crate::cli::output::print;
use crate::cli::previous::{Kind, is_previous};
use crate::cli::{CommonArgs, ExitCode};
use crate::eval::Windowing;
use crate::eval::ttt::{CheckedTrace, check_trace};
use crate::manifest::Manifest;
use crate::path_safety::folder_of;
use crate::run_folder::RunFolder;

/// Name of the trace where none is given: `reproduce` records its own in a run folder.
const TRACE_FILE: &str = "score-ttt-trace.jsonl";
/// Name and version of the document of `score check-trace --json`.
const CHECK_SCHEMA: &str = "golf-harness/ttt-check/v1";

/// The document of `score check-trace --json`.
#[derive(Serialize, JsonSchema)]
pub struct TraceCheck {
    /// Always `golf-harness/ttt-check/v1`.
    #[schemars(extend("const" = CHECK_SCHEMA))]
    schema: &'static str,
    /// Whether every token was scored before any step that saw it as a target, by the weights and settings that the trace
    /// begins with.
    passed: bool,
    /// Passes in the trace.
    passes: u64,
    /// Chunks scored.
    scored: u64,
    /// Chunks learned from.
    learned: u64,
    /// What is against the rule; null where nothing is.
    finding: Option<String>,
}

/// The run folder that a trace goes to where no place is given: the manifest's own if a run wrote it there, else
/// `runs/NAME`.
pub(super) fn trace_folder(manifest: &Manifest, path: &Path) -> RunFolder {
    let own = RunFolder::new(folder_of(path));
    let is_of_run = own.manifest().file_name() == path.file_name() && !path.is_symlink();
    if is_of_run && is_previous(path, &Kind::Manifest) { own } else { RunFolder::for_run(&manifest.name) }
}

/// Where the trace goes, if weights learn.
pub(super) fn trace_file(
    args: &Args,
    manifest: &Manifest,
    path: &Path,
    windowings: &[Windowing],
) -> anyhow::Result<Option<PathBuf>> {
    let learns = manifest.eval.ttt.is_some() && windowings.contains(&Windowing::Sliding);
    let only_scores = !args.probe && !args.sample.is_wanted() && args.shard.is_none() && args.from_nll.is_none();
    match (&args.ttt_trace, learns && only_scores) {
        (Some(path), true) => Ok(Some(path.clone())),
        (None, true) => Ok(Some(trace_folder(manifest, path).root().join(TRACE_FILE))),
        (Some(_), false) => bail!("--ttt-trace is for sliding windows of a manifest with eval.ttt"),
        (None, false) => Ok(None),
    }
}

pub(super) fn tell_of_trace(path: &Path, common: &CommonArgs) {
    if !common.quiet {
        let path = path.display();
        let _ = writeln!(anstream::stderr().lock(), "trace written to {path}; `score check-trace` checks it");
    }
}

/// Checks a trace: exit code 1 where it was read and is against the rule.
pub(super) fn check(path: &Path, common: &CommonArgs) -> anyhow::Result<ExitCode> {
    let found = match check_trace(path) {
        Ok(checked) => (checked, None),
        Err(error) if error.is_finding() => (CheckedTrace::default(), Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let (CheckedTrace { passes, scored, learned }, finding) = found;
    let (passed, code) = match finding {
        None => (true, ExitCode::Ok),
        Some(_) => (false, ExitCode::CheckFailed),
    };
    let text = finding.clone().unwrap_or_else(|| {
        format!(
            "{scored} chunks scored and {learned} learned from in {passes} pass(es): every token was scored before any step \
             that saw it as a target"
        )
    });
    let document = || TraceCheck { schema: CHECK_SCHEMA, passed, passes, scored, learned, finding };
    print(common, document, || format!("{text}\n"))?;
    Ok(code)
}
