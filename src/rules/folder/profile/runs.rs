//! The runs of a folder's logs: what each came to, and its course.

use std::io;
use std::path::Path;

use super::super::carriers::{Part, parts, parts_of};
use crate::escape::visible;
use crate::report::{Cited, Event, Finite, MAX_MARKS, MAX_RUNS, MAX_SERIES, Point, RunProfile};
use crate::submission::log::{MarkKind, Series, SizeKind};
use crate::submission::{RecordFolder, read_log};

/// The runs to show, those that carry the claim first, and the number of others.
pub(super) fn runs(folder: &RecordFolder) -> (Vec<RunProfile>, u64) {
    let all = parts(folder);
    let mut shown: Vec<RunProfile> = all.iter().map(run).filter(|run| !is_empty(run)).collect();
    // Stable: within each half the order of the logs stays.
    shown.sort_by_key(|run| !run.carries);
    let more = shown.len().saturating_sub(MAX_RUNS);
    shown.truncate(MAX_RUNS);
    (shown, more as u64)
}

/// The runs of a folder's logs that carry its claim.
pub fn claimed_runs(folder: &RecordFolder) -> Vec<RunProfile> {
    runs(folder).0.into_iter().filter(|run| run.carries).collect()
}

/// The runs of one log, under the name given.
///
/// # Errors
///
/// If the log cannot be read.
pub fn runs_of_log(path: &Path, name: &str) -> io::Result<Vec<RunProfile>> {
    let log = read_log(path, name.to_string())?;
    Ok(parts_of(&log).iter().map(run).filter(|run| !is_empty(run)).take(MAX_RUNS).collect())
}

fn is_empty(run: &RunProfile) -> bool {
    run.val_bpb.is_none() && run.train_loss.is_empty() && run.validation.is_empty() && run.val_loss.is_empty()
}

fn run(part: &Part) -> RunProfile {
    let (log, lines) = (part.log, part.lines);
    let total = log.sizes_of(SizeKind::Total).rfind(|size| lines.contains(size.line));
    let train = log.train_seconds.as_ref().filter(|noted| lines.contains(noted.line));
    let evaluations = log.eval_times.iter().filter(|time| lines.contains(time.line));
    let eval = evaluations.max_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let marks = log.curves.marks.iter().filter(|mark| lines.contains(mark.line)).take(MAX_MARKS);
    let series = |series| points(series, part);
    RunProfile {
        log: visible(&log.path),
        first_line: lines.first,
        seed: part.seed,
        carries: part.carries,
        val_bpb: part.last.and_then(|last| Cited::new(last.line, last.bpb)),
        total_bytes: total.and_then(|size| Cited::new(size.line, size.bytes as f64)),
        train_seconds: train.and_then(|noted| Cited::new(noted.line, noted.value)),
        eval_seconds: eval.and_then(|time| Cited::new(time.line, time.seconds)),
        train_loss: series(&log.curves.train_loss),
        val_loss: series(&log.curves.val_loss),
        validation: series(&log.curves.val_bpb),
        events: marks.map(|mark| (event(mark.kind), mark.step)).collect(),
    }
}

fn event(kind: MarkKind) -> Event {
    match kind {
        MarkKind::Averaging => Event::Averaging,
        MarkKind::Quantizing => Event::Quantizing,
        MarkKind::Stop => Event::Stop,
    }
}

/// The points of one run, evenly thinned, the last among them.
fn points(series: &Series, part: &Part) -> Vec<Point> {
    let all: Vec<_> = series.points().iter().filter(|point| part.lines.contains(point.line)).collect();
    let stride = all.len().div_ceil(MAX_SERIES - 1).max(1);
    let last = all.len().saturating_sub(1);
    let kept = all.iter().enumerate().filter(|(index, _)| index % stride == 0 || *index == last);
    kept.filter_map(|(_, point)| {
        Some(Point(point.step, point.seconds.and_then(Finite::new), Finite::new(point.value)?))
    })
    .collect()
}
