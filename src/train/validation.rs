//! Validation during training: non-overlapping windows over the whole validation split, before quantization.

use super::{TrainError, Validation};
use crate::collective::Collective;
use crate::data::Dataset;
use crate::engine::Engine;
use crate::eval::{Score, ScoreError, ScoringData, WindowPlan, non_overlapping_part};
use crate::interrupt::Interrupt;
use crate::manifest::Manifest;
use crate::model::{ModelConfig, Params};
use crate::progress::Progress;

/// The validation tokens and the bytes they stand for.
pub(super) struct ValidationSplit {
    data: ScoringData,
    model: ModelConfig,
    seq_len: u64,
}

impl ValidationSplit {
    /// Reads the validation shards and the tokenizer. Windows are as long as training sequences, as in the script.
    pub(super) fn open(data: &Dataset, manifest: &Manifest) -> Result<Self, TrainError> {
        let data = ScoringData::open::<TrainError>(data, manifest)?;
        let tokens = &data.tokens;
        let seq_len = manifest.schedule.train_seq_len;
        let plan = WindowPlan::non_overlapping(tokens.len() as u64, seq_len).map_err(ScoreError::from)?;
        // Found now rather than at the end of an hour of training.
        if plan.windows() == 0 {
            return Err(TrainError::ShortValidation { tokens: tokens.len(), seq_len });
        }
        if data.bytes().of_all(tokens, 1..plan.scored() as usize + 1) == 0 {
            return Err(TrainError::NoValidationText { tokens: tokens.len() });
        }
        let model = manifest.model.clone().in_rows_of(seq_len as usize);
        Ok(ValidationSplit { data, model, seq_len })
    }

    /// Tokens of the split, scored or not.
    pub(super) fn tokens(&self) -> usize {
        self.data.tokens.len()
    }

    /// Scores weights in a phase of the network's recurrence; `None` when interrupted on any rank. Each rank scores its
    /// part of the windows, and the exact sums of the parts are the sum of the whole.
    pub(super) fn score(
        &self,
        engine: &dyn Engine,
        weights: &Params,
        phase: usize,
        interrupt: &Interrupt,
        ranks: &dyn Collective,
    ) -> Result<Option<Validation>, TrainError> {
        let scorer = engine.scorer(&self.model.clone().in_phase(phase), weights)?;
        let progress = Progress::hidden();
        let evaluation = self.data.evaluation(&*scorer, &progress, interrupt);
        let rank = ranks.rank();
        let part = non_overlapping_part(&evaluation, self.seq_len, rank.index() as u64 + 1, rank.world_size() as u64);
        let part = match part {
            Err(ScoreError::Interrupted(_)) => None,
            Err(error) => return Err(error.into()),
            Ok(score) => Some(score),
        };
        // Plain numbers always have a JSON form.
        let messages = ranks.all_gather(&serde_json::to_vec(&part).unwrap_or_default())?;
        let mut score = Score::default();
        for message in &messages {
            match serde_json::from_slice::<Option<Score>>(message) {
                Ok(Some(part)) => score.merge(&part),
                _ => return Ok(None),
            }
        }
        // `open` made sure that there are tokens and bytes to divide by.
        Ok(score.val_loss().zip(score.val_bpb()).map(|(loss, bpb)| Validation { loss, bpb }))
    }
}
