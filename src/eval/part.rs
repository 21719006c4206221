//! Part records: what one machine found out about its share of an evaluation, and how shares become the whole.

use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::division::{check_complete, check_division};
use super::sample::{SAMPLE_PART_SCHEMA, SamplePart};
use super::{ExactSum, Pass, PlanError, Report, Score, ScoreSettings, Shard, Weights, WindowPlan, Windowing};
use crate::atomic_write::{self, WriteError};

/// First field of every part record.
pub const PART_SCHEMA: &str = "golf-harness/score-part/v1";
/// A record lists a few hundred files at most; anything larger is something else.
const MAX_PART_BYTES: u64 = 4 * 1024 * 1024;
/// Parts of samples list their windows, in up to a hundred bytes each.
const MAX_SAMPLE_PART_BYTES: u64 = 128 * 1024 * 1024;
/// A million million tokens: keeps every sum below far from overflow.
const MAX_SPLIT_TOKENS: u64 = 1 << 40;

/// The score of one shard, exact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartRecord {
    /// Always `golf-harness/score-part/v1`.
    #[schemars(extend("const" = PART_SCHEMA))]
    pub schema: String,
    /// Which part this is.
    pub shard: Shard,
    /// Processor it was made on. Parts from different kinds add up, but not to the bits of any one machine.
    pub processor: String,
    /// What the scores depend on.
    pub basis: ScoreSettings,
    /// One entry a pass, in the order they were run.
    pub passes: Vec<PartPass>,
}

/// One pass over the windows of the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartPass {
    /// Weights scored.
    pub weights: Weights,
    /// Kind of windows.
    pub windowing: Windowing,
    /// First window of the part.
    pub first_window: u64,
    /// Windows run.
    pub windows: u64,
    /// Tokens scored.
    pub tokens: u64,
    /// Bytes of text they stand for.
    pub bytes: u64,
    /// Exact sum of negative log-likelihoods: a 384-bit two's complement integer in units of 2^-149 nats.
    pub total_nats: ExactSum,
}

/// A part record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// The file could not be read.
    #[error("cannot read part record {}: {source}", path.display())]
    Read {
        /// The record.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Larger than any record.
    #[error("{} is larger than {most} bytes: not a part record", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        most: u64,
    },
    /// Not JSON, or not this JSON.
    #[error("{} is not a part record: {source}; expected what `score --shard` writes", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: serde_json::Error,
    },
    /// Another schema.
    #[error("{}: schema is `{found}`, this version reads `{expected}`", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: String,
        /// The one to be read here.
        expected: &'static str,
    },
}

/// The records to be merged: all of one kind.
#[derive(Clone, Debug)]
pub enum Parts {
    /// Of whole evaluations.
    Evaluation(Vec<(PathBuf, PartRecord)>),
    /// Of a sample.
    Sample(Vec<(PathBuf, SamplePart)>),
}

/// Reads part records. The kind of the first decides what the others must be.
pub fn read_parts(paths: &[PathBuf]) -> Result<Parts, PartError> {
    /// What every record begins with.
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    let is_sample =
        |bytes: &[u8]| serde_json::from_slice::<Head>(bytes).is_ok_and(|head| head.schema == SAMPLE_PART_SCHEMA);
    let Some((first, others)) = paths.split_first() else { return Ok(Parts::Evaluation(Vec::new())) };
    let bytes = read_bounded(first, MAX_SAMPLE_PART_BYTES)?;
    if is_sample(&bytes) {
        let sample = |path: &Path, bytes: &[u8]| -> Result<SamplePart, PartError> {
            parse(path, bytes, SAMPLE_PART_SCHEMA, |part: &SamplePart| &part.schema)
        };
        let mut parts = vec![(first.clone(), sample(first, &bytes)?)];
        for path in others {
            parts.push((path.clone(), sample(path, &read_bounded(path, MAX_SAMPLE_PART_BYTES)?)?));
        }
        return Ok(Parts::Sample(parts));
    }
    if bytes.len() as u64 > MAX_PART_BYTES {
        return Err(PartError::TooLarge { path: first.clone(), most: MAX_PART_BYTES });
    }
    let mut parts = vec![(first.clone(), evaluation(first, &bytes)?)];
    for path in others {
        parts.push((path.clone(), read_part(path)?));
    }
    Ok(Parts::Evaluation(parts))
}

/// Reads one part record of an evaluation.
pub fn read_part(path: &Path) -> Result<PartRecord, PartError> {
    evaluation(path, &read_bounded(path, MAX_PART_BYTES)?)
}

fn evaluation(path: &Path, bytes: &[u8]) -> Result<PartRecord, PartError> {
    parse(path, bytes, PART_SCHEMA, |part: &PartRecord| &part.schema)
}

fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, PartError> {
    let read = |source| PartError::Read { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    crate::regular_file::open(path).map_err(read)?.take(most + 1).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 > most {
        return Err(PartError::TooLarge { path: path.to_path_buf(), most });
    }
    Ok(bytes)
}

fn parse<T: for<'de> Deserialize<'de>>(
    path: &Path,
    bytes: &[u8],
    expected: &'static str,
    schema: impl Fn(&T) -> &String,
) -> Result<T, PartError> {
    let part: T =
        serde_json::from_slice(bytes).map_err(|source| PartError::Format { path: path.to_path_buf(), source })?;
    if schema(&part) != expected {
        return Err(PartError::Schema { path: path.to_path_buf(), found: schema(&part).clone(), expected });
    }
    Ok(part)
}

/// Writes a part record, atomically.
pub fn write_part(path: &Path, part: &PartRecord) -> Result<(), WriteError> {
    // Plain structs with string keys always have a JSON form.
    write(path, serde_json::to_vec_pretty(part).unwrap_or_default())
}

/// Writes a part record of a sample, atomically; without line breaks, since it lists every window.
pub fn write_sample_part(path: &Path, part: &SamplePart) -> Result<(), WriteError> {
    write(path, serde_json::to_vec(part).unwrap_or_default())
}

fn write(path: &Path, mut text: Vec<u8>) -> Result<(), WriteError> {
    text.push(b'\n');
    atomic_write::write(path, &text)
}

/// Parts that do not make a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// Nothing to merge.
    #[error("no part records given")]
    Empty,
    /// The evaluation was cut differently.
    #[error("{}: is part {found}, but {} is a part of {parts}; merge parts of one division only", path.display(), first.display())]
    Division {
        /// The record.
        path: PathBuf,
        /// What it is.
        found: Shard,
        /// The record it was held against.
        first: PathBuf,
        /// Number of parts there.
        parts: u64,
    },
    /// The same part twice.
    #[error("{} and {} are both part {shard}", first.display(), second.display())]
    Twice {
        /// The part.
        shard: Shard,
        /// One record.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A part is not there.
    #[error("part {shard} is missing; {given} of {} parts were given", shard.of)]
    Missing {
        /// The first that is missing.
        shard: Shard,
        /// Parts given.
        given: usize,
    },
    /// Parts of different evaluations.
    #[error("{} and {} were not made from the same {what}: {a} against {b}", first.display(), second.display())]
    Different {
        /// One record.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// What differs.
        what: &'static str,
        /// In the first.
        a: String,
        /// In the second.
        b: String,
    },
    /// Numbers that the part cannot have.
    #[error("{}: {pass}: {what}; the record is damaged or was edited", path.display())]
    Inconsistent {
        /// The record.
        path: PathBuf,
        /// Weights and kind of windows.
        pass: String,
        /// What does not fit.
        what: String,
    },
    /// Windows that cannot be.
    #[error("{}: {source}", path.display())]
    Plan {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        source: PlanError,
    },
}

/// Adds up all parts of an evaluation. The result has the bits of a run in one piece.
///
/// Every part must be there exactly once, made from the same inputs with the same settings; what each record says
/// about its windows is recomputed.
pub fn merge(mut parts: Vec<(PathBuf, PartRecord)>) -> Result<Report, MergeError> {
    parts.sort_by_key(|(_, part)| part.shard);
    let Some((first_path, first)) = parts.first() else { return Err(MergeError::Empty) };
    let shard = |part: &PartRecord| part.shard;
    check_division(&parts, shard)?;
    for (path, part) in &parts {
        if let Some((what, a, b)) = first.basis.difference(&part.basis) {
            let (first, second) = (first_path.clone(), path.clone());
            return Err(MergeError::Different { first, second, what, a, b });
        }
        let names = |part: &PartRecord| -> Vec<String> { part.passes.iter().map(PartPass::name).collect() };
        if names(first) != names(part) {
            let (a, b) = (names(first).join(" "), names(part).join(" "));
            let (first, second) = (first_path.clone(), path.clone());
            return Err(MergeError::Different { first, second, what: "passes", a, b });
        }
    }
    check_complete(&parts, shard)?;

    let mut passes = Vec::new();
    for (position, pass) in first.passes.iter().enumerate() {
        let mut score = Score::default();
        for (path, part) in &parts {
            part.passes[position].check(part).map_err(|wrong| wrong.in_file(path, &part.passes[position].name()))?;
            score.merge(&part.passes[position].score());
        }
        passes.push(Pass { weights: pass.weights, windowing: pass.windowing, learns: false, score });
    }
    let mut processors: Vec<String> = parts.iter().map(|(_, part)| part.processor.clone()).collect();
    processors.sort();
    processors.dedup();
    Ok(Report { basis: first.basis.clone(), passes, run: None, agreement: None, processors })
}

/// What [`PartPass::check`] found.
pub(super) enum Wrong {
    Plan(PlanError),
    Numbers(String),
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wrong::Plan(source) => source.fmt(f),
            Wrong::Numbers(what) => f.write_str(what),
        }
    }
}

impl Wrong {
    pub(super) fn in_file(self, path: &Path, pass: &str) -> MergeError {
        let path = path.to_path_buf();
        match self {
            Wrong::Plan(source) => MergeError::Plan { path, source },
            Wrong::Numbers(what) => MergeError::Inconsistent { path, pass: pass.to_string(), what },
        }
    }
}

impl ScoreSettings {
    /// The windows of a record that anybody may have written.
    pub(super) fn checked_plan(&self, windowing: Windowing) -> Result<WindowPlan, Wrong> {
        if self.tokens > MAX_SPLIT_TOKENS {
            return Err(Wrong::Numbers(format!("a split of {} tokens", self.tokens)));
        }
        self.plan(windowing).map_err(Wrong::Plan)
    }
}

/// Most bytes that so many tokens stand for: one stands for at most 65,535 and a space.
pub(super) fn most_bytes(tokens: u64) -> u64 {
    tokens.saturating_mul(1 << 16)
}

impl PartPass {
    fn name(&self) -> String {
        format!("{}/{}", self.weights, self.windowing)
    }

    fn score(&self) -> Score {
        Score { total: self.total_nats, tokens: self.tokens, bytes: self.bytes, windows: self.windows }
    }

    /// Recomputes windows and tokens of the part from its basis.
    fn check(&self, part: &PartRecord) -> Result<(), Wrong> {
        let plan = part.basis.checked_plan(self.windowing)?;
        let range = plan.part(part.shard.index, part.shard.of);
        let range = range.ok_or_else(|| Wrong::Numbers(format!("there is no part {}", part.shard)))?;
        let found = (self.first_window, self.windows);
        let expected = (range.start, range.end - range.start);
        if found != expected {
            return Err(Wrong::Numbers(format!("windows {found:?} (first, count) where the part has {expected:?}")));
        }
        let tokens = plan.scored_before(range.end) - plan.scored_before(range.start);
        if self.tokens != tokens {
            return Err(Wrong::Numbers(format!("{} tokens where its windows score {tokens}", self.tokens)));
        }
        if self.bytes > most_bytes(tokens) {
            return Err(Wrong::Numbers(format!("{} bytes for {tokens} tokens", self.bytes)));
        }
        Ok(())
    }
}
