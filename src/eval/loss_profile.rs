//! Where the loss of a model lies: by the place in a window, and by document.
//!
//! For pictures: sums are plain f64 in corpus order, the same for any number of threads or batches, and no published
//! number is made of them.

use super::WindowPlan;
use crate::data::{BEGIN_ID, TargetBytes};

/// Losses of predictions that share something.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossSum {
    /// Sum, nats.
    pub nats: f64,
    /// Predictions.
    pub tokens: u64,
}

impl LossSum {
    /// Nats per token; of nothing none.
    pub fn mean(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.nats / self.tokens as f64)
    }

    fn add(&mut self, nats: f32) {
        self.nats += f64::from(nats);
        self.tokens += 1;
    }
}

/// A document of the split, as far as it was scored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DocumentLoss {
    /// Index of its first token in the split: its begin mark, save where the split begins without one.
    pub first_token: u64,
    /// Losses of its tokens; that of the begin mark counts for the document it begins.
    pub loss: LossSum,
    /// Bytes of text that these tokens stand for.
    pub bytes: u64,
}

impl DocumentLoss {
    /// Bits per byte; of no text none.
    pub fn bits_per_byte(&self) -> Option<f64> {
        (self.bytes > 0).then(|| self.loss.nats / (std::f64::consts::LN_2 * self.bytes as f64))
    }
}

/// Losses of one pass over a split.
#[derive(Clone, Debug, PartialEq)]
pub struct LossProfile {
    plan: WindowPlan,
    next_window: u64,
    document: Option<DocumentLoss>,
    /// By the prediction's place in its window, from 0.
    pub places: Vec<LossSum>,
    /// In the order of the split.
    pub documents: Vec<DocumentLoss>,
    /// All together.
    pub total: LossSum,
}

impl LossProfile {
    /// A profile of the windows of a plan from `first_window` on.
    pub fn new(plan: WindowPlan, first_window: u64) -> Self {
        let places = Vec::new();
        LossProfile {
            plan,
            next_window: first_window,
            document: None,
            places,
            documents: Vec::new(),
            total: LossSum::default(),
        }
    }

    /// The plan whose windows it is of.
    pub fn plan(&self) -> &WindowPlan {
        &self.plan
    }

    /// Adds the losses that the next window scored, all of them. `tokens` is the split of the plan.
    pub fn add<'a>(&mut self, nll: &[f32], tokens: &[u16], bytes: impl Into<TargetBytes<'a>>) {
        let bytes = bytes.into();
        let Some(span) = self.plan.window(self.next_window) else { return };
        self.next_window += 1;
        for (prediction, &nats) in span.scored().zip(nll) {
            let place = (prediction - span.start) as usize;
            if self.places.len() <= place {
                self.places.resize(place + 1, LossSum::default());
            }
            self.places[place].add(nats);
            self.total.add(nats);
            let target = prediction as usize + 1;
            let Some(&token) = tokens.get(target) else { continue };
            if token == BEGIN_ID {
                self.documents.extend(self.document.take());
            }
            let first_token = if token == BEGIN_ID || target > 1 { target as u64 } else { 0 };
            let document = self.document.get_or_insert(DocumentLoss { first_token, ..DocumentLoss::default() });
            document.loss.add(nats);
            document.bytes += bytes.of(tokens, target);
        }
    }

    /// The profile once every window was added.
    pub fn finish(mut self) -> Self {
        self.documents.extend(self.document.take());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ByteTable, TokenBytes};

    /// A token a byte, save the begin mark.
    fn table() -> ByteTable {
        let piece = TokenBytes { base_bytes: 1, leading_marker: false, boundary: false };
        ByteTable::new((0..8).map(|id| if id == BEGIN_ID { TokenBytes::BOUNDARY } else { piece }).collect())
    }

    #[test]
    fn losses_are_added_by_place_and_by_document() {
        // Two documents of three tokens; predictions 0 to 6, of tokens 1 to 7.
        let tokens = [1, 5, 5, 5, 1, 6, 6, 6];
        let plan = WindowPlan::sliding(8, 4, 2).unwrap();
        let mut profile = LossProfile::new(plan, 0);
        // Windows score 0..4, 4..6 and 6..7; the loss of prediction i is i.
        for losses in [&[0.0, 1.0, 2.0, 3.0][..], &[4.0, 5.0], &[6.0]] {
            profile.add(losses, &tokens, &table());
        }
        let profile = profile.finish();
        let sum = |nats, tokens| LossSum { nats, tokens };
        // The second window starts at prediction 2, the third at 4.
        assert_eq!(profile.places, [sum(0.0, 1), sum(1.0, 1), sum(2.0 + 4.0 + 6.0, 3), sum(3.0 + 5.0, 2)]);
        assert_eq!(
            profile.documents,
            [
                DocumentLoss { first_token: 0, loss: sum(3.0, 3), bytes: 3 },
                // The begin mark's loss is the second document's, and stands for no byte.
                DocumentLoss { first_token: 4, loss: sum(18.0, 4), bytes: 3 },
            ]
        );
        assert_eq!(profile.total, sum(21.0, 7));
        let bits = profile.documents[1].bits_per_byte().unwrap();
        assert!((bits - 6.0 / std::f64::consts::LN_2).abs() < 1e-12);
    }

    #[test]
    fn a_part_begins_where_its_first_window_does() {
        let tokens = [1, 5, 5, 5, 5, 5, 5, 5, 5];
        let mut profile = LossProfile::new(WindowPlan::non_overlapping(9, 4).unwrap(), 1);
        profile.add(&[1.0; 4], &tokens, &table());
        let profile = profile.finish();
        assert_eq!((profile.documents.len(), profile.documents[0].first_token), (1, 5));
        assert_eq!(profile.places.len(), 4);
    }
}
