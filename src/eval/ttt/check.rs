//! Whether a trace keeps to the rule: every token scored before any step that saw it as a target.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use super::{
    Chunks, Ledger, OrderError, TRACE_SCHEMA, TraceDocument, TraceLine, TraceStart, TracedLearning, TracedScore,
    TracedTotal,
};
use crate::eval::part::most_bytes;
use crate::eval::{Score, Windowing};

/// A line holds the settings of an evaluation at most; a longer one is something else.
const MAX_LINE_BYTES: u64 = 4 << 20;

/// What a trace that keeps to the rule holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckedTrace {
    /// Passes, each from the weights of a file.
    pub passes: u64,
    /// Chunks scored, over all passes.
    pub scored: u64,
    /// Chunks learned from.
    pub learned: u64,
}

/// A trace that cannot be read, or that does not keep to the rule.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file could not be read.
    #[error("cannot read trace {}: {source}", path.display())]
    Read {
        /// The trace.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No line of a trace.
    #[error("{}:{line}: not a line of a trace of test-time training: {message}", path.display())]
    Format {
        /// The trace.
        path: PathBuf,
        /// 1-based line.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// Learned from too early, or scored with a gap.
    #[error("{}:{line}: {source}", path.display())]
    Order {
        /// The trace.
        path: PathBuf,
        /// 1-based line.
        line: u64,
        /// What came too early.
        source: OrderError,
    },
    /// A line that its own settings contradict.
    #[error("{}:{line}: {message}; the trace is damaged or was edited", path.display())]
    Inconsistent {
        /// The trace.
        path: PathBuf,
        /// 1-based line.
        line: u64,
        /// What does not fit.
        message: String,
    },
}

impl TraceError {
    /// Whether the trace was read, and found to be against the rule or against itself.
    pub fn is_finding(&self) -> bool {
        matches!(self, TraceError::Order { .. } | TraceError::Inconsistent { .. })
    }
}

/// Reads a trace line by line and checks it: the order, and every chunk against what the settings of its pass make it.
/// Memory is one line.
pub fn check_trace(path: &Path) -> Result<CheckedTrace, TraceError> {
    let failed = |source| TraceError::Read { path: path.to_path_buf(), source };
    let mut file = io::BufReader::new(crate::regular_file::open(path).map_err(failed)?);
    let mut checker = Checker::default();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = (&mut file).take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes).map_err(failed)?;
        if read == 0 {
            break;
        }
        let wrong = |wrong: Wrong| wrong.at(path, line);
        let parsed: TraceDocument =
            serde_json::from_slice(&bytes).map_err(|error| wrong(Wrong::Format(error.to_string())))?;
        checker.line(parsed).map_err(wrong)?;
        checker.lines = line;
    }
    checker.finish().map_err(|wrong| wrong.at(path, checker.lines + 1))
}

/// What is wrong with a line.
enum Wrong {
    Format(String),
    Order(OrderError),
    Inconsistent(String),
}

impl From<OrderError> for Wrong {
    fn from(error: OrderError) -> Self {
        Wrong::Order(error)
    }
}

impl Wrong {
    fn at(self, path: &Path, line: u64) -> TraceError {
        let path = path.to_path_buf();
        match self {
            Wrong::Format(message) => TraceError::Format { path, line, message },
            Wrong::Order(source) => TraceError::Order { path, line, source },
            Wrong::Inconsistent(message) => TraceError::Inconsistent { path, line, message },
        }
    }
}

#[derive(Default)]
struct Checker {
    lines: u64,
    pass: Option<OpenPass>,
    checked: CheckedTrace,
}

/// A pass that has begun.
struct OpenPass {
    start: TraceStart,
    chunks: Chunks,
    ledger: Ledger,
    score: Score,
    /// The last chunk scored.
    last: Option<u64>,
}

impl Checker {
    fn line(&mut self, document: TraceDocument) -> Result<(), Wrong> {
        if document.schema != TRACE_SCHEMA {
            let schema = document.schema;
            return Err(Wrong::Format(format!("schema `{schema}`; this version reads `{TRACE_SCHEMA}`")));
        }
        let line = document.line().ok_or_else(|| Wrong::Format("a line tells of one thing".to_string()))?;
        match (&line, &mut self.pass) {
            (TraceLine::Start(start), None) => self.pass = Some(OpenPass::new(start)?),
            (TraceLine::Start(_), Some(_)) => return Err(inconsistent("a pass begins before the last one is over")),
            (_, None) => return Err(inconsistent("no pass has begun")),
            (TraceLine::Scored(scored), Some(pass)) => {
                pass.scored(scored)?;
                self.checked.scored += 1;
            }
            (TraceLine::Learned(learned), Some(pass)) => {
                pass.learned(learned)?;
                self.checked.learned += 1;
            }
            (TraceLine::Total(total), Some(pass)) => {
                pass.total(total)?;
                self.pass = None;
                self.checked.passes += 1;
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<CheckedTrace, Wrong> {
        match (&self.pass, self.checked.passes) {
            (None, 1..) => Ok(self.checked),
            _ => Err(inconsistent("the trace ends before its pass is over")),
        }
    }
}

impl OpenPass {
    fn new(start: &TraceStart) -> Result<Self, Wrong> {
        let Some(ttt) = &start.basis.ttt else { return Err(inconsistent("its settings have no test-time training")) };
        let plan = start.basis.checked_plan(Windowing::Sliding).map_err(|wrong| inconsistent(&wrong.to_string()))?;
        let chunks = Chunks::new(plan, ttt.chunk_tokens);
        let (ledger, score) = (Ledger::default(), Score::default());
        Ok(OpenPass { start: start.clone(), chunks, ledger, score, last: None })
    }

    fn scored(&mut self, line: &TracedScore) -> Result<(), Wrong> {
        if self.last.is_some_and(|last| line.chunk <= last) {
            return Err(inconsistent(&format!("chunk {} is scored after {}", line.chunk, said(self.last))));
        }
        self.ledger.scored(line.targets)?;
        let plan = *self.chunks.plan();
        let chunk = self.chunks.chunk(line.chunk);
        let expected = chunk.and_then(|chunk| {
            let tokens = plan.scored_before(chunk.windows.end) - plan.scored_before(chunk.windows.start);
            Some((self.chunks.scored(&chunk)?, chunk.windows.end - chunk.windows.start, tokens))
        });
        let found = (line.targets, line.windows, line.tokens);
        if expected != Some(found) {
            let (range, windows, tokens) = found;
            return Err(inconsistent(&format!(
                "chunk {}: {range}, {windows} windows, {tokens} tokens scored, where its settings give {}",
                line.chunk,
                expected.map_or("none".into(), |(range, windows, tokens)| format!("{range}, {windows} and {tokens}"))
            )));
        }
        if line.total_nats != line.total_nats_exact.to_f64() || line.bytes > most_bytes(line.tokens) {
            let (chunk, bytes, tokens) = (line.chunk, line.bytes, line.tokens);
            return Err(inconsistent(&format!(
                "chunk {chunk}: two sums that are not one, or {bytes} bytes in {tokens} tokens"
            )));
        }
        self.score.merge(&line.score());
        self.last = Some(line.chunk);
        Ok(())
    }

    fn learned(&mut self, line: &TracedLearning) -> Result<(), Wrong> {
        self.ledger.learned(line.targets)?;
        if self.last != Some(line.chunk) {
            return Err(inconsistent(&format!(
                "chunk {} is learned from after {} was scored",
                line.chunk,
                said(self.last)
            )));
        }
        let rate = self.start.basis.ttt.as_ref().map(|ttt| ttt.learning_rate * self.chunks.rate(line.chunk));
        let targets = self.chunks.chunk(line.chunk).and_then(|chunk| chunk.learned());
        if targets != Some(line.targets) || rate != Some(line.learning_rate) {
            return Err(inconsistent(&format!(
                "chunk {}: learned from {} at rate {}, where its settings give {} and {}",
                line.chunk,
                line.targets,
                line.learning_rate,
                targets.map_or("none".into(), |targets| targets.to_string()),
                rate.unwrap_or_default()
            )));
        }
        Ok(())
    }

    fn total(&self, line: &TracedTotal) -> Result<(), Wrong> {
        let plan = self.chunks.plan();
        if *line != TracedTotal::from(&self.score) || (line.windows, line.tokens) != (plan.windows(), plan.scored()) {
            return Err(inconsistent("the total is not that of all chunks"));
        }
        Ok(())
    }
}

fn inconsistent(message: &str) -> Wrong {
    Wrong::Inconsistent(message.to_string())
}

/// A chunk in words.
fn said(chunk: Option<u64>) -> String {
    chunk.map_or("none".into(), |chunk| format!("chunk {chunk}"))
}
