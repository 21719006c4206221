//! Phases of a run by our clock, from the marks that its log makes.

use std::time::Duration;

use super::recorder::Came;
use crate::rerun::launch::Caps;
use crate::rerun::record::{Phase, Times};
use crate::submission::LogFile;
use crate::submission::log::MetricKind;

/// Marks seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    first_step: Option<(Duration, Option<f64>)>,
    last_step: Option<(Duration, Option<f64>)>,
    /// The first mark after training.
    after: Option<Duration>,
    /// The last size, when the artifact is written.
    last_size: Option<Duration>,
    last_final: Option<Duration>,
    seen: Seen,
}

/// Lines of the newest facts, to see what a line brought.
#[derive(Clone, Debug, Default)]
struct Seen {
    step: u64,
    metric: u64,
    size: u64,
    stop: u64,
}

impl Clock {
    /// A line has been read; `came` knows when each did.
    pub fn line(&mut self, came: &Came, log: &LogFile) {
        let claimed = log.train_seconds.as_ref().map(|noted| noted.value);
        if let Some(step) = log.last_step.as_ref().filter(|step| step.line > self.seen.step) {
            self.seen.step = step.line;
            let at = came.at(step.line);
            self.first_step.get_or_insert((at, claimed));
            self.last_step = Some((at, claimed));
            // More training after an evaluation is training.
            self.after = None;
        }
        if let Some(stop) = log.stop.as_ref().filter(|stop| stop.line > self.seen.stop) {
            self.seen.stop = stop.line;
            self.leave(came.at(stop.line));
        }
        if let Some(size) = log.sizes.last().filter(|size| size.line > self.seen.size) {
            self.seen.size = size.line;
            let at = came.at(size.line);
            self.last_size = Some(at);
            self.leave(at);
        }
        if let Some(metric) = log.metrics.last().filter(|metric| metric.line > self.seen.metric) {
            self.seen.metric = metric.line;
            let at = came.at(metric.line);
            if matches!(metric.kind, MetricKind::PreQuant | MetricKind::Final) {
                self.leave(at);
            }
            if metric.kind == MetricKind::Final {
                self.last_final = Some(at);
            }
        }
    }

    /// Training is over, if it had begun.
    fn leave(&mut self, at: Duration) {
        if self.first_step.is_some() {
            self.after.get_or_insert(at);
        }
    }

    /// Where the run is, and since when.
    pub fn phase(&self) -> (Phase, Duration) {
        match (self.first_step, self.after) {
            (None, _) => (Phase::Starting, Duration::ZERO),
            (Some((since, _)), None) => (Phase::Training, since),
            (Some(_), Some(since)) => (Phase::Evaluating, since),
        }
    }

    /// The phase that takes longer than it may, with its cap.
    pub fn overrun(&self, now: Duration, caps: &Caps) -> Option<(Phase, Duration)> {
        let (phase, since) = self.phase();
        let cap = match phase {
            // A script without a line of training trains before its first line.
            Phase::Starting => caps.start.zip(caps.train).map(|(start, train)| start + train).or(caps.start),
            Phase::Training => caps.train,
            Phase::Evaluating => caps.eval,
        }?;
        (now.saturating_sub(since) > cap).then_some((phase, cap))
    }

    /// What was measured, and what the log says of the same stretch.
    pub fn times(&self, total: Duration) -> Times {
        let seconds = |duration: Duration| duration.as_secs_f64();
        let (first, last) = (self.first_step, self.last_step);
        let training = first.zip(last).map(|((first, _), (last, _))| seconds(last - first));
        let claimed_training = first.zip(last).and_then(|((_, first), (_, last))| {
            // Without a time in the first line, all of it belongs to the stretch.
            Some((last? - first.unwrap_or(0.0)).max(0.0))
        });
        let begin = self.last_size.or(last.map(|(at, _)| at));
        let evaluation = begin.zip(self.last_final).filter(|(begin, end)| end >= begin);
        Times {
            total: seconds(total),
            start: first.map(|(at, _)| seconds(at)),
            training,
            claimed_training,
            evaluation: evaluation.map(|(begin, end)| seconds(end - begin)),
        }
    }
}
