//! AdamW as PyTorch computes it: bias correction, eps outside the root, decoupled decay.
//!
//! Loshchilov and Hutter 2019; model specification of PR #286, section 4.

use crate::manifest::AdamConfig;

/// What an AdamW step needs besides the tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate, schedule applied.
    pub learning_rate: f64,
    /// Decoupled weight decay; 0 makes it Adam.
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Number of this step, from 1.
    pub count: u64,
}

/// Factors of a step in single precision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamScalars {
    /// Of the weight: its decay.
    pub keep: f32,
    /// Of the first moment: the rate, its bias corrected.
    pub step_size: f32,
    /// Of the gradient in the first moment.
    pub mix1: f32,
    /// Of the second moment.
    pub beta2: f32,
    /// Of the gradient's square in the second moment.
    pub mix2: f32,
    /// Divides the root of the second moment: its bias.
    pub second_root: f32,
    /// Added to that.
    pub eps: f32,
}

impl AdamStep {
    /// The settings of a recipe at step `count` (from 1).
    pub fn new(config: &AdamConfig, learning_rate: f64, weight_decay: f64, count: u64) -> Self {
        AdamStep { learning_rate, weight_decay, beta1: config.beta1, beta2: config.beta2, eps: config.eps, count }
    }

    /// What the tensors are multiplied by: computed in double precision, as PyTorch does, then rounded.
    pub(crate) fn scalars(&self) -> AdamScalars {
        // libm, because the platform's `pow` may differ in the last bit.
        let count = self.count as f64;
        AdamScalars {
            keep: (1.0 - self.learning_rate * self.weight_decay) as f32,
            step_size: (self.learning_rate / (1.0 - libm::pow(self.beta1, count))) as f32,
            mix1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            mix2: (1.0 - self.beta2) as f32,
            second_root: libm::sqrt(1.0 - libm::pow(self.beta2, count)) as f32,
            eps: self.eps as f32,
        }
    }

    /// Updates a tensor and its two moments in place. Without a gradient nothing happens, as in PyTorch.
    pub fn apply(&self, weight: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: Option<&[f32]>) {
        let Some(gradient) = gradient else { return };
        let AdamScalars { keep, step_size, mix1, beta2, mix2, second_root, eps } = self.scalars();
        let moments = first.iter_mut().zip(second.iter_mut());
        for ((weight, (first, second)), &gradient) in weight.iter_mut().zip(moments).zip(gradient) {
            *first += mix1 * (gradient - *first);
            *second = *second * beta2 + mix2 * gradient * gradient;
            *weight = *weight * keep - step_size * *first / (second.sqrt() / second_root + eps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_moves_by_the_learning_rate_whatever_the_gradient() {
        // With bias correction m/sqrt(v) = g/|g| at step 1.
        for gradient in [1e-3f32, -5.0, 4e4] {
            let step = AdamStep::new(&AdamConfig::default(), 0.01, 0.0, 1);
            let (mut weight, mut first, mut second) = ([2.0f32], [0.0], [0.0]);
            step.apply(&mut weight, &mut first, &mut second, Some(&[gradient]));
            let moved = f64::from(weight[0]) - 2.0;
            assert!((moved + 0.01 * f64::from(gradient.signum())).abs() < 1e-6, "{gradient}: {moved}");
        }
    }

    #[test]
    fn without_a_gradient_not_even_decay_is_applied() {
        let step = AdamStep::new(&AdamConfig::default(), 0.1, 0.5, 3);
        let mut weight = [2.0f32];
        step.apply(&mut weight, &mut [0.0], &mut [0.0], None);
        assert_eq!(weight, [2.0]);
    }
}
