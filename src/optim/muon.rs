//! Muon: Nesterov momentum, orthogonalized, with decoupled weight decay.
//!
//! Model specification of PR #286, section 4; Keller Jordan's Muon.

use super::newton_schulz::{Rounding, orthogonalize};
use crate::manifest::{MuonConfig, OrthogonalizerPrecision};

/// What a Muon step needs besides the tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuonStep {
    /// Learning rate, schedule applied.
    pub learning_rate: f64,
    /// Momentum of this step.
    pub momentum: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Newton-Schulz iterations.
    pub newton_schulz_steps: u32,
    /// Precision of the orthogonalizer.
    pub precision: OrthogonalizerPrecision,
    /// Whether the rows of the direction are normalized first.
    pub row_normalize: bool,
}

/// Least norm that a row is divided by (PR 1285).
const LEAST_ROW_NORM: f32 = 1e-7;

impl MuonStep {
    /// The settings of a recipe at one step.
    pub fn new(config: &MuonConfig, learning_rate: f64, momentum: f64) -> Self {
        MuonStep {
            learning_rate,
            momentum,
            weight_decay: config.weight_decay,
            newton_schulz_steps: config.newton_schulz_steps,
            precision: config.precision,
            row_normalize: config.row_normalize,
        }
    }

    /// What the weights are multiplied by: their decay.
    pub(crate) fn keep(&self) -> f32 {
        (1.0 - self.learning_rate * self.weight_decay) as f32
    }

    /// What the finished update is multiplied by before it is added to the weights.
    pub(crate) fn rate(&self) -> f32 {
        -(self.learning_rate as f32)
    }

    /// What the orthogonalized update is multiplied by: the root of rows over columns, where there are more rows.
    pub(crate) fn aspect((rows, columns): (usize, usize)) -> f32 {
        (rows as f64 / columns as f64).max(1.0).sqrt() as f32
    }

    /// Updates a `rows` x `columns` matrix and its momentum buffer in place.
    ///
    /// Without a gradient the update is zero and the buffer stays, but the decay still applies.
    /// In bfloat16 the finished update is rounded once more, as the script's flat update buffer does.
    ///
    /// # Panics
    /// When a slice does not hold `rows * columns` values: a defect of the caller.
    pub fn apply(
        &self,
        weight: &mut [f32],
        buffer: &mut [f32],
        gradient: Option<&[f32]>,
        (rows, columns): (usize, usize),
    ) {
        let update = gradient.map(|gradient| self.update(&self.momentum(buffer, gradient), (rows, columns)));
        self.descend(weight, update.as_deref());
    }

    /// Moves the momentum buffer on and returns the Nesterov direction.
    pub fn momentum(&self, buffer: &mut [f32], gradient: &[f32]) -> Vec<f32> {
        let momentum = self.momentum as f32;
        let mut update = Vec::with_capacity(gradient.len());
        for (buffer, &gradient) in buffer.iter_mut().zip(gradient) {
            *buffer = *buffer * momentum + gradient;
            // PyTorch's `add(buffer, alpha=momentum)` is a fused multiply-add.
            update.push(buffer.mul_add(momentum, gradient));
        }
        update
    }

    /// The finished update of a `rows` x `columns` matrix: orthogonalized, scaled by its aspect, rounded.
    ///
    /// # Panics
    /// When the direction does not hold `rows * columns` values: a defect of the caller.
    pub fn update(&self, direction: &[f32], (rows, columns): (usize, usize)) -> Vec<f32> {
        let normalized = self.row_normalize.then(|| row_normalized(direction, columns));
        let direction = normalized.as_deref().unwrap_or(direction);
        let mut update = orthogonalize(direction, rows, columns, self.newton_schulz_steps, self.precision);
        let rounding = Rounding::new(self.precision);
        let aspect = Self::aspect((rows, columns));
        update.iter_mut().for_each(|update| *update = rounding.round(*update * aspect));
        update
    }

    /// Decays the weights and moves them by a finished update; without one they only decay.
    pub fn descend(&self, weight: &mut [f32], update: Option<&[f32]>) {
        let (keep, rate) = (self.keep(), self.rate());
        let Some(update) = update else {
            weight.iter_mut().for_each(|weight| *weight *= keep);
            return;
        };
        for (weight, &update) in weight.iter_mut().zip(update) {
            *weight = update.mul_add(rate, *weight * keep);
        }
    }
}

/// Each row divided by its norm; rows of zeros stay.
fn row_normalized(matrix: &[f32], columns: usize) -> Vec<f32> {
    let mut rows = matrix.to_vec();
    for row in rows.chunks_mut(columns.max(1)) {
        let norm = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt() as f32;
        row.iter_mut().for_each(|value| *value /= norm.max(LEAST_ROW_NORM));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: MuonStep = MuonStep {
        learning_rate: 0.5,
        momentum: 0.9,
        weight_decay: 0.25,
        newton_schulz_steps: 5,
        precision: OrthogonalizerPrecision::F32,
        row_normalize: false,
    };

    #[test]
    fn normalized_rows_make_the_update_blind_to_their_lengths() {
        let step = MuonStep { row_normalize: true, ..STEP };
        let direction = [3.0, -4.0, 1.0, 0.25, 1.5, 2.0];
        let stretched = [300.0, -400.0, 100.0, 0.025, 0.15, 0.2];
        let (update, other) = (step.update(&direction, (2, 3)), step.update(&stretched, (2, 3)));
        assert!(update.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5), "{update:?} {other:?}");
        assert_ne!(STEP.update(&direction, (2, 3)), STEP.update(&stretched, (2, 3)));
        // A row without a gradient stays without.
        assert_eq!(step.update(&[0.0, 0.0, 3.0, 4.0], (2, 2))[..2], [0.0, 0.0]);
    }

    #[test]
    fn a_missing_gradient_decays_the_weight_and_keeps_the_buffer() {
        let (mut weight, mut buffer) = (vec![8.0, -16.0], vec![3.0, 4.0]);
        STEP.apply(&mut weight, &mut buffer, None, (1, 2));
        assert_eq!((weight, buffer), (vec![7.0, -14.0], vec![3.0, 4.0]));
    }

    #[test]
    fn tall_matrices_take_larger_steps_by_the_root_of_their_aspect() {
        // One column: Newton-Schulz of a unit vector scales it by the same factor whatever its length.
        let step = |rows: usize| {
            let mut gradient = vec![0.0; rows];
            gradient[0] = 1.0;
            let (mut weight, mut buffer) = (vec![0.0; rows], vec![0.0; rows]);
            STEP.apply(&mut weight, &mut buffer, Some(&gradient), (rows, 1));
            weight[0]
        };
        assert!((step(4) / step(1) - 2.0).abs() < 1e-6, "{} {}", step(4), step(1));
    }
}
