//! Exponential moving average of the weights (PR 287).

use rayon::prelude::*;

use crate::model::Params;

/// Moves an average by one step: `average = decay * average + (1 - decay) * weights`, tensor by tensor in the same order.
///
/// The product is rounded and the addition fused, as PyTorch's `mul_(decay).add_(weights, alpha=1 - decay)`. There is no bias
/// correction: an average starts as the weights themselves.
pub fn move_average(average: &mut Params, weights: &Params, decay: f64) {
    let (keep, take) = (decay as f32, (1.0 - decay) as f32);
    let mut pairs: Vec<_> = average.iter_mut().zip(weights.iter()).collect();
    pairs.par_iter_mut().for_each(|((_, average), (_, weights))| {
        for (average, &weight) in average.data_mut().iter_mut().zip(weights.data()) {
            *average = weight.mul_add(take, *average * keep);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HostTensor;

    #[test]
    fn a_constant_is_approached_geometrically() {
        let of = |value| Params::from_entries(vec![("w".into(), HostTensor::full(&[3], value))]);
        let mut average = of(0.0);
        (0..20).for_each(|_| move_average(&mut average, &of(1.0), 0.9));
        let expected = 1.0 - 0.9f64.powi(20);
        assert!(average.get("w").unwrap().data().iter().all(|&value| (f64::from(value) - expected).abs() < 1e-6));
    }
}
