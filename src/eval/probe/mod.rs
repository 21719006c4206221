//! Probes: does the scorer itself play fair?
//!
//! A score is worth something only if every number in it is a probability that was given to a token before the
//! token was seen. Each probe tries to catch one way of cheating, or of being wrong, on a sample of windows that
//! always holds the first and the last. The engine is a black box: what is compared is what it answers.

mod batch_invariance;
mod causality;
mod distribution;
mod text;

pub use text::{Probing, all_passed, document, text};

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::evaluate::{ScoreError, nll};
use super::{Coverage, WindowPlan, WindowSpan, Windowing};
use crate::engine::Scorer;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// What is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    /// Every prediction of the split is scored exactly once (non-overlapping windows: all but the tail).
    Coverage,
    /// Changing tokens changes no likelihood of the tokens before them, not by one bit.
    Future,
    /// Changing what lies before a window changes nothing in it, not by one bit.
    Past,
    /// A window scores the same alone, in a batch, in a reversed batch and again, to the bit.
    BatchInvariance,
    /// Over all tokens that could come next, the probabilities add up to one.
    Normalized,
    /// The likelihood is the one that the softmax of the logits gives the target.
    Softmax,
}

impl ProbeKind {
    /// All, in the order they are run.
    pub const ALL: [ProbeKind; 6] = [
        ProbeKind::Coverage,
        ProbeKind::Future,
        ProbeKind::Past,
        ProbeKind::BatchInvariance,
        ProbeKind::Normalized,
        ProbeKind::Softmax,
    ];

    /// What holds if the probe passes.
    pub fn statement(self) -> &'static str {
        match self {
            ProbeKind::Coverage => "every prediction is scored exactly once",
            ProbeKind::Future => "later tokens change no earlier likelihood",
            ProbeKind::Past => "tokens before a window change nothing in it",
            ProbeKind::BatchInvariance => "batch, order and repetition change nothing",
            ProbeKind::Normalized => "probabilities of all next tokens sum to 1 within 1e-5",
            ProbeKind::Softmax => "likelihoods are -log softmax(logits)[target] within 1e-5",
        }
    }

    /// What its checks count.
    pub fn unit(self) -> &'static str {
        match self {
            ProbeKind::BatchInvariance => "windows",
            ProbeKind::Normalized => "distributions",
            _ => "predictions",
        }
    }
}

impl std::fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            ProbeKind::Coverage => "coverage",
            ProbeKind::Future => "future",
            ProbeKind::Past => "past",
            ProbeKind::BatchInvariance => "batch-invariance",
            ProbeKind::Normalized => "normalized",
            ProbeKind::Softmax => "softmax",
        })
    }
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProbeOutcome {
    /// Which probe.
    pub probe: ProbeKind,
    /// Comparisons made, in the probe's unit.
    pub checks: u64,
    /// Comparisons that failed.
    pub failures: u64,
    /// Where the first failure is, and how it looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<String>,
}

impl ProbeOutcome {
    fn new(probe: ProbeKind) -> Self {
        ProbeOutcome { probe, checks: 0, failures: 0, first_failure: None }
    }

    /// Counts one comparison; `describe` is asked about the first that failed.
    fn check(&mut self, holds: bool, describe: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            self.failures += 1;
            self.first_failure.get_or_insert_with(describe);
        }
    }

    /// Whether nothing failed. A probe that had nothing to compare passes, and says so in `checks`.
    pub fn passed(&self) -> bool {
        self.failures == 0
    }
}

/// A model, a split and the windows over it.
#[derive(Clone, Copy)]
pub struct ProbeTarget<'a> {
    /// The model.
    pub scorer: &'a dyn Scorer,
    /// The whole split.
    pub tokens: &'a [u16],
    /// Ids are below this.
    pub vocab_size: usize,
    /// The windows.
    pub plan: WindowPlan,
    /// Windows to sample; the first and the last are always among them.
    pub samples: u64,
    /// Told about every finished probe.
    pub progress: &'a Progress,
    /// Looked at between windows.
    pub interrupt: &'a Interrupt,
}

/// Runs every probe. Failures are part of the answer; an error means that a probe could not be run.
pub fn probe(subject: &ProbeTarget<'_>) -> Result<Vec<ProbeOutcome>, ScoreError> {
    let run = |kind| {
        let outcome = match kind {
            ProbeKind::Coverage => coverage(&subject.plan),
            ProbeKind::Future => causality::future(subject)?,
            ProbeKind::Past => causality::past(subject)?,
            ProbeKind::BatchInvariance => batch_invariance::batch_invariance(subject)?,
            ProbeKind::Normalized => distribution::normalized(subject)?,
            ProbeKind::Softmax => distribution::softmax(subject)?,
        };
        subject.progress.advance(1);
        Ok(outcome)
    };
    ProbeKind::ALL.into_iter().map(run).collect()
}

fn coverage(plan: &WindowPlan) -> ProbeOutcome {
    let coverage = Coverage::of(plan.iter(0..plan.windows()), plan.predictions());
    let tail = match plan.windowing() {
        Windowing::Sliding => 0,
        Windowing::NonOverlapping => plan.predictions() % plan.seq_len(),
    };
    // A dropped tail is allowed to be missing, but only as the end of the split.
    let in_tail = coverage.first_fault.is_none_or(|fault| fault >= plan.predictions() - tail);
    let unexpected = coverage.never.abs_diff(tail) + coverage.repeatedly + coverage.outside + u64::from(!in_tail);
    ProbeOutcome {
        probe: ProbeKind::Coverage,
        checks: plan.predictions(),
        failures: unexpected,
        first_failure: (unexpected > 0).then(|| format!("{coverage:?}, with a tail of {tail}")),
    }
}

impl ProbeTarget<'_> {
    /// The sampled windows: first, last and evenly spread ones between.
    fn sampled(&self) -> Vec<(u64, WindowSpan)> {
        let Some(last) = self.plan.windows().checked_sub(1) else { return Vec::new() };
        let steps = self.samples.clamp(2, (last + 1).max(2)) - 1;
        let spread = |step: u64| (u128::from(last) * u128::from(step) / u128::from(steps)) as u64;
        let indices: BTreeSet<u64> = (0..=steps).map(spread).collect();
        indices.into_iter().filter_map(|index| Some((index, self.plan.window(index)?))).collect()
    }

    /// Likelihoods of all predictions of one run of tokens.
    fn nll_of(&self, tokens: &[u16]) -> Result<Vec<f32>, ScoreError> {
        self.interrupt.check()?;
        let whole = WindowSpan { start: 0, first_scored: 0, end: tokens.len() as u64 - 1 };
        Ok(nll(self.scorer, tokens, &[whole], &[])?.pop().unwrap_or_default())
    }

    /// Another id than `id`, different from call to call but the same in every run.
    fn other_id(&self, id: u16, salt: u64) -> u16 {
        let vocab = self.vocab_size as u64;
        // Knuth's multiplicative hash; any spread of ids will do.
        let step = 1 + salt.wrapping_mul(2_654_435_761) % vocab.saturating_sub(1).max(1);
        ((u64::from(id) + step) % vocab) as u16
    }

    /// Replaces every token of a slice by another one.
    fn alter(&self, tokens: &mut [u16], salt: u64) {
        for (position, id) in tokens.iter_mut().enumerate() {
            *id = self.other_id(*id, salt + position as u64);
        }
    }
}

/// First position where two runs of likelihoods differ in a bit.
fn first_difference(a: &[f32], b: &[f32]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits())
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    fn outcomes(scorer: &dyn Scorer, plan: WindowPlan) -> Vec<ProbeOutcome> {
        let tokens = fake::tokens(plan.predictions() as usize + 1);
        let (progress, interrupt) = (&Progress::hidden(), &Interrupt::none());
        let vocab_size = fake::VOCAB;
        probe(&ProbeTarget { scorer, tokens: &tokens, vocab_size, plan, samples: 5, progress, interrupt }).unwrap()
    }

    fn failed(scorer: &dyn Scorer) -> Vec<ProbeKind> {
        let outcomes = outcomes(scorer, WindowPlan::sliding(200, 24, 7).unwrap());
        outcomes.iter().filter(|outcome| !outcome.passed()).map(|outcome| outcome.probe).collect()
    }

    #[test]
    fn an_honest_model_passes_and_something_was_compared() {
        for plan in [WindowPlan::sliding(200, 24, 7).unwrap(), WindowPlan::non_overlapping(203, 24).unwrap()] {
            for outcome in outcomes(&fake::hash_model(), plan) {
                assert!(outcome.passed() && outcome.checks > 0, "{outcome:?}");
            }
        }
    }

    #[test]
    fn each_dishonesty_is_caught_by_its_probe() {
        assert_eq!(failed(&fake::hash_model()), []);
        assert!(failed(&fake::sees_the_future()).contains(&ProbeKind::Future));
        assert_eq!(failed(&fake::unnormalized()), [ProbeKind::Normalized, ProbeKind::Softmax]);
        assert!(failed(&fake::minds_its_neighbors()).contains(&ProbeKind::BatchInvariance));
        assert!(failed(&fake::learns()).contains(&ProbeKind::Past));
        assert!(failed(&fake::learns()).contains(&ProbeKind::BatchInvariance));
        // Reads the whole window but only one window: neither its neighbors nor the past matter.
        assert!(!failed(&fake::sees_the_future()).contains(&ProbeKind::BatchInvariance));
        assert!(!failed(&fake::sees_the_future()).contains(&ProbeKind::Past));
    }

    #[test]
    fn failures_are_counted_and_the_first_is_described() {
        let outcomes = outcomes(&fake::unnormalized(), WindowPlan::sliding(200, 24, 7).unwrap());
        let outcome = outcomes.iter().find(|outcome| outcome.probe == ProbeKind::Normalized).unwrap();
        assert_eq!(outcome.failures, outcome.checks);
        let first = outcome.first_failure.as_deref().unwrap();
        assert!(first.contains("sum to 1.010050"), "{first}"); // e^0.01
    }

    #[test]
    fn windows_are_sampled_from_end_to_end() {
        let indices = |windows: u64, samples| {
            let plan = WindowPlan::sliding(windows + 1, 1, 1).unwrap();
            let (progress, interrupt) = (&Progress::hidden(), &Interrupt::none());
            let scorer = &fake::hash_model();
            let subject = ProbeTarget { scorer, tokens: &[], vocab_size: 2, plan, samples, progress, interrupt };
            subject.sampled().into_iter().map(|(index, _)| index).collect::<Vec<_>>()
        };
        assert!(indices(0, 8).is_empty());
        assert_eq!(indices(1, 8), [0]);
        assert_eq!(indices(2, 0), [0, 1]);
        assert_eq!(indices(9, 3), [0, 4, 8]);
        assert_eq!(indices(4, 100), [0, 1, 2, 3]);
    }

    #[test]
    fn a_window_of_one_prediction_is_no_trouble() {
        for outcome in outcomes(&fake::hash_model(), WindowPlan::sliding(2, 8, 8).unwrap()) {
            assert!(outcome.passed(), "{outcome:?}");
        }
    }
}
