//! Gradient clipping by one global norm.

use rayon::prelude::*;

use crate::model::Params;

/// Added to the norm before dividing by it, as `torch.nn.utils.clip_grad_norm_` does.
const NORM_EPS: f64 = 1e-6;

/// L2 norm over all gradients together.
///
/// Each tensor is summed in double precision in memory order, then the tensors in state-dict order: the
/// thread count changes nothing.
pub fn global_norm(gradients: &Params) -> f64 {
    let tensors: Vec<&[f32]> = gradients.iter().map(|(_, tensor)| tensor.data()).collect();
    let squares: Vec<f64> = tensors
        .par_iter()
        .map(|values| values.iter().map(|&value| f64::from(value) * f64::from(value)).sum())
        .collect();
    squares.iter().sum::<f64>().sqrt()
}

/// Scales all gradients by `min(1, max_norm / (norm + 1e-6))` and returns the norm before.
///
/// `max_norm` 0 turns clipping off.
pub fn clip_global_norm(gradients: &mut Params, max_norm: f64) -> f64 {
    let norm = global_norm(gradients);
    let factor = (max_norm / (norm + NORM_EPS)) as f32;
    if max_norm > 0.0 && factor < 1.0 {
        let mut tensors: Vec<&mut [f32]> = gradients.iter_mut().map(|(_, tensor)| tensor.data_mut()).collect();
        tensors.par_iter_mut().for_each(|values| values.iter_mut().for_each(|value| *value *= factor));
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HostTensor;

    fn gradients(values: &[&[f32]]) -> Params {
        let tensor = |values: &&[f32]| HostTensor::new(vec![values.len()], values.to_vec()).unwrap();
        Params::from_entries(values.iter().enumerate().map(|(i, v)| (format!("g{i}"), tensor(v))).collect())
    }

    #[test]
    fn the_norm_spans_all_tensors_and_only_long_gradients_shrink() {
        let mut long = gradients(&[&[3.0], &[0.0, 4.0]]);
        assert_eq!(clip_global_norm(&mut long, 1.0), 5.0);
        assert!((global_norm(&long) - 1.0).abs() < 1e-6);

        let short = gradients(&[&[0.03], &[0.04]]);
        let mut clipped = short.clone();
        clip_global_norm(&mut clipped, 1.0);
        assert_eq!(clipped, short);

        let mut free = gradients(&[&[3.0], &[4.0]]);
        clip_global_norm(&mut free, 0.0);
        assert_eq!(free, gradients(&[&[3.0], &[4.0]]));
    }
}
