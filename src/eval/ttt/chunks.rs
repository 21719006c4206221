//! Which windows and which tokens a chunk has.

use std::ops::Range;

use super::{Ledger, OrderError, TokenRange};
use crate::eval::WindowPlan;

/// A chunk of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Which one, from 0.
    pub index: u64,
    /// Indices of the windows whose first scored prediction lies in it: what they score ends in it or up to a stride behind.
    pub windows: Range<u64>,
    /// First prediction of the sequences learned from.
    pub start: u64,
    /// Sequences learned from, of a window's length each: those that the chunk holds in full, and of the last chunk none.
    pub sequences: u64,
    /// Predictions in a sequence.
    pub seq_len: u64,
}

/// All chunks of an evaluation, in closed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    plan: WindowPlan,
    chunk_tokens: u64,
}

impl Chunks {
    /// Chunks of so many predictions, 1 or more.
    pub fn new(plan: WindowPlan, chunk_tokens: u64) -> Self {
        Chunks { plan, chunk_tokens: chunk_tokens.max(1) }
    }

    /// The windows that are scored.
    pub fn plan(&self) -> &WindowPlan {
        &self.plan
    }

    /// Number of chunks, the last of which may be shorter.
    pub fn count(&self) -> u64 {
        self.plan.predictions().div_ceil(self.chunk_tokens)
    }

    /// The chunk of that index; `None` past the last.
    pub fn chunk(&self, index: u64) -> Option<Chunk> {
        let count = self.count();
        if index >= count {
            return None;
        }
        let (start, seq_len) = (index * self.chunk_tokens, self.plan.seq_len());
        let length = self.chunk_tokens.min(self.plan.predictions() - start);
        let sequences = if index + 1 < count { length / seq_len } else { 0 };
        let windows = self.first_window(index)..self.first_window(index + 1);
        Some(Chunk { index, windows, start, sequences, seq_len })
    }

    /// What a chunk's windows score; `None` where it has none.
    pub fn scored(&self, chunk: &Chunk) -> Option<TokenRange> {
        let first = self.plan.window(chunk.windows.start).filter(|_| !chunk.windows.is_empty())?;
        let last = self.plan.window(chunk.windows.end - 1)?;
        Some(TokenRange { first: first.first_scored + 1, last: last.end })
    }

    /// Whether the windows of each chunk and those before it score all that is learned from after them.
    ///
    /// They do, save where a rule runs no window over the end of the text ([`TailRule::RescoredByStride`] with a stride
    /// above half a window).
    ///
    /// [`TailRule::RescoredByStride`]: crate::eval::TailRule::RescoredByStride
    pub fn check_order(&self) -> Result<(), OrderError> {
        let mut ledger = Ledger::default();
        for chunk in (0..self.count()).filter_map(|index| self.chunk(index)) {
            let Some(scored) = self.scored(&chunk) else { continue };
            ledger.scored(scored)?;
            chunk.learned().map_or(Ok(()), |targets| ledger.learned(targets))?;
        }
        Ok(())
    }

    /// The multiplier of the learning rate after a chunk: half a cosine, from 1 after the first to 0 after the last.
    pub fn rate(&self, index: u64) -> f64 {
        let last = self.count().saturating_sub(1).max(1);
        // libm, because the platform's `cos` may differ in the last bit.
        (1.0 + libm::cos(std::f64::consts::PI * index as f64 / last as f64)) / 2.0
    }

    /// The first window of that chunk or a later one: first scored predictions never go back from window to window.
    fn first_window(&self, chunk: u64) -> u64 {
        let (mut low, mut high) = (0, self.plan.windows());
        while low < high {
            let middle = low + (high - low) / 2;
            let first = self.plan.window(middle).map_or(u64::MAX, |window| window.first_scored);
            match (first / self.chunk_tokens).min(self.count() - 1) < chunk {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }
}

impl Chunk {
    /// Targets learned from; `None` where there are none.
    pub fn learned(&self) -> Option<TokenRange> {
        let last = self.start + self.sequences * self.seq_len;
        (self.sequences > 0).then_some(TokenRange { first: self.start + 1, last })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::eval::TailRule;

    #[test]
    fn a_window_belongs_where_its_first_scored_prediction_lies() {
        // 100 predictions in windows of 16 every 4: the first scores 16, each later one the 4 from 16, 20, 24 on.
        let chunks = Chunks::new(WindowPlan::sliding(101, 16, 4).unwrap(), 30);
        assert_eq!(chunks.count(), 4);
        let found: Vec<_> = (0..5).filter_map(|index| chunks.chunk(index)).collect();
        // The window that scores 28 to 31 begins in the first chunk; of 30 predictions one sequence of 16 is learned from.
        assert_eq!(chunks.scored(&found[0]), Some(TokenRange { first: 1, last: 32 }));
        assert_eq!(found[0].learned(), Some(TokenRange { first: 1, last: 16 }));
        assert_eq!(chunks.scored(&found[1]), Some(TokenRange { first: 33, last: 60 }));
        assert_eq!(found[1].learned(), Some(TokenRange { first: 31, last: 46 }));
        assert_eq!((found[3].learned(), found.len()), (None, 4));
        // Windows longer than chunks leave some without one.
        let chunks = Chunks::new(WindowPlan::sliding(101, 32, 4).unwrap(), 16);
        assert_eq!(chunks.chunk(1).map(|chunk| chunks.scored(&chunk)), Some(None));
    }

    #[test]
    fn the_rate_falls_along_half_a_cosine() {
        let chunks = Chunks::new(WindowPlan::sliding(51, 10, 5).unwrap(), 10);
        let rates: Vec<f64> = (0..5).map(|index| chunks.rate(index)).collect();
        let eighth = std::f64::consts::FRAC_1_SQRT_2;
        for (rate, expected) in rates.iter().zip([1.0, (1.0 + eighth) / 2.0, 0.5, (1.0 - eighth) / 2.0, 0.0]) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
        assert_eq!(Chunks::new(WindowPlan::sliding(5, 10, 5).unwrap(), 10).rate(0), 1.0);
    }

    proptest! {
        #[test]
        fn every_window_is_in_one_chunk_and_nothing_is_learned_too_early(
            tokens in 2u64..300,
            seq_len in 1u64..40,
            stride in 1u64..40,
            chunk_tokens in 1u64..80,
            rule in prop_oneof![Just(TailRule::Once), Just(TailRule::Rescored), Just(TailRule::RescoredByStride)],
        ) {
            prop_assume!(stride <= seq_len);
            let chunks = Chunks::new(WindowPlan::sliding(tokens, seq_len, stride).unwrap().with_tail(rule), chunk_tokens);
            let mut next = 0;
            for chunk in (0..chunks.count()).filter_map(|index| chunks.chunk(index)) {
                prop_assert_eq!(chunk.windows.start, next);
                next = chunk.windows.end;
                for window in chunks.plan().iter(chunk.windows.clone()) {
                    let by_definition = (window.first_scored / chunk_tokens).min(chunks.count() - 1);
                    prop_assert_eq!(by_definition, chunk.index);
                }
            }
            let plan = chunks.plan();
            prop_assert_eq!(next, plan.windows());
            let reaches_the_end = plan.window(plan.windows() - 1).is_some_and(|last| last.end == plan.predictions());
            prop_assert!(chunks.check_order().is_ok() || !reaches_the_end);
            prop_assert!(reaches_the_end || rule == TailRule::RescoredByStride);
        }
    }

    #[test]
    fn what_no_window_scores_is_not_learned_from() {
        // 67 predictions: windows of 33 begin at 0 and 23; the one at 46 would be shorter than a stride.
        let plan = WindowPlan::sliding(68, 33, 23).unwrap().with_tail(TailRule::RescoredByStride);
        let (learned, scored_to) = (TokenRange { first: 34, last: 66 }, 56);
        assert_eq!(Chunks::new(plan, 33).check_order(), Err(OrderError::NotScored { learned, scored_to }));
    }
}
