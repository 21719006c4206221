//! What a log says, with line numbers.

use std::collections::BTreeMap;

use super::curve::Curves;
use super::listing::Listing;
use super::metric::{Metric, MetricKind};
use super::run_clock::RunClock;
use super::settings::SettingsReader;
use super::size::{LoggedSize, SizeKind};
use crate::digest::ContentDigest;
use crate::submission::text::Encoding;

/// A value with the line it stands on.
#[derive(Clone, Debug, PartialEq)]
pub struct Noted<T> {
    /// 1-based line.
    pub line: u64,
    /// The value.
    pub value: T,
}

/// A logged duration of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedTime {
    /// 1-based line.
    pub line: u64,
    /// Seconds.
    pub seconds: f64,
    /// The words before it.
    pub label: String,
    /// The script itself calls it the total.
    pub is_total: bool,
}

/// A training step's line that gives both the time so far and the average over the steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepTime {
    /// 1-based line.
    pub line: u64,
    /// Steps done.
    pub step: f64,
    /// Training time so far, ms.
    pub train_ms: f64,
    /// Average time of a step as printed, ms.
    pub average_ms: f64,
}

/// What a log says.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// Relative path.
    pub path: String,
    /// Size and digests.
    pub digest: ContentDigest,
    /// What the bytes were taken for.
    pub encoding: Encoding,
    /// Lines.
    pub lines: u64,
    /// Lines too long to be read whole.
    pub overlong: u64,
    /// The reader stopped before the end because the file is larger than it reads.
    pub cut_short: bool,
    /// Source code the log holds, cut off before anything else was read.
    pub listings: Vec<Listing>,
    /// 1-based lines at which a second, third ... run begins.
    pub run_starts: Vec<u64>,
    /// Numbers of parameters of the model.
    pub parameters: Vec<Noted<u64>>,
    /// Loss and bits-per-byte values, in order.
    pub metrics: Vec<Metric>,
    /// Seeds stated.
    pub seeds: Vec<Noted<u64>>,
    /// Number of processes.
    pub world_size: Option<Noted<u64>>,
    /// Tokens of the validation split.
    pub val_tokens: Vec<Noted<u64>>,
    /// Training shards.
    pub train_shards: Option<Noted<u64>>,
    /// Sizes.
    pub sizes: Vec<LoggedSize>,
    /// Longest training time, seconds.
    pub train_seconds: Option<Noted<f64>>,
    /// Times and averages of training steps, in order.
    pub step_times: Vec<StepTime>,
    /// Evaluation times.
    pub eval_times: Vec<LoggedTime>,
    /// `artifact_production_wallclock`, seconds.
    pub production_seconds: Option<Noted<f64>>,
    /// Accelerators named, without repetition.
    pub devices: Vec<Noted<String>>,
    /// Path of the tokenizer.
    pub tokenizer: Option<Noted<String>>,
    /// Tracebacks and fatal errors.
    pub errors: Vec<Noted<String>>,
    /// Loss values that are not numbers.
    pub nans: Vec<Noted<String>>,
    /// Training steps were logged.
    pub trains: bool,
    /// The last line of training, with the number of its step where it gives one.
    pub last_step: Option<Noted<Option<u64>>>,
    /// Lines that say the run stopped because of the clock.
    pub stop: Option<Noted<String>>,
    /// Hyper-parameters stated before the first step, by name in lower case.
    pub settings: BTreeMap<String, Noted<String>>,
    /// Settings printed as on or off, by name in lower case; on if any line says so.
    pub switches: BTreeMap<String, bool>,
    /// Calibration on validation data, as the log says itself.
    pub calibration: Vec<Noted<String>>,
    /// The course of training.
    pub curves: Curves,
    /// Where in a run the reader is.
    pub(super) clock: RunClock,
    /// Whether it still reads settings.
    pub(super) settings_reader: SettingsReader,
}

/// One of the runs that a log tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLines {
    /// 1-based first line.
    pub first: u64,
    /// 1-based last line; `u64::MAX` for the last run.
    pub last: u64,
}

impl RunLines {
    /// Whether a line belongs to the run.
    pub fn contains(&self, line: u64) -> bool {
        (self.first..=self.last).contains(&line)
    }
}

impl LogFile {
    /// Final values: evaluations of what is submitted.
    pub fn finals(&self) -> impl DoubleEndedIterator<Item = &Metric> {
        self.metrics.iter().filter(|metric| metric.kind == MetricKind::Final && metric.bpb.is_finite())
    }

    /// The value the run ends with: the last final one.
    pub fn last_final(&self) -> Option<&Metric> {
        self.finals().next_back()
    }

    /// The runs it tells of, in order; one at least.
    pub fn runs(&self) -> Vec<RunLines> {
        let starts = std::iter::once(1).chain(self.run_starts.iter().copied());
        let ends = self.run_starts.iter().map(|start| start - 1).chain([u64::MAX]);
        starts.zip(ends).map(|(first, last)| RunLines { first, last }).collect()
    }

    /// Sizes of one kind.
    pub fn sizes_of(&self, kind: SizeKind) -> impl DoubleEndedIterator<Item = &LoggedSize> {
        self.sizes.iter().filter(move |size| size.kind == kind)
    }

    /// The seed the log states, else none.
    pub fn seed(&self) -> Option<u64> {
        self.seeds.first().map(|seed| seed.value)
    }

    /// A log that says nothing yet.
    pub(super) fn empty(path: String) -> Self {
        LogFile {
            path,
            digest: ContentDigest::of(&[]),
            encoding: Encoding::Utf8,
            lines: 0,
            overlong: 0,
            cut_short: false,
            metrics: Vec::new(),
            seeds: Vec::new(),
            listings: Vec::new(),
            run_starts: Vec::new(),
            parameters: Vec::new(),
            clock: RunClock::default(),
            settings_reader: SettingsReader::default(),
            world_size: None,
            val_tokens: Vec::new(),
            train_shards: None,
            sizes: Vec::new(),
            train_seconds: None,
            step_times: Vec::new(),
            eval_times: Vec::new(),
            production_seconds: None,
            devices: Vec::new(),
            tokenizer: None,
            errors: Vec::new(),
            nans: Vec::new(),
            trains: false,
            last_step: None,
            stop: None,
            settings: BTreeMap::new(),
            switches: BTreeMap::new(),
            calibration: Vec::new(),
            curves: Curves::default(),
        }
    }
}
