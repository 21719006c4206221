//! Magnitude pruning before quantization: the smallest weights become zero, which compresses better.
//!
//! The convention is the one of PR #180, where PR #286's switch comes from: every matrix with more than
//! `passthrough_max_elements` elements is pruned by itself; the threshold is the quantile of |w| at the given
//! fraction with linear interpolation; weights strictly below it become zero. Gains, gates and small
//! tensors are left alone.

use crate::manifest::QuantizationConfig;
use crate::model::HostTensor;
use crate::quant::quantile_of_sorted;

/// Sets the smallest `config.prune_fraction` of a matrix to zero; returns how many weights became zero.
///
/// Values must be finite.
pub fn prune(tensor: &mut HostTensor, config: &QuantizationConfig) -> usize {
    let is_pruned = tensor.matrix_sides().is_some() && tensor.len() as u64 > config.passthrough_max_elements;
    if config.prune_fraction <= 0.0 || !is_pruned {
        return 0;
    }
    let mut magnitudes: Vec<f32> = tensor.data().iter().map(|value| value.abs()).collect();
    magnitudes.sort_unstable_by(f32::total_cmp);
    let threshold = quantile_of_sorted(&magnitudes, config.prune_fraction as f32);
    let mut zeroed = 0;
    for value in tensor.data_mut().iter_mut().filter(|value| value.abs() < threshold) {
        zeroed += usize::from(*value != 0.0);
        *value = 0.0;
    }
    zeroed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(prune_fraction: f64) -> QuantizationConfig {
        QuantizationConfig { prune_fraction, passthrough_max_elements: 4, ..Default::default() }
    }

    #[test]
    fn smallest_magnitudes_become_zero() {
        let values = vec![0.4, -0.1, 0.2, -0.5, 0.3, 0.6];
        let mut matrix = HostTensor::new(vec![2, 3], values.clone()).unwrap();
        // Quantile 0.4 of {.1 .2 .3 .4 .5 .6}: rank 2, which is 0.3; strictly below are 0.1 and 0.2.
        assert_eq!(prune(&mut matrix, &config(0.4)), 2);
        assert_eq!(matrix.data(), [0.4, 0.0, 0.0, -0.5, 0.3, 0.6]);

        for (shape, fraction) in [(vec![2, 3], 0.0), (vec![6], 0.4)] {
            let mut kept = HostTensor::new(shape, values.clone()).unwrap();
            assert_eq!(prune(&mut kept, &config(fraction)), 0);
            assert_eq!(kept.data(), values);
        }
        let mut small = HostTensor::new(vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(prune(&mut small, &config(0.9)), 0);
    }
}
