//! What a likelihood may depend on: the tokens before it, from the start of its window. Nothing else.

use super::{ProbeKind, ProbeOutcome, ProbeTarget, first_difference};
use crate::eval::ScoreError;

/// Cuts in a window, as eighths of its length, after which every token is changed.
const CUT_EIGHTHS: [usize; 5] = [1, 2, 4, 6, 8];

/// Changes all tokens from a cut on; what was predicted before the cut must not move.
pub(super) fn future(subject: &ProbeTarget<'_>) -> Result<ProbeOutcome, ScoreError> {
    let mut outcome = ProbeOutcome::new(ProbeKind::Future);
    for (index, span) in subject.sampled() {
        let tokens = &subject.tokens[span.tokens()];
        let before = subject.nll_of(tokens)?;
        let mut cuts = CUT_EIGHTHS.map(|eighths| (tokens.len() - 1) * eighths / 8).to_vec();
        cuts.dedup();
        // Prediction i is of token i + 1: with tokens changed from `cut` on, predictions below cut - 1 stand.
        for cut in cuts.into_iter().filter(|&cut| cut >= 2) {
            let mut altered = tokens.to_vec();
            subject.alter(&mut altered[cut..], index + cut as u64);
            let after = subject.nll_of(&altered)?;
            for (i, (before, after)) in before.iter().zip(&after).take(cut - 1).enumerate() {
                outcome.check(before.to_bits() == after.to_bits(), || {
                    let prediction = span.start + i as u64;
                    format!(
                        "window {index}, prediction {prediction}: {before} became {after} when tokens {} or more \
                         positions later were changed",
                        cut - i - 1
                    )
                });
            }
        }
    }
    Ok(outcome)
}

/// Changes everything before a window, in memory and in what the scorer was shown last.
pub(super) fn past(subject: &ProbeTarget<'_>) -> Result<ProbeOutcome, ScoreError> {
    let mut outcome = ProbeOutcome::new(ProbeKind::Past);
    for (index, span) in subject.sampled().into_iter().filter(|(_, span)| span.start > 0) {
        let length = subject.plan.seq_len().min(span.start) as usize;
        let start = span.start as usize;
        let mut copy = subject.tokens[start - length..=span.end as usize].to_vec();
        subject.nll_of(&copy[..=length])?;
        let before = subject.nll_of(&copy[length..])?;
        subject.alter(&mut copy[..length], index);
        subject.nll_of(&copy[..=length])?;
        let after = subject.nll_of(&copy[length..])?;
        let difference = first_difference(&before, &after);
        outcome.checks += before.len() as u64;
        outcome.failures += before.iter().zip(&after).filter(|(a, b)| a.to_bits() != b.to_bits()).count() as u64;
        if let Some(i) = difference {
            outcome.first_failure.get_or_insert_with(|| {
                let prediction = span.start + i as u64;
                format!(
                    "window {index}, prediction {prediction}: {} became {} when the {length} tokens before the \
                     window were changed",
                    before[i], after[i]
                )
            });
        }
    }
    Ok(outcome)
}
