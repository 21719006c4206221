//! SGD with momentum as PyTorch computes it, without decay, dampening or Nesterov's step.

use rayon::prelude::*;

use crate::model::{HostTensor, Params};

/// A momentum buffer for every parameter that learns; there is none before the first step.
#[derive(Clone, Debug)]
pub struct Sgd {
    momentum: f64,
    buffers: Option<Params>,
}

impl Sgd {
    /// An optimizer that has taken no step.
    pub fn new(momentum: f64) -> Self {
        Sgd { momentum, buffers: None }
    }

    /// `b = momentum b + g`, of the first step `b = g`; then `w -= learning_rate b`.
    ///
    /// `gradients` are those of the same parameters at every step, in the order of the weights; the other weights stay.
    /// Parameters are independent of one another: the number of threads changes no bit.
    pub fn step(&mut self, weights: &mut Params, gradients: Params, learning_rate: f64) {
        let (momentum, rate) = (self.momentum as f32, learning_rate as f32);
        let buffers = match &mut self.buffers {
            None => self.buffers.insert(gradients),
            Some(buffers) => {
                let mut pairs: Vec<_> = buffers.iter_mut().zip(gradients.iter()).collect();
                pairs.par_iter_mut().for_each(|((_, buffer), (_, gradient))| {
                    for (buffer, &gradient) in buffer.data_mut().iter_mut().zip(gradient.data()) {
                        *buffer = momentum * *buffer + gradient;
                    }
                });
                buffers
            }
        };
        let mut buffers = buffers.iter().peekable();
        let own =
            |(name, weight): (&str, _)| buffers.next_if(|(of, _)| *of == name).map(|(_, buffer)| (weight, buffer));
        let mut moved: Vec<(&mut HostTensor, &HostTensor)> = weights.iter_mut().filter_map(own).collect();
        moved.par_iter_mut().for_each(|(weight, buffer)| {
            for (weight, &buffer) in weight.data_mut().iter_mut().zip(buffer.data()) {
                *weight -= rate * buffer;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(values: &[(&str, f32)]) -> Params {
        Params::from_entries(values.iter().map(|&(name, value)| (name.into(), HostTensor::full(&[2], value))).collect())
    }

    #[test]
    fn a_constant_gradient_moves_a_weight_by_a_geometric_sum() {
        // After n steps b = (1 - m^n) / (1 - m) g, and w has moved by the sum of all b.
        let (momentum, rate, gradient) = (0.5, 0.25, 2.0);
        let mut weights = params(&[("a", 1.0), ("still", 3.0), ("z", 1.0)]);
        let mut sgd = Sgd::new(momentum);
        (0..4).for_each(|_| sgd.step(&mut weights, params(&[("a", gradient), ("z", -gradient)]), rate));
        let buffers = (1..=4).map(|n| (1.0 - momentum.powi(n)) / (1.0 - momentum));
        let moved = (rate * f64::from(gradient) * buffers.sum::<f64>()) as f32;
        assert_eq!(weights, params(&[("a", 1.0 - moved), ("still", 3.0), ("z", 1.0 + moved)]));
    }
}
