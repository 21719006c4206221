//! The evaluation that training runs every so often: non-overlapping windows over the whole split.

use super::{Evaluation, Score, ScoreError, WindowPlan};

/// Scores every full window of `seq_len` predictions, side by side; the tail is dropped.
///
/// The challenge logs this as `val_loss` and `val_bpb` during training. A split shorter than one window gives a
/// score of nothing, whose loss is `None`.
pub fn non_overlapping(evaluation: &Evaluation<'_>, seq_len: u64) -> Result<Score, ScoreError> {
    let plan = WindowPlan::non_overlapping(evaluation.tokens.len() as u64, seq_len)?;
    evaluation.score(&plan, 0..plan.windows(), &mut |_| Ok(()))
}

/// The `index`-th of `of` contiguous parts of [`non_overlapping`], counted from 1; the parts merge into the whole exactly.
pub fn non_overlapping_part(
    evaluation: &Evaluation<'_>,
    seq_len: u64,
    index: u64,
    of: u64,
) -> Result<Score, ScoreError> {
    let plan = WindowPlan::non_overlapping(evaluation.tokens.len() as u64, seq_len)?;
    evaluation.score(&plan, plan.part(index, of).unwrap_or(0..0), &mut |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;
    use crate::interrupt::Interrupt;
    use crate::progress::Progress;

    #[test]
    fn the_tail_is_dropped() {
        let table = fake::byte_table();
        let tokens = fake::tokens(70);
        let score = |tokens: &[u16]| {
            let evaluation = Evaluation {
                scorer: &fake::hash_model(),
                tokens,
                bytes: (&table).into(),
                batch_windows: 2,
                progress: &Progress::hidden(),
                interrupt: &Interrupt::none(),
            };
            non_overlapping(&evaluation, 64).unwrap()
        };
        assert_eq!(score(&tokens), score(&tokens[..65]));
        assert_eq!((score(&tokens).tokens, score(&tokens).windows), (64, 1));
        assert_eq!(score(&tokens[..64]), Score::default());
    }
}
