//! Whether a window's numbers depend on the windows it is scored with.

use super::{ProbeKind, ProbeOutcome, ProbeTarget, first_difference};
use crate::eval::evaluate::nll;
use crate::eval::{ScoreError, WindowSpan};

/// Scores the sampled windows together, in reverse, together again, and each alone.
pub(super) fn batch_invariance(subject: &ProbeTarget<'_>) -> Result<ProbeOutcome, ScoreError> {
    let mut outcome = ProbeOutcome::new(ProbeKind::BatchInvariance);
    let (indices, spans): (Vec<u64>, Vec<WindowSpan>) = subject.sampled().into_iter().unzip();
    let run = |spans: &[WindowSpan]| nll(subject.scorer, subject.tokens, spans, &[]);

    let together = run(&spans)?;
    let mut reversed = run(&spans.iter().rev().copied().collect::<Vec<_>>())?;
    reversed.reverse();
    let again = run(&spans)?;
    let mut alone = Vec::new();
    for span in &spans {
        alone.extend(run(std::slice::from_ref(span))?);
    }
    for (how, other) in [("in a reversed batch", reversed), ("again", again), ("alone", alone)] {
        for ((index, first), second) in indices.iter().zip(&together).zip(&other) {
            let difference = first_difference(first, second);
            outcome.check(difference.is_none(), || {
                let i = difference.unwrap_or_default();
                format!("window {index}: {} in a batch, {} {how}", first[i], second[i])
            });
        }
    }
    Ok(outcome)
}
