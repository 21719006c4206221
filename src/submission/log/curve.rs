//! The course of training as a log tells it: losses over steps and time, thinned to a bounded number of points.

use super::duration;
use super::metric;
use super::pairs::Pair;

/// Most points kept of one series; a log with more keeps every second, fourth ... of them, and always the last.
pub const MAX_POINTS: usize = 512;
/// Most events kept of one log.
const MAX_MARKS: usize = 64;
/// A step beyond this is no step.
const MOST_STEPS: u64 = 1 << 40;

/// One value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// 1-based line.
    pub line: u64,
    /// Steps done.
    pub step: u64,
    /// Training time so far, seconds, where the line gives it.
    pub seconds: Option<f64>,
    /// The value, a finite number.
    pub value: f64,
}

/// Values in the order of the log, evenly thinned.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    points: Vec<CurvePoint>,
    seen: usize,
    stride: usize,
    /// The last point is there only because it is the last.
    is_last_extra: bool,
}

impl Default for Series {
    fn default() -> Self {
        Series { points: Vec::new(), seen: 0, stride: 1, is_last_extra: false }
    }
}

impl Series {
    /// The points kept.
    pub fn points(&self) -> &[CurvePoint] {
        &self.points
    }

    fn push(&mut self, point: CurvePoint) {
        if self.is_last_extra {
            self.points.pop();
        }
        if self.seen.is_multiple_of(self.stride) && self.points.len() >= MAX_POINTS {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
        }
        self.is_last_extra = !self.seen.is_multiple_of(self.stride);
        self.points.push(point);
        self.seen += 1;
    }
}

/// What happens in the course of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    /// Averaging of weights begins.
    Averaging,
    /// Training with quantized weights begins.
    Quantizing,
    /// The clock ended training.
    Stop,
}

/// An event of training, with the step it happens at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// 1-based line.
    pub line: u64,
    /// Steps done.
    pub step: u64,
    /// What happens.
    pub kind: MarkKind,
}

/// The series of one log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Training loss, nats per token.
    pub train_loss: Series,
    /// Validation loss, nats per token.
    pub val_loss: Series,
    /// Validation, bits per byte.
    pub val_bpb: Series,
    /// Events, in order.
    pub marks: Vec<Mark>,
}

impl Curves {
    /// Takes the values of a line, if it is that of a step.
    pub(super) fn note(&mut self, line: u64, list: &[Pair]) {
        let Some(step) = list.iter().find_map(step).filter(|step| *step < MOST_STEPS) else { return };
        let time = list.iter().find(|pair| duration::is_training(pair.name()) || pair.name() == "tt");
        let seconds = time.and_then(duration::seconds);
        let value = |is_it: &dyn Fn(&str) -> bool| {
            let found = list.iter().find(|pair| is_it(pair.name()) && pair.is_plain_number());
            found.and_then(|pair| pair.number).filter(|value| value.is_finite())
        };
        let named = |name: &str| name.eq_ignore_ascii_case("train_loss") || name == "tl";
        for (series, value) in [
            (&mut self.train_loss, value(&named)),
            (&mut self.val_loss, value(&metric::is_loss)),
            (&mut self.val_bpb, value(&|name| name == "val_bpb" || name == "vb")),
        ] {
            if let Some(value) = value {
                series.push(CurvePoint { line, step, seconds, value });
            }
        }
    }

    /// Takes a line that tells of an event.
    pub(super) fn note_event(&mut self, line: u64, text: &str) {
        let starts = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        let kind = if ["swa:start", "swa: start", "swa start", "ema starts"].iter().any(|word| starts(word)) {
            MarkKind::Averaging
        } else if ["late_qat:enabled", "late qat enabled", "qat:enabled", "qat enabled"].iter().any(|word| starts(word))
        {
            MarkKind::Quantizing
        } else if starts("stopping_early") {
            MarkKind::Stop
        } else {
            return;
        };
        if let Some(step) = step_in_words(text).filter(|_| self.marks.len() < MAX_MARKS) {
            self.marks.push(Mark { line, step, kind });
        }
    }
}

/// `step:200/20000`, `s:200`, or the number before `4000/20000 val_loss`.
fn step(pair: &Pair) -> Option<u64> {
    if matches!(pair.name(), "step" | "s" | "iter" | "iteration" | "global_step") {
        return pair.count().filter(|_| pair.is_plain_number());
    }
    let (before, after) = pair.key.split_once('/')?;
    after.starts_with(|c: char| c.is_ascii_digit()).then(|| before.parse().ok())?
}

/// The number behind the word `step`.
fn step_in_words(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("step")?;
    let rest = rest.trim_start_matches([':', ' ', '=']);
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok().filter(|step| *step < MOST_STEPS)
}

#[cfg(test)]
mod tests {
    use crate::submission::log::{LogScanner, MarkKind};

    use super::*;

    fn curves(text: &str) -> Curves {
        let mut scanner = LogScanner::new("train.log".into());
        scanner.feed(text.as_bytes());
        scanner.finish(false).curves
    }

    #[test]
    fn the_forms_of_step_lines_give_the_same_course() {
        let curves = curves(
            "step:0/20000 val_loss:6.9384 val_bpb:4.1093 train_time:0ms step_avg:0.02ms\n\
             step:200/20000 train_loss:2.4611 train_time:17211ms step_avg:86.05ms\n\
             swa:start step:5600\n\
             late_qat:enabled step:5700 scale:0.1\n\
             4000/20000 val_loss: 2.1 val_bpb: 1.25 train_time: 5.5m\n\
             stopping_early: wallclock_cap train_time: 600022ms step: 5794/20000\n\
             final_int8 val_loss:2.0 val_bpb:1.2\n",
        );
        let of = |series: &Series| series.points().iter().map(|p| (p.step, p.seconds, p.value)).collect::<Vec<_>>();
        assert_eq!(of(&curves.train_loss), [(200, Some(17.211), 2.4611)]);
        assert_eq!(of(&curves.val_bpb), [(0, Some(0.0), 4.1093), (4000, Some(330.0), 1.25)]);
        assert_eq!(of(&curves.val_loss), [(0, Some(0.0), 6.9384), (4000, Some(330.0), 2.1)]);
        let marks: Vec<_> = curves.marks.iter().map(|mark| (mark.line, mark.step, mark.kind)).collect();
        assert_eq!(marks, [(3, 5600, MarkKind::Averaging), (4, 5700, MarkKind::Quantizing), (6, 5794, MarkKind::Stop)]);
    }

    #[test]
    fn a_log_of_any_length_keeps_evenly_spaced_points_and_its_last() {
        for steps in [1, MAX_POINTS - 1, MAX_POINTS, MAX_POINTS + 1, 5 * MAX_POINTS + 3, 100 * MAX_POINTS] {
            let mut series = Series::default();
            for step in 0..steps as u64 {
                series.push(CurvePoint { line: step + 1, step, seconds: None, value: 1.0 });
            }
            let kept: Vec<u64> = series.points().iter().map(|point| point.step).collect();
            assert!(kept.len() <= MAX_POINTS + 1 && kept.len() > MAX_POINTS.min(steps) / 2, "{steps}: {}", kept.len());
            assert_eq!((kept.first(), kept.last()), (Some(&0), Some(&(steps as u64 - 1))), "{steps}");
            let gaps: Vec<u64> = kept.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let even = gaps.first().copied().unwrap_or(1);
            assert!(gaps.iter().rev().skip(1).all(|gap| *gap == even), "{steps}: {gaps:?}");
        }
    }

    #[test]
    fn absurd_numbers_are_no_points() {
        let curves = curves(
            "step:-1 train_loss:1\nstep:1e300 train_loss:1\nstep:nan train_loss:1\nstep:1 train_loss:nan\n\
             step:2 train_loss:inf\nswa:start step:99999999999999999999\nswa:start step:\n",
        );
        assert_eq!(curves, Curves::default());
    }
}
