//! Which tokens are scored with how much context: sliding and plain windows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One window over the predictions 0..M of a token stream (prediction i is token i+1 given what precedes it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First prediction the window runs over.
    pub start: usize,
    /// Predictions it runs over; its tokens are `start..=start + len`.
    pub len: usize,
    /// First prediction whose likelihood counts; from here to the end of the window all count.
    pub first_scored: usize,
}

impl Span {
    /// One past the last prediction.
    pub fn end(&self) -> usize {
        self.start + self.len
    }

    /// Predictions that count.
    pub fn scored(&self) -> usize {
        self.end() - self.first_scored
    }
}

/// How windows are laid over the predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowKind {
    /// A window every `stride` predictions, each scoring what the earlier ones did not: every prediction counts once.
    Sliding,
    /// Windows side by side, all of each scored; a tail shorter than a window is dropped.
    Plain,
}

impl std::fmt::Display for WindowKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            WindowKind::Sliding => "sliding",
            WindowKind::Plain => "plain",
        })
    }
}

/// All windows of an evaluation, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowPlan {
    /// How windows are laid.
    pub kind: WindowKind,
    /// Longest window, in predictions (T).
    pub seq_len: usize,
    /// Distance between window starts: T for plain windows.
    pub stride: usize,
    /// Predictions in the stream (M): its tokens less one.
    pub predictions: usize,
}

/// A window geometry that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("windows of {seq_len} with stride {stride} are impossible: the stride must be in 1..=window length")]
pub struct GeometryError {
    seq_len: usize,
    stride: usize,
}

impl WindowPlan {
    /// Sliding windows of at most `seq_len` predictions every `stride`, tail included (PR #286's `eval_val_sliding`).
    pub fn sliding(tokens: usize, seq_len: usize, stride: usize) -> Result<Self, GeometryError> {
        if stride == 0 || stride > seq_len {
            return Err(GeometryError { seq_len, stride });
        }
        Ok(WindowPlan { kind: WindowKind::Sliding, seq_len, stride, predictions: tokens.saturating_sub(1) })
    }

    /// Plain windows of `seq_len` predictions (the challenge's `eval_val`).
    pub fn plain(tokens: usize, seq_len: usize) -> Result<Self, GeometryError> {
        let plan = Self::sliding(tokens, seq_len, seq_len)?;
        Ok(WindowPlan { kind: WindowKind::Plain, ..plan })
    }

    /// Number of windows, in closed form.
    pub fn count(&self) -> usize {
        match self.kind {
            WindowKind::Plain => self.predictions / self.seq_len,
            WindowKind::Sliding if self.predictions == 0 => 0,
            // One full (or only) window, then one more for each stride begun beyond it.
            WindowKind::Sliding => 1 + self.predictions.saturating_sub(self.seq_len).div_ceil(self.stride),
        }
    }

    /// Predictions that count, over all windows.
    pub fn scored(&self) -> usize {
        match self.kind {
            WindowKind::Plain => self.count() * self.seq_len,
            WindowKind::Sliding => self.predictions,
        }
    }

    /// The window of an index below [`Self::count`].
    pub fn window(&self, index: usize) -> Span {
        let start = index * self.stride;
        let end = (start + self.seq_len).min(self.predictions);
        let first_scored = match (self.kind, index) {
            (WindowKind::Plain, _) | (_, 0) => start,
            (WindowKind::Sliding, _) => start + self.seq_len - self.stride,
        };
        Span { start, len: end - start, first_scored }
    }

    /// The windows of a range of indices, in order.
    pub fn windows(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = Span> + '_ {
        range.map(|index| self.window(index))
    }

    /// How often each prediction is scored: an independent count, by walking every window.
    pub fn coverage(&self) -> Vec<u32> {
        let mut counts = vec![0; self.predictions];
        for span in self.windows(0..self.count()) {
            counts[span.first_scored..span.end()].iter_mut().for_each(|count| *count += 1);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The specification's own loop, word for word: start at 0, stride, 2 stride ... below M; keep windows that score something.
    fn by_the_book(predictions: usize, seq_len: usize, stride: usize) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut start = 0;
        while start < predictions {
            let end = (start + seq_len).min(predictions);
            let first_scored = if start == 0 { 0 } else { (start + seq_len - stride).min(predictions) };
            if first_scored < end {
                spans.push(Span { start, len: end - start, first_scored });
            }
            start += stride;
        }
        spans
    }

    proptest! {
        #[test]
        fn sliding_windows_are_those_of_the_specification(predictions in 0usize..400, seq_len in 1usize..70, part in 1usize..70) {
            let stride = 1 + part % seq_len;
            let plan = WindowPlan::sliding(predictions + 1, seq_len, stride).unwrap();
            let spans: Vec<Span> = plan.windows(0..plan.count()).collect();
            prop_assert_eq!(&spans, &by_the_book(predictions, seq_len, stride));
            prop_assert!(plan.coverage().iter().all(|&count| count == 1));
            prop_assert_eq!(plan.scored(), predictions);
        }

        #[test]
        fn plain_windows_drop_the_tail_only(predictions in 0usize..400, seq_len in 1usize..70) {
            let plan = WindowPlan::plain(predictions + 1, seq_len).unwrap();
            let kept = predictions / seq_len * seq_len;
            let coverage = plan.coverage();
            prop_assert!(coverage[..kept].iter().all(|&count| count == 1));
            prop_assert!(coverage[kept..].iter().all(|&count| count == 0));
            prop_assert_eq!(plan.scored(), kept);
        }
    }

    #[test]
    fn the_validation_split_at_stride_64() {
        // 62,021,845 predictions: 1 + ceil((62,021,845 - 2,048) / 64).
        let plan = WindowPlan::sliding(62_021_846, 2048, 64).unwrap();
        assert_eq!(plan.count(), 969_061);
        assert!(WindowPlan::sliding(10, 4, 0).is_err());
        assert!(WindowPlan::sliding(10, 4, 5).is_err());
        assert_eq!(WindowPlan::sliding(0, 4, 4).unwrap().count(), 0);
    }
}
