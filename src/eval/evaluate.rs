//! Running windows through a model and adding up what comes back.

use std::ops::Range;

use super::{ExactSum, PlanError, Score, WindowPlan, WindowSpan};
use crate::atomic_write::WriteError;
use crate::data::TargetBytes;
use crate::engine::{EngineError, Scorer, Window};
use crate::interrupt::{Interrupt, Interrupted};
use crate::progress::Progress;

/// Most windows given to an engine at once, whatever is asked for: keeps memory bounded.
const MAX_BATCH_WINDOWS: usize = 4096;

/// Why scoring stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// No such windows.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine answered for another number of predictions than it was asked about.
    #[error("window {window}: the engine returned {found} likelihoods for {expected} predictions")]
    Count {
        /// Index of the window.
        window: u64,
        /// Likelihoods returned.
        found: usize,
        /// Predictions scored by the window.
        expected: u64,
    },
    /// A likelihood that is no number.
    #[error(
        "prediction {prediction}: negative log-likelihood is {value}; the weights give logits that are not finite: \
         damaged file, or training diverged"
    )]
    NotFinite {
        /// Index of the prediction in the split.
        prediction: u64,
        /// What the engine returned.
        value: f32,
    },
    /// The likelihoods could not be written down.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Stopped between two batches.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// A model and a split, and how to go about it.
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    /// The model.
    pub scorer: &'a dyn Scorer,
    /// The whole split.
    pub tokens: &'a [u16],
    /// Bytes of every token.
    pub bytes: TargetBytes<'a>,
    /// Windows given to the engine at a time, where it does not want more. Changes no number.
    pub batch_windows: usize,
    /// Told about every finished window.
    pub progress: &'a Progress,
    /// Looked at between batches.
    pub interrupt: &'a Interrupt,
}

/// Takes likelihoods in corpus order, a window at a time.
pub type NllSink<'a> = dyn FnMut(&[f32]) -> Result<(), WriteError> + 'a;

/// Takes the index of a window and its likelihoods.
type WindowSink<'a> = dyn FnMut(u64, &[f32]) -> Result<(), WriteError> + 'a;

impl Evaluation<'_> {
    /// Scores the windows of a range of indices.
    ///
    /// Likelihoods go to `sink` as they are made and are not kept: memory is the split plus one batch.
    pub fn score(&self, plan: &WindowPlan, range: Range<u64>, sink: &mut NllSink<'_>) -> Result<Score, ScoreError> {
        self.run(plan, range, &mut |_, nll| sink(nll))
    }

    /// Scores some windows, given by ascending indices. `each` gets the nats of each.
    pub fn score_some(
        &self,
        plan: &WindowPlan,
        windows: &[u64],
        each: &mut dyn FnMut(u64, f64),
    ) -> Result<Score, ScoreError> {
        self.run(plan, windows.iter().copied(), &mut |window, nll| {
            // Anything not finite was refused before.
            each(window, ExactSum::of(nll).unwrap_or_default().to_f64());
            Ok(())
        })
    }

    fn run(
        &self,
        plan: &WindowPlan,
        windows: impl Iterator<Item = u64>,
        each: &mut WindowSink<'_>,
    ) -> Result<Score, ScoreError> {
        let mut windows = windows.map_while(|index| Some((index, plan.window(index)?))).peekable();
        let longest = windows.peek().map_or(0, |(_, span)| span.tokens().len());
        let batch = self.batch_windows.max(self.scorer.windows_at_once(longest)).clamp(1, MAX_BATCH_WINDOWS);
        let mut score = Score::default();
        while windows.peek().is_some() {
            self.interrupt.check()?;
            let (indices, spans): (Vec<u64>, Vec<WindowSpan>) = windows.by_ref().take(batch).unzip();
            let likelihoods = nll(self.scorer, self.tokens, &spans, &indices)?;
            if let Some(mean) = mean(&likelihoods) {
                self.progress.value(mean);
            }
            for ((index, span), nll) in indices.into_iter().zip(&spans).zip(likelihoods) {
                for (prediction, &value) in span.scored().zip(&nll) {
                    score.total.add(value).map_err(|_| ScoreError::NotFinite { prediction, value })?;
                    score.bytes += self.bytes.of(self.tokens, prediction as usize + 1);
                }
                each(index, &nll)?;
                score.tokens += nll.len() as u64;
                score.windows += 1;
            }
            self.progress.advance(spans.len() as u64);
            if let Some(bpb) = score.val_bpb() {
                self.progress.note(format!("val_bpb {bpb:.4}"));
            }
        }
        Ok(score)
    }
}

/// The mean of a batch, for the eye: scores are exact sums.
fn mean(likelihoods: &[Vec<f32>]) -> Option<f64> {
    let count: usize = likelihoods.iter().map(Vec::len).sum();
    (count > 0).then(|| likelihoods.iter().flatten().copied().map(f64::from).sum::<f64>() / count as f64)
}

/// Runs windows and checks that exactly the predictions asked for were answered. `indices` are theirs, for errors.
pub(super) fn nll(
    scorer: &dyn Scorer,
    tokens: &[u16],
    spans: &[WindowSpan],
    indices: &[u64],
) -> Result<Vec<Vec<f32>>, ScoreError> {
    let window = |span: &WindowSpan| Window {
        tokens: &tokens[span.tokens()],
        first_scored: (span.first_scored - span.start) as usize,
    };
    let windows: Vec<Window<'_>> = spans.iter().map(window).collect();
    let likelihoods = scorer.nll(&windows)?;
    for (offset, span) in spans.iter().enumerate() {
        let found = likelihoods.get(offset).map_or(0, Vec::len);
        let expected = span.end - span.first_scored;
        if found as u64 != expected {
            let window = indices.get(offset).copied().unwrap_or_default();
            return Err(ScoreError::Count { window, found, expected });
        }
    }
    Ok(likelihoods)
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    fn run(scorer: &dyn Scorer, plan: &WindowPlan, range: Range<u64>, batch: usize) -> (Score, Vec<f32>) {
        let tokens = fake::tokens(plan.predictions() as usize + 1);
        let table = fake::byte_table();
        let evaluation = Evaluation {
            scorer,
            tokens: &tokens,
            bytes: (&table).into(),
            batch_windows: batch,
            progress: &Progress::hidden(),
            interrupt: &Interrupt::none(),
        };
        let mut all = Vec::new();
        let mut sink = |nll: &[f32]| {
            all.extend_from_slice(nll);
            Ok(())
        };
        (evaluation.score(plan, range, &mut sink).unwrap(), all)
    }

    #[test]
    fn numbers_are_those_of_the_closed_form() {
        let model = fake::hash_model();
        let tokens = fake::tokens(203);
        for (plan, context) in
            [(WindowPlan::sliding(203, 16, 5).unwrap(), 5), (WindowPlan::non_overlapping(203, 16).unwrap(), 16)]
        {
            let (score, nll) = run(&model, &plan, 0..plan.windows(), 3);
            let expected: Vec<f32> = (0..plan.scored() as usize)
                .map(|prediction| {
                    let start = if prediction < 16 { 0 } else { (prediction - 16) / context * context + context };
                    let start = if context == 16 { prediction / 16 * 16 } else { start };
                    fake::nll(&tokens[start..=prediction], tokens[prediction + 1])
                })
                .collect();
            assert_eq!(nll, expected);
            assert_eq!(score.total, ExactSum::of(&expected).unwrap());
            assert_eq!((score.tokens, score.windows), (plan.scored(), plan.windows()));
            let text = &tokens[..=plan.scored() as usize];
            assert_eq!(score.bytes, fake::byte_table().bytes_of_targets(text));
            let mean = expected.iter().copied().map(f64::from).sum::<f64>() / expected.len() as f64;
            let loss = score.val_loss().unwrap().0;
            assert!((loss - mean).abs() < 1e-12);
            let bpb = mean * plan.scored() as f64 / (score.bytes as f64 * std::f64::consts::LN_2);
            assert!((score.val_bpb().unwrap().0 - bpb).abs() < 1e-12);
        }
    }

    #[test]
    fn neither_batches_nor_parts_change_a_bit() {
        let plan = WindowPlan::sliding(400, 24, 7).unwrap();
        let whole = run(&fake::hash_model(), &plan, 0..plan.windows(), 1);
        for batch in [2, 3, 32, usize::MAX] {
            assert_eq!(run(&fake::hash_model(), &plan, 0..plan.windows(), batch), whole);
        }
        for parts in [1, 2, 3, 8, 1000] {
            let (mut score, mut nll) = (Score::default(), Vec::new());
            for index in 1..=parts {
                let (part, likelihoods) = run(&fake::hash_model(), &plan, plan.part(index, parts).unwrap(), 4);
                score.merge(&part);
                nll.extend(likelihoods);
            }
            assert_eq!((score, nll), whole);
        }
    }

    #[test]
    fn nothing_scored_is_no_score() {
        let plan = WindowPlan::non_overlapping(16, 16).unwrap();
        let (score, _) = run(&fake::hash_model(), &plan, 0..plan.windows(), 4);
        assert_eq!((score, score.val_loss(), score.val_bpb()), (Score::default(), None, None));
    }

    #[test]
    fn bytes_are_those_of_a_sidecar_where_there_is_one() {
        let tokens = fake::tokens(203);
        let counts: Vec<u16> = (0..203).map(|i| i * 7 % 11).collect();
        let model = fake::hash_model();
        let plan = WindowPlan::sliding(203, 16, 5).unwrap();
        let evaluation = Evaluation {
            scorer: &model,
            tokens: &tokens,
            bytes: TargetBytes::Sidecar(&counts),
            batch_windows: 3,
            progress: &Progress::hidden(),
            interrupt: &Interrupt::none(),
        };
        let score = evaluation.score(&plan, 0..plan.windows(), &mut |_| Ok(())).unwrap();
        assert_eq!(score.bytes, counts[1..].iter().copied().map(u64::from).sum::<u64>());
        // The same losses over other bytes.
        let (by_table, _) = run(&model, &plan, 0..plan.windows(), 3);
        assert_eq!((score.total, score.val_loss()), (by_table.total, by_table.val_loss()));
        let ratio = by_table.bytes as f64 / score.bytes as f64;
        let bpb = |score: &Score| score.val_bpb().unwrap().0;
        assert!((bpb(&score) / bpb(&by_table) / ratio - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_scorer_that_miscounts_or_returns_nan_is_caught() {
        let plan = WindowPlan::sliding(40, 8, 4).unwrap();
        let tokens = fake::tokens(40);
        let table = fake::byte_table();
        let attempt = |scorer: &dyn Scorer| {
            let (progress, interrupt) = (&Progress::hidden(), &Interrupt::none());
            Evaluation { scorer, tokens: &tokens, bytes: (&table).into(), batch_windows: 4, progress, interrupt }
                .score(&plan, 0..plan.windows(), &mut |_| Ok(()))
                .unwrap_err()
        };
        let error = attempt(&fake::miscounts());
        assert!(matches!(error, ScoreError::Count { window: 1, found: 5, expected: 4 }), "{error}");
        let error = attempt(&fake::nan_at(17));
        assert!(matches!(error, ScoreError::NotFinite { prediction: 17, .. }), "{error}");
    }

    #[test]
    fn an_interrupt_stops_between_batches() {
        let plan = WindowPlan::sliding(400, 8, 4).unwrap();
        let (tokens, table, interrupt) = (fake::tokens(400), fake::byte_table(), Interrupt::none());
        let progress = &Progress::hidden();
        let evaluation = Evaluation {
            scorer: &fake::hash_model(),
            tokens: &tokens,
            bytes: (&table).into(),
            batch_windows: 4,
            progress,
            interrupt: &interrupt,
        };
        let mut windows = 0;
        let mut sink = |_: &[f32]| {
            windows += 1;
            if windows == 6 {
                interrupt.raise();
            }
            Ok(())
        };
        let error = evaluation.score(&plan, 0..plan.windows(), &mut sink).unwrap_err();
        assert!(matches!(error, ScoreError::Interrupted(_)));
        assert_eq!(windows, 8);
    }
}
