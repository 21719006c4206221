//! What pages show of a submission besides its report: curves, times, bytes, and quoted lines with their neighbors.
//!
//! Plain numbers and text, gathered where a submission is read. Not part of the published report formats.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::Evidence;

/// Most runs described; those that carry the claim come first.
pub const MAX_RUNS: usize = 12;
/// Most points of one series.
pub const MAX_SERIES: usize = 240;
/// Most events of one run.
pub const MAX_MARKS: usize = 16;
/// Most rows of claims and seeds.
pub const MAX_ROWS: usize = 64;
/// Most places quoted with their neighbors.
pub const MAX_EXCERPTS: usize = 80;
/// Lines of one quotation: the place itself, and one on either side.
pub const MAX_EXCERPT_LINES: usize = 3;

/// A finite number.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Finite(f64);

// Without NaN equality is an equivalence.
impl Eq for Finite {}

impl Finite {
    /// The number, if it is finite.
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Finite(value))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Finite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Finite::new(f64::deserialize(deserializer)?).ok_or_else(|| de::Error::custom("a number that is not finite"))
    }
}

/// A number with the line of the file it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cited {
    /// 1-based line.
    pub line: u64,
    /// The number.
    pub value: Finite,
}

impl Cited {
    /// The number, if it is finite.
    pub fn new(line: u64, value: f64) -> Option<Self> {
        Some(Cited { line, value: Finite::new(value)? })
    }
}

/// A value in the course of training: steps, seconds where known, value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point(pub u64, pub Option<Finite>, pub Finite);

/// An event of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Averaging of weights begins.
    Averaging,
    /// Training with quantized weights begins.
    Quantizing,
    /// The clock ended training.
    Stop,
}

impl Event {
    /// A word or two for a picture.
    pub fn words(self) -> &'static str {
        match self {
            Event::Averaging => "averaging",
            Event::Quantizing => "QAT",
            Event::Stop => "clock stops",
        }
    }
}

/// One run, as a log tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunProfile {
    /// Path of the log.
    pub log: String,
    /// 1-based line at which the run begins.
    pub first_line: u64,
    /// The seed it states, or that in the log's name.
    pub seed: Option<u64>,
    /// Whether the claim rests on it.
    pub carries: bool,
    /// The value it ends with, bits per byte.
    pub val_bpb: Option<Cited>,
    /// The last total it prints, bytes.
    pub total_bytes: Option<Cited>,
    /// Longest training time, seconds.
    pub train_seconds: Option<Cited>,
    /// Longest evaluation, seconds.
    pub eval_seconds: Option<Cited>,
    /// Training loss, nats per token.
    pub train_loss: Vec<Point>,
    /// Validation loss, nats per token.
    pub val_loss: Vec<Point>,
    /// Validation, bits per byte.
    pub validation: Vec<Point>,
    /// Events: what happens, and after how many steps.
    pub events: Vec<(Event, u64)>,
}

/// A claimed number beside what the files say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRow {
    /// What is claimed.
    pub name: String,
    /// The claim, as it is written.
    pub claimed: Option<String>,
    /// Where it is written.
    pub claimed_at: Option<String>,
    /// What logs and files say.
    pub evidence: Option<String>,
    /// Where they say it.
    pub evidence_at: Option<String>,
    /// Evidence minus claim, where both are numbers.
    pub difference: Option<Finite>,
}

/// What counts towards the byte budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeProfile {
    /// Code and model.
    pub total: u64,
    /// Code alone, where it is known apart.
    pub code: Option<u64>,
    /// What the total rests on, in words.
    pub basis: String,
}

/// The caps in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Code plus compressed model.
    pub bytes: u64,
    /// Training, seconds.
    pub train_seconds: Finite,
    /// Evaluation, seconds.
    pub eval_seconds: Option<Finite>,
}

/// A claim set against the record standing on its day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordProfile {
    /// Which record.
    pub standing: String,
    /// Its mean, bits per byte.
    pub standing_bpb: Finite,
    /// That mean minus the claim's, bits per byte.
    pub improvement: Option<Finite>,
    /// Of "better by more than the margin"; absent where no test can be made.
    pub p: Option<Finite>,
    /// Mean and sample standard deviation of the claim's runs.
    pub mean: Option<Finite>,
    /// See `mean`.
    pub sd: Option<Finite>,
    /// What it comes to, in words.
    pub verdict: String,
}

/// A few lines of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excerpt {
    /// The file, as evidence names it.
    pub path: String,
    /// The line that evidence points at, 1-based.
    pub line: u64,
    /// Number and text of the lines around it, shortened.
    pub lines: Vec<(u64, String)>,
}

/// What pages show of a submission besides its report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Day of the claim, `YYYY-MM-DD`.
    pub day: Option<String>,
    /// Caps of the policy.
    pub caps: Caps,
    /// Claims beside evidence, the headline first.
    pub claims: Vec<ClaimRow>,
    /// Seeds that are claimed or logged.
    pub seeds: Vec<u64>,
    /// Runs that the logs tell of.
    pub runs: Vec<RunProfile>,
    /// Runs left out because there are too many.
    pub more_runs: u64,
    /// Bytes that count.
    pub size: Option<SizeProfile>,
    /// The comparison with the standing record.
    pub record: Option<RecordProfile>,
    /// Lines that findings point at.
    pub excerpts: Vec<Excerpt>,
}

impl Profile {
    /// Where the lines around a piece of evidence are quoted.
    pub fn excerpt(&self, evidence: &Evidence) -> Option<&Excerpt> {
        self.excerpts.iter().find(|excerpt| excerpt.path == evidence.path && Some(excerpt.line) == evidence.line)
    }

    /// Checks what came from another process: no list longer than it can be, every text passed through `text`.
    ///
    /// # Errors
    ///
    /// Says what is too long, or what `text` said.
    pub fn checked<E: From<&'static str>>(mut self, text: impl Fn(String) -> Result<String, E>) -> Result<Self, E> {
        let is_long = self.runs.len() > MAX_RUNS
            || self.claims.len() > MAX_ROWS
            || self.seeds.len() > MAX_ROWS
            || self.excerpts.len() > MAX_EXCERPTS
            || self.excerpts.iter().any(|excerpt| excerpt.lines.len() > MAX_EXCERPT_LINES)
            || self.runs.iter().any(RunProfile::is_long);
        if is_long {
            return Err("a list of its profile is longer than any".into());
        }
        let clean = |field: &mut String| -> Result<(), E> {
            *field = text(std::mem::take(field))?;
            Ok(())
        };
        self.day.iter_mut().try_for_each(clean)?;
        for row in &mut self.claims {
            clean(&mut row.name)?;
            let texts = [&mut row.claimed, &mut row.claimed_at, &mut row.evidence, &mut row.evidence_at];
            texts.into_iter().flatten().try_for_each(clean)?;
        }
        self.runs.iter_mut().try_for_each(|run| clean(&mut run.log))?;
        self.size.iter_mut().try_for_each(|size| clean(&mut size.basis))?;
        if let Some(record) = &mut self.record {
            [&mut record.standing, &mut record.verdict].into_iter().try_for_each(clean)?;
        }
        for excerpt in &mut self.excerpts {
            clean(&mut excerpt.path)?;
            excerpt.lines.iter_mut().try_for_each(|(_, line)| clean(line))?;
        }
        Ok(self)
    }
}

impl RunProfile {
    fn is_long(&self) -> bool {
        [&self.train_loss, &self.val_loss, &self.validation].iter().any(|series| series.len() > MAX_SERIES)
            || self.events.len() > MAX_MARKS
    }
}
