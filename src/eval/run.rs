//! Running windows through an engine and adding up what comes back.

use std::io::{self, Write};
use std::ops::Range;

use super::{Tally, WindowPlan};
use crate::cli::Progress;
use crate::data::ByteTable;
use crate::engine::{EngineError, Scorer, Window};
use crate::interrupt::Interrupt;

/// Why an evaluation stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The engine could not score a window.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine gave NaN or infinity.
    #[error("the likelihood of token {position} is {value}: the weights are damaged or training diverged")]
    NotFinite {
        /// Position of the target in the stream.
        position: usize,
        /// What came back.
        value: f32,
    },
    /// The engine gave another number of likelihoods than targets were asked for.
    #[error("the engine returned {found} likelihoods where {expected} were asked for; this is a defect of the engine")]
    Count {
        /// Returned.
        found: usize,
        /// Asked for.
        expected: usize,
    },
    /// Likelihoods could not be written out.
    #[error("cannot write likelihoods: {0}")]
    Write(#[source] io::Error),
    /// Ctrl-C between two batches.
    #[error("interrupted")]
    Interrupted,
}

/// What to run and with whom to talk while running.
pub struct Evaluation<'a> {
    /// The frozen model.
    pub scorer: &'a dyn Scorer,
    /// The whole token stream; ids below the vocabulary size.
    pub tokens: &'a [u16],
    /// Bytes of each token.
    pub table: &'a ByteTable,
    /// The windows.
    pub plan: WindowPlan,
    /// Windows given to the engine at a time; changes memory and speed, never a number.
    pub batch_windows: usize,
    /// Counts windows.
    pub progress: &'a Progress,
    /// Looked at between batches.
    pub interrupt: &'a Interrupt,
}

impl Evaluation<'_> {
    /// Scores the windows of a range of indices, in order; likelihoods also go to `sink`, one little-endian f32 each.
    pub fn run(&self, range: Range<usize>, mut sink: Option<&mut dyn Write>) -> Result<Tally, RunError> {
        let mut tally = Tally::default();
        let mut next = range.start;
        while next < range.end {
            if self.interrupt.is_raised() {
                return Err(RunError::Interrupted);
            }
            let batch = next..range.end.min(next + self.batch_windows.max(1));
            next = batch.end;
            let spans: Vec<_> = self.plan.windows(batch).collect();
            let windows: Vec<Window<'_>> = spans
                .iter()
                .map(|span| Window {
                    tokens: &self.tokens[span.start..=span.end()],
                    first_scored: span.first_scored - span.start,
                })
                .collect();
            let scored = self.scorer.nll(&windows)?;
            let counts =
                |found, expected| if found == expected { Ok(()) } else { Err(RunError::Count { found, expected }) };
            counts(scored.len(), spans.len())?;
            for (span, likelihoods) in spans.iter().zip(&scored) {
                counts(likelihoods.len(), span.scored())?;
                for (offset, &value) in likelihoods.iter().enumerate() {
                    let target = span.first_scored + offset + 1;
                    if !tally.nll.add(value) {
                        return Err(RunError::NotFinite { position: target, value });
                    }
                    tally.bytes += self.table.bytes_of(self.tokens[target - 1], self.tokens[target]);
                    if let Some(sink) = sink.as_deref_mut() {
                        sink.write_all(&value.to_le_bytes()).map_err(RunError::Write)?;
                    }
                }
                tally.tokens += likelihoods.len() as u64;
                tally.windows += 1;
            }
            self.progress.advance(spans.len() as u64);
        }
        Ok(tally)
    }

    /// Scores every window.
    pub fn run_all(&self) -> Result<Tally, RunError> {
        self.run(0..self.plan.count(), None)
    }
}

/// Plain evaluation of a whole stream, as training logs it.
pub fn plain(
    scorer: &dyn Scorer,
    tokens: &[u16],
    table: &ByteTable,
    seq_len: usize,
    interrupt: &Interrupt,
) -> Result<Tally, RunError> {
    // A length of zero is refused with the manifest; one is the shortest window there is.
    let stride = seq_len.max(1);
    let plan = WindowPlan {
        kind: super::WindowKind::Plain,
        seq_len: stride,
        stride,
        predictions: tokens.len().saturating_sub(1),
    };
    let progress = Progress::hidden();
    Evaluation { scorer, tokens, table, plan, batch_windows: PLAIN_BATCH_WINDOWS, progress: &progress, interrupt }
        .run_all()
}

/// Enough windows to keep every core of a workstation busy.
const PLAIN_BATCH_WINDOWS: usize = 64;
