//! Score a chunk, learn from it, go on to the next.

use std::ops::Range;

use super::learner::Learner;
use super::{Chunks, Ledger, OrderError, TraceLine, TraceStart, TracedScore, TracedTotal};
use crate::atomic_write::WriteError;
use crate::engine::{Engine, EngineError};
use crate::eval::{Score, WindowPlan};
use crate::interrupt::{Interrupt, Interrupted};
use crate::manifest::TttConfig;
use crate::model::{ModelConfig, Params};

/// Why it stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TttError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Something was about to happen in an order that the rule forbids.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// A loss or a gradient that is no number.
    #[error(
        "test-time training diverged in chunk {chunk}: loss {loss}, gradient norm {norm}; lower eval.ttt.learning_rate"
    )]
    Diverged {
        /// Which chunk, from 0.
        chunk: u64,
        /// Loss of the step.
        loss: f32,
        /// Its gradient norm before clipping.
        norm: f64,
    },
    /// Stopped between two steps.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Scores a range of windows by the weights of the moment.
pub type ScoreWindows<'a, E> = dyn FnMut(&Params, Range<u64>) -> Result<Score, E> + 'a;

/// Gets a line of the trace, and the weights after what it tells.
pub type Tell<'a, E> = dyn FnMut(TraceLine, &Params) -> Result<(), E> + 'a;

/// An evaluation whose weights learn from every chunk once it is scored.
///
/// On the host there are, in single precision, the weights, their momentum and their gradients (of several groups of rows
/// at a time, one a thread), beside what scoring holds.
#[derive(Clone, Copy)]
pub struct ScoreFirst<'a> {
    /// What learns; gradients have the same bits for any number of threads.
    pub engine: &'a dyn Engine,
    /// The network as it is scored.
    pub model: &'a ModelConfig,
    /// How it learns.
    pub config: &'a TttConfig,
    /// The windows scored.
    pub plan: WindowPlan,
    /// The tokens of the plan.
    pub tokens: &'a [u16],
    /// Looked at between steps.
    pub interrupt: &'a Interrupt,
}

/// Takes a line of a trace as it is written.
pub type WriteLine<'a> = dyn FnMut(&[u8]) -> Result<(), WriteError> + 'a;

impl ScoreFirst<'_> {
    /// [`Self::run`], from the weights and settings of `start`; `write` gets every line of the trace.
    pub fn run_traced<E: From<TttError> + From<WriteError>>(
        &self,
        start: TraceStart,
        weights: Params,
        score: &mut ScoreWindows<'_, E>,
        write: &mut WriteLine<'_>,
    ) -> Result<Score, E> {
        write(&TraceLine::Start(Box::new(start)).to_json_line())?;
        let total = self.run::<E>(weights, score, &mut |line, _| Ok(write(&line.to_json_line())?))?;
        write(&TraceLine::Total(TracedTotal::from(&total)).to_json_line())?;
        Ok(total)
    }

    /// Scores all windows, in their order.
    ///
    /// `score` runs a range of windows by the weights of the moment. `tell` gets a line for every chunk scored and every
    /// chunk learned from, with the weights after it. What is scored and what is about to be learned from is entered in a
    /// [`Ledger`] first: nothing is learned from that `score` was not asked for before. Windows that leave targets of a
    /// chunk unscored are refused before anything is computed.
    pub fn run<E: From<TttError>>(
        &self,
        weights: Params,
        score: &mut ScoreWindows<'_, E>,
        tell: &mut Tell<'_, E>,
    ) -> Result<Score, E> {
        let chunks = Chunks::new(self.plan, self.config.chunk_tokens);
        chunks.check_order().map_err(TttError::from)?;
        let mut learner = Learner::new(self.engine, self.model, self.config, weights);
        let (mut total, mut ledger) = (Score::default(), Ledger::default());
        for chunk in (0..chunks.count()).filter_map(|index| chunks.chunk(index)) {
            // A chunk without windows is not learned from either.
            let Some(scored) = chunks.scored(&chunk) else { continue };
            let found = score(&learner.weights, chunk.windows.clone())?;
            ledger.scored(scored).map_err(TttError::from)?;
            total.merge(&found);
            tell(TraceLine::Scored(TracedScore::new(chunk.index, scored, &found)), &learner.weights)?;

            if let Some(targets) = chunk.learned() {
                ledger.learned(targets).map_err(TttError::from)?;
            }
            let rate = self.config.learning_rate * chunks.rate(chunk.index);
            if let Some(learned) = learner.learn(self.tokens, &chunk, rate, self.interrupt)? {
                tell(TraceLine::Learned(learned), &learner.weights)?;
            }
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineKind, create, shimmed_engine};
    use crate::eval::{Evaluation, ScoreJobError, fake};
    use crate::model::init;
    use crate::progress::Progress;
    use crate::random::RandomStream;

    fn model() -> ModelConfig {
        ModelConfig {
            vocab_size: fake::VOCAB,
            num_layers: 2,
            model_dim: 16,
            num_heads: 2,
            num_kv_heads: 1,
            bigram_vocab_size: 0,
            ..ModelConfig::default()
        }
    }

    /// Lines of the trace and the last weights.
    fn run(engine: &dyn Engine) -> (Vec<TraceLine>, Params) {
        let (model, tokens, table) = (model(), fake::tokens(101), fake::byte_table());
        let mut weights = init(&model, 1);
        let mut stream = RandomStream::new(2, "weights");
        for (_, tensor) in weights.iter_mut() {
            tensor.data_mut().iter_mut().for_each(|value| *value += 0.2 * stream.normal() as f32);
        }
        let config = TttConfig { chunk_tokens: 30, learning_rate: 0.1, sequences_per_step: 2, ..TttConfig::default() };
        let plan = WindowPlan::sliding(101, 12, 4).unwrap();
        let (progress, interrupt) = (&Progress::hidden(), &Interrupt::none());
        let score_first = ScoreFirst { engine, model: &model, config: &config, plan, tokens: &tokens, interrupt };
        let (mut lines, mut last) = (Vec::new(), Params::default());
        let score = |weights: &Params, windows| -> Result<Score, ScoreJobError> {
            let scorer = &*engine.scorer(&model, weights)?;
            let evaluation =
                Evaluation { scorer, tokens: &tokens, bytes: (&table).into(), batch_windows: 4, progress, interrupt };
            Ok(evaluation.score(&plan, windows, &mut |_| Ok(()))?)
        };
        let tell = &mut |line, weights: &Params| {
            lines.push(line);
            last = weights.clone();
            Ok(())
        };
        score_first.run(weights, &mut { score }, tell).unwrap();
        (lines, last)
    }

    #[test]
    fn reference_and_device_learn_as_the_processor_does() {
        let (expected, weights) = run(&*create(EngineKind::Kernels));
        // Four chunks, the last of which is not learned from.
        assert_eq!(expected.len(), 7);
        let mut others = vec![create(EngineKind::Dfdx)];
        others.extend(shimmed_engine());
        for engine in others {
            let (found, moved) = run(&*engine);
            for (found, expected) in found.iter().zip(&expected) {
                match (found, expected) {
                    (TraceLine::Scored(found), TraceLine::Scored(expected)) => {
                        assert_eq!((found.targets, found.bytes), (expected.targets, expected.bytes));
                        let apart = (found.total_nats - expected.total_nats).abs() / expected.tokens as f64;
                        assert!(apart < 1e-5, "{}: {found:?} for {expected:?}", engine.label());
                    }
                    (TraceLine::Learned(found), TraceLine::Learned(expected)) => {
                        assert_eq!((found.targets, found.steps), (expected.targets, expected.steps));
                        let apart = found.loss.zip(expected.loss).map(|(found, expected)| (found - expected).abs());
                        assert!(apart.unwrap() < 1e-5, "{}: {found:?} for {expected:?}", engine.label());
                    }
                    other => panic!("{other:?}"),
                }
            }
            for ((name, found), (_, expected)) in moved.iter().zip(weights.iter()) {
                let pairs = found.data().iter().zip(expected.data());
                let worst = pairs.map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-4, "{} {name}: {worst}", engine.label());
            }
        }
    }
}
