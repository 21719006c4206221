//! Whether likelihoods come from probability distributions.

use super::{ProbeKind, ProbeOutcome, ProbeTarget};
use crate::engine::Window;
use crate::eval::ScoreError;

/// Largest distance of a sum of probabilities from one, and of a likelihood from its softmax (relative above 1).
const TOLERANCE: f64 = 1e-5;
/// Context of the distributions that are summed: every possible next token is scored as a window of its own, so a
/// longer one would cost as much as scoring the split.
const CONTEXT_TOKENS: usize = 32;
/// Possible next tokens scored in one call.
const CANDIDATES_PER_CALL: usize = 1024;
/// Most logits held at once: 256 MiB. Longer windows are cut to fit.
const MAX_LOGITS: usize = 1 << 26;

/// Offers every id of the vocabulary as the next token and adds up the probabilities they get.
///
/// A scorer that looks at the target, or only claims to normalize, cannot keep this sum at one.
pub(super) fn normalized(subject: &ProbeTarget<'_>) -> Result<ProbeOutcome, ScoreError> {
    let mut outcome = ProbeOutcome::new(ProbeKind::Normalized);
    for (index, span) in subject.sampled() {
        let context = &subject.tokens[span.start as usize..span.end as usize];
        let context = &context[..context.len().min(CONTEXT_TOKENS)];
        let candidates: Vec<Vec<u16>> = (0..subject.vocab_size).map(|id| [context, &[id as u16]].concat()).collect();
        let mut sum = 0.0f64;
        for candidates in candidates.chunks(CANDIDATES_PER_CALL) {
            subject.interrupt.check()?;
            let last = |tokens| Window { tokens, first_scored: context.len() - 1 };
            let windows: Vec<Window<'_>> = candidates.iter().map(|tokens| last(tokens)).collect();
            let likelihoods = subject.scorer.nll(&windows)?;
            sum += likelihoods.iter().flatten().map(|&nll| libm::exp(-f64::from(nll))).sum::<f64>();
        }
        outcome.check((sum - 1.0).abs() <= TOLERANCE, || {
            format!(
                "window {index}: after its first {} tokens the probabilities of all {} ids sum to {sum:.6}",
                context.len(),
                subject.vocab_size
            )
        });
    }
    Ok(outcome)
}

/// Recomputes likelihoods from the logits in double precision.
pub(super) fn softmax(subject: &ProbeTarget<'_>) -> Result<ProbeOutcome, ScoreError> {
    let mut outcome = ProbeOutcome::new(ProbeKind::Softmax);
    for (index, span) in subject.sampled() {
        let tokens = &subject.tokens[span.tokens()];
        let rows = (tokens.len() - 1).min(MAX_LOGITS / subject.vocab_size.max(1)).max(1);
        let (inputs, targets) = (&tokens[..rows], &tokens[1..=rows]);
        let likelihoods = subject.nll_of(&tokens[..=rows])?;
        let logits = subject.scorer.logits(inputs)?;
        if logits.len() != rows * subject.vocab_size {
            let found = logits.len();
            outcome.check(false, || format!("window {index}: {found} logits for {rows} x {}", subject.vocab_size));
            continue;
        }
        for (i, (row, (&nll, &target))) in
            logits.chunks(subject.vocab_size).zip(likelihoods.iter().zip(targets)).enumerate()
        {
            let expected = cross_entropy(row, usize::from(target));
            let close = (f64::from(nll) - expected).abs() <= TOLERANCE * expected.abs().max(1.0);
            outcome.check(close, || {
                let prediction = span.start + i as u64;
                format!("window {index}, prediction {prediction}: {nll}, but the logits give {expected:.7}")
            });
        }
    }
    Ok(outcome)
}

/// -log softmax(logits)(target), stable for any range of logits.
fn cross_entropy(logits: &[f32], target: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&z| libm::exp(f64::from(z) - f64::from(largest))).sum();
    let target = logits.get(target).copied().unwrap_or(f32::NAN);
    libm::log(sum) + f64::from(largest) - f64::from(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_closed_forms() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(cross_entropy(&[0.0; 1024], 5), 1024f64.ln());
        close(cross_entropy(&[1000.0, 1000.0], 0), 2f64.ln());
        close(cross_entropy(&[-1e6, 0.0], 0), 1e6);
        assert!(cross_entropy(&[0.0], 1).is_nan());
    }
}
