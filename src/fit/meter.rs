//! The loss of a setting on the calibration sample.

use super::FitError;
use crate::data::Calibration;
use crate::engine::{Engine, KernelsEngine, Window};
use crate::eval::{ExactSum, WindowPlan};
use crate::interrupt::Interrupt;
use crate::model::{ModelConfig, Params};
use crate::progress::Progress;

/// Windows run between two looks at the interrupt flag. Changes no number.
const BATCH: usize = 16;

/// Measures losses, always over the same windows and with the same engine: differences are paired.
pub(super) struct Meter<'a> {
    pub model: &'a ModelConfig,
    pub calibration: &'a Calibration,
    pub progress: &'a Progress,
    pub interrupt: &'a Interrupt,
}

impl Meter<'_> {
    /// Mean negative log-likelihood over the sample, nats per token: an exact sum, so that neither threads nor batches
    /// change a bit.
    pub fn loss(&self, weights: &Params) -> Result<f64, FitError> {
        let tokens = &self.calibration.tokens;
        let plan = WindowPlan::non_overlapping(tokens.len() as u64, self.calibration.seq_len)?;
        let model = self.model.clone().in_rows_of(self.calibration.seq_len as usize);
        let scorer = KernelsEngine::default().scorer(&model, weights)?;
        let windows: Vec<Window<'_>> = plan
            .iter(0..plan.windows())
            .map(|span| Window { tokens: &tokens[span.tokens()], first_scored: 0 })
            .collect();
        let mut total = ExactSum::default();
        for batch in windows.chunks(BATCH) {
            self.interrupt.check()?;
            for nll in scorer.nll(batch)?.into_iter().flatten() {
                total.add(nll).map_err(|_| FitError::NotFinite { value: nll })?;
            }
        }
        let loss = total.to_f64() / self.calibration.predictions() as f64;
        self.progress.value(loss);
        self.progress.advance(1);
        Ok(loss)
    }
}
