//! Which predictions each window scores (specification, section 9).
//!
//! A split of N tokens holds N - 1 *predictions*: prediction `i` is of token `i + 1` from the tokens up to `i`.
//! A window is a run of consecutive predictions fed to the model at once; it scores a suffix of them, and what it
//! scores follows what the window before it scored. Corpus order and window order are therefore the same. Many scripts
//! score the end of the text several times instead ([`TailRule`]).

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::manifest::{EvalConfig, Tail};

/// How windows follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Windowing {
    /// Overlapping: each window after the first scores its last `stride` predictions, with the rest as context.
    Sliding,
    /// Side by side, every prediction scored; the tail that does not fill a window is dropped.
    #[serde(alias = "plain")]
    NonOverlapping,
}

impl std::fmt::Display for Windowing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Windowing::Sliding => "sliding",
            Windowing::NonOverlapping => "non-overlapping",
        })
    }
}

/// What sliding windows score that the end of the text cuts short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailRule {
    /// What no window before scored, and windows without such predictions are not run.
    Once,
    /// The last `stride` of their own: every start before the end of the text has a window (287 to 1019).
    Rescored,
    /// The same, and windows shorter than a stride are not run, save the first (test-time training of 549).
    RescoredByStride,
}

impl TailRule {
    /// The rule of a manifest, for windows scored while the weights learn or by weights that stay.
    pub fn of(tail: Tail, learns: bool) -> Self {
        match (tail, learns) {
            (Tail::Once, _) => TailRule::Once,
            (Tail::AsScript, false) => TailRule::Rescored,
            (Tail::AsScript, true) => TailRule::RescoredByStride,
        }
    }
}

/// One window in units of predictions of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpan {
    /// First prediction the model runs.
    pub start: u64,
    /// First prediction scored here; those before it are context.
    pub first_scored: u64,
    /// One past the last prediction, run and scored.
    pub end: u64,
}

impl WindowSpan {
    /// Predictions scored by this window.
    pub fn scored(&self) -> Range<u64> {
        self.first_scored..self.end
    }

    /// Positions of its tokens in the split: the inputs and the last target.
    pub fn tokens(&self) -> Range<usize> {
        self.start as usize..self.end as usize + 1
    }
}

/// Window sizes no evaluation can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stride {stride} with windows of {seq_len} predictions: the stride must lie in 1..=window length")]
pub struct PlanError {
    /// Window length asked for.
    pub seq_len: u64,
    /// Stride asked for.
    pub stride: u64,
}

/// All windows of one evaluation, in closed form: any of them is computed on its own, in constant time.
///
/// ```
/// use golf_harness::eval::WindowPlan;
///
/// // 1,000 tokens make 999 predictions; a window of 128 begins every 64 of them.
/// let plan = WindowPlan::sliding(1000, 128, 64)?;
/// assert_eq!((plan.windows(), plan.scored()), (15, 999));
/// // All but the first window score the end of theirs only, so that each prediction counts once.
/// let second = plan.window(1).map(|window| (window.tokens(), window.scored()));
/// assert_eq!(second, Some((64..193, 128..192)));
/// # Ok::<(), golf_harness::eval::PlanError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowPlan {
    windowing: Windowing,
    predictions: u64,
    seq_len: u64,
    stride: u64,
    tail: TailRule,
}

impl WindowPlan {
    /// Windows of one kind over a split of `tokens` tokens; non-overlapping ones have no stride.
    pub fn new(windowing: Windowing, tokens: u64, seq_len: u64, stride: u64) -> Result<Self, PlanError> {
        match windowing {
            Windowing::Sliding => Self::sliding(tokens, seq_len, stride),
            Windowing::NonOverlapping => Self::non_overlapping(tokens, seq_len),
        }
    }

    /// The windows of a manifest over the tokens that it reads, for weights that stay as they are.
    pub fn of(eval: &EvalConfig, windowing: Windowing, tokens: u64) -> Result<Self, PlanError> {
        Ok(Self::new(windowing, tokens, eval.seq_len, eval.stride)?.with_tail(TailRule::of(eval.tail, false)))
    }

    /// The sliding windows of a manifest over the tokens that it reads, for weights that learn while they are scored.
    pub fn learning(eval: &EvalConfig, tokens: u64) -> Result<Self, PlanError> {
        Ok(Self::sliding(tokens, eval.seq_len, eval.stride)?.with_tail(TailRule::of(eval.tail, true)))
    }

    /// Sliding windows of at most `seq_len` predictions over a split of `tokens` tokens.
    pub fn sliding(tokens: u64, seq_len: u64, stride: u64) -> Result<Self, PlanError> {
        if stride == 0 || stride > seq_len {
            return Err(PlanError { seq_len, stride });
        }
        let (windowing, predictions, tail) = (Windowing::Sliding, tokens.saturating_sub(1), TailRule::Once);
        Ok(WindowPlan { windowing, predictions, seq_len, stride, tail })
    }

    /// The same with another rule for the end of the text; non-overlapping windows have none there.
    pub fn with_tail(self, tail: TailRule) -> Self {
        match self.windowing {
            Windowing::Sliding => WindowPlan { tail, ..self },
            Windowing::NonOverlapping => self,
        }
    }

    /// Windows of exactly `seq_len` predictions, side by side.
    pub fn non_overlapping(tokens: u64, seq_len: u64) -> Result<Self, PlanError> {
        let plan = Self::sliding(tokens, seq_len, seq_len)?;
        Ok(WindowPlan { windowing: Windowing::NonOverlapping, ..plan })
    }

    /// How windows follow one another.
    pub fn windowing(&self) -> Windowing {
        self.windowing
    }

    /// Predictions of the whole split, scored or not.
    pub fn predictions(&self) -> u64 {
        self.predictions
    }

    /// Length of a full window.
    pub fn seq_len(&self) -> u64 {
        self.seq_len
    }

    /// Distance between the starts of neighboring windows.
    pub fn stride(&self) -> u64 {
        self.stride
    }

    /// Number of windows.
    pub fn windows(&self) -> u64 {
        match (self.windowing, self.tail) {
            (Windowing::NonOverlapping, _) => self.predictions / self.seq_len,
            (Windowing::Sliding, _) if self.predictions == 0 => 0,
            // The first window takes up to `seq_len` predictions, each later one up to `stride` more.
            (Windowing::Sliding, TailRule::Once) => {
                1 + self.predictions.saturating_sub(self.seq_len).div_ceil(self.stride)
            }
            (Windowing::Sliding, TailRule::Rescored) => self.predictions.div_ceil(self.stride),
            (Windowing::Sliding, TailRule::RescoredByStride) => (self.predictions / self.stride).max(1),
        }
    }

    /// Number of predictions scored, those scored again counted again: all of them, or for non-overlapping windows all
    /// that fill a window.
    pub fn scored(&self) -> u64 {
        self.scored_before(self.windows())
    }

    /// Predictions that the windows before that index score, those scored again counted again.
    pub fn scored_before(&self, index: u64) -> u64 {
        let index = index.min(self.windows());
        let Some(last) = index.checked_sub(1) else { return 0 };
        let reached = last.saturating_mul(self.stride).saturating_add(self.seq_len).min(self.predictions);
        match self.tail {
            TailRule::Once => reached,
            // Each window but the first scores its own stride, or what of a stride is left at its start.
            TailRule::Rescored | TailRule::RescoredByStride => {
                let strides = index.saturating_mul(self.stride).min(self.predictions);
                self.seq_len.min(self.predictions).saturating_add(strides - self.stride.min(self.predictions))
            }
        }
    }

    /// How often predictions are scored that were scored before.
    pub fn rescored(&self) -> u64 {
        match self.windowing {
            Windowing::Sliding => self.scored() - self.predictions.min(self.scored()),
            Windowing::NonOverlapping => 0,
        }
    }

    /// The window of that index; `None` past the last.
    pub fn window(&self, index: u64) -> Option<WindowSpan> {
        if index >= self.windows() {
            return None;
        }
        let start = index * self.stride;
        let end = start.saturating_add(self.seq_len).min(self.predictions);
        let first_scored = match (index, self.tail) {
            (0, _) => 0,
            (_, TailRule::Once) => start.saturating_add(self.seq_len - self.stride),
            (_, TailRule::Rescored | TailRule::RescoredByStride) => end - self.stride.min(end - start),
        };
        Some(WindowSpan { start, first_scored, end })
    }

    /// Windows of a range of indices, in corpus order.
    pub fn iter(&self, range: Range<u64>) -> impl Iterator<Item = WindowSpan> {
        range.map_while(|index| self.window(index))
    }

    /// Indices of the `index`-th of `parts` contiguous parts, counted from 1. Sizes differ by at most one window.
    ///
    /// `None` unless `1 <= index <= parts`.
    pub fn part(&self, index: u64, parts: u64) -> Option<Range<u64>> {
        if index == 0 || index > parts {
            return None;
        }
        let windows = u128::from(self.windows());
        let cut = |i: u64| (windows * u128::from(i) / u128::from(parts)) as u64;
        Some(cut(index - 1)..cut(index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The challenge's own loop, window by window, as the specification words it.
    fn by_definition(predictions: u64, seq_len: u64, stride: u64) -> Vec<WindowSpan> {
        let mut windows = Vec::new();
        let mut start = 0;
        while start < predictions {
            let end = (start + seq_len).min(predictions);
            let first_scored = if start == 0 { 0 } else { (start + seq_len - stride).min(predictions) };
            if first_scored < end {
                windows.push(WindowSpan { start, first_scored, end });
            }
            start += stride;
        }
        windows
    }

    #[test]
    fn strides_outside_the_window_are_refused() {
        for (seq_len, stride) in [(64, 0), (64, 65), (0, 0), (0, 1)] {
            assert_eq!(WindowPlan::sliding(100, seq_len, stride), Err(PlanError { seq_len, stride }));
        }
        assert!(WindowPlan::non_overlapping(100, 0).is_err());
    }

    #[test]
    fn the_challenges_split_has_969_061_windows() {
        // 62,021,846 tokens; 1 + ceil((62,021,845 - 2,048) / 64).
        let plan = WindowPlan::sliding(62_021_846, 2048, 64).unwrap();
        assert_eq!((plan.windows(), plan.scored()), (969_061, 62_021_845));
        assert_eq!(plan.window(969_060).unwrap().end, 62_021_845);
        assert_eq!(plan.window(969_061), None);
    }

    #[test]
    fn splits_without_predictions_have_no_windows() {
        for tokens in [0, 1] {
            assert_eq!(WindowPlan::sliding(tokens, 8, 2).unwrap().windows(), 0);
            assert_eq!(WindowPlan::non_overlapping(tokens, 8).unwrap().windows(), 0);
        }
    }

    #[test]
    fn parts_are_counted_from_one() {
        let plan = WindowPlan::sliding(100, 8, 4).unwrap();
        assert_eq!(plan.part(0, 3), None);
        assert_eq!(plan.part(4, 3), None);
        assert_eq!(plan.part(1, 1), Some(0..plan.windows()));
        // More parts than windows: some are empty, none overlaps.
        let parts: Vec<_> = (1..=100).map(|i| plan.part(i, 100).unwrap()).collect();
        assert_eq!(parts.iter().map(|part| part.end - part.start).sum::<u64>(), plan.windows());
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    #[test]
    fn the_end_of_the_text_counts_as_often_as_the_scripts_count_it() {
        // 100 predictions, windows of 64 every 16: the windows that the end cuts are of 52, 36, 20 and 4.
        let plan = WindowPlan::sliding(101, 64, 16).unwrap();
        let scored = |rule| -> Vec<(u64, u64)> {
            let plan = plan.with_tail(rule);
            plan.iter(0..u64::MAX).skip(3).map(|window| (window.first_scored, window.end)).collect()
        };
        assert_eq!(scored(TailRule::Once), [(96, 100)]);
        assert_eq!(scored(TailRule::Rescored), [(84, 100), (84, 100), (84, 100), (96, 100)]);
        assert_eq!(scored(TailRule::RescoredByStride), [(84, 100), (84, 100), (84, 100)]);
        let rescored = |rule| plan.with_tail(rule).rescored();
        assert_eq!([TailRule::Once, TailRule::Rescored, TailRule::RescoredByStride].map(rescored), [0, 48, 44]);
        let plain = WindowPlan::non_overlapping(101, 16).unwrap();
        assert_eq!(plain.with_tail(TailRule::Rescored), plain);
    }

    proptest! {
        #[test]
        fn scripts_score_the_last_of_every_window(tokens in 0u64..400, seq_len in 1u64..60, stride in 1u64..60) {
            prop_assume!(stride <= seq_len);
            let predictions = tokens.saturating_sub(1);
            for (rule, least) in [(TailRule::Rescored, 1), (TailRule::RescoredByStride, stride)] {
                let plan = WindowPlan::sliding(tokens, seq_len, stride).unwrap().with_tail(rule);
                let (mut expected, mut before, mut start) = (Vec::new(), 0, 0);
                while start < predictions {
                    let end = (start + seq_len).min(predictions);
                    let length = end - start;
                    if length >= least || start == 0 {
                        prop_assert_eq!(plan.scored_before(expected.len() as u64), before);
                        let scored = if start == 0 { length } else { length.min(stride) };
                        expected.push(WindowSpan { start, first_scored: end - scored, end });
                        before += scored;
                    }
                    start += stride;
                }
                prop_assert_eq!((plan.windows(), plan.scored()), (expected.len() as u64, before));
                prop_assert_eq!(plan.iter(0..u64::MAX).collect::<Vec<_>>(), expected);
            }
        }

        #[test]
        fn closed_forms_agree_with_the_loop(tokens in 0u64..400, seq_len in 1u64..60, stride in 1u64..60) {
            prop_assume!(stride <= seq_len);
            let plan = WindowPlan::sliding(tokens, seq_len, stride).unwrap();
            let expected = by_definition(tokens.saturating_sub(1), seq_len, stride);
            prop_assert_eq!(plan.windows(), expected.len() as u64);
            prop_assert_eq!(plan.iter(0..u64::MAX).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn non_overlapping_windows_are_the_full_ones_of_that_stride(tokens in 0u64..400, seq_len in 1u64..60) {
            let plan = WindowPlan::non_overlapping(tokens, seq_len).unwrap();
            let mut expected = by_definition(tokens.saturating_sub(1), seq_len, seq_len);
            expected.retain(|window| window.end - window.start == seq_len);
            prop_assert_eq!(plan.iter(0..u64::MAX).collect::<Vec<_>>(), expected);
        }
    }
}
