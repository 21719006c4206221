//! Fake quantization: weights rounded to the grid they will be stored on, while still being trained.

use std::borrow::Cow;

use crate::model::{HostTensor, Params, in_block};

/// Largest magnitude of an int6 weight (attention, and the MLP from PR #315 on).
const INT6_LIMIT: f32 = 31.0;
/// Largest magnitude of an int5 weight (the MLP in PR #286).
const INT5_LIMIT: f32 = 15.0;
/// Floor of a row's scale, so that a row of zeros divides by something.
const MIN_SCALE: f32 = 1e-12;

/// Whether linears see fake-quantized weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FakeQuant {
    /// Weights as they are.
    Off,
    /// int6 attention and int5 MLP weights, gradients straight through.
    On,
    /// The same with int6 MLP weights (PRs #315 to #1019).
    AllInt6,
}

impl FakeQuant {
    /// The weights linears see. The gradient at the rounded weights is taken as the gradient of the weights.
    pub(crate) fn applied(self, weights: &Params) -> Cow<'_, Params> {
        match self {
            FakeQuant::Off => Cow::Borrowed(weights),
            FakeQuant::On | FakeQuant::AllInt6 => Cow::Owned(fake_quantize(weights, self)),
        }
    }

    /// The grid of a parameter with this [`fake_quant_limit`]; `None` where it stays as it is.
    pub(crate) fn grid(self, limit: Option<f32>) -> Option<f32> {
        match self {
            FakeQuant::Off => None,
            FakeQuant::On => limit,
            FakeQuant::AllInt6 => limit.map(|_| INT6_LIMIT),
        }
    }
}

/// The grid a parameter is rounded to in PR #286's quantization-aware training; `None` for those that stay as they are.
///
/// Only the six linears of a block take part: not the embeddings and not the bigram projection.
pub fn fake_quant_limit(name: &str) -> Option<f32> {
    let (_, part) = in_block(name)?;
    match part {
        "attn.c_q.weight" | "attn.c_k.weight" | "attn.c_v.weight" | "attn.proj.weight" => Some(INT6_LIMIT),
        "mlp.fc.weight" | "mlp.proj.weight" => Some(INT5_LIMIT),
        _ => None,
    }
}

/// Rounds each row to multiples of its own scale, `max|w| / limit`.
///
/// `w' = clamp(round_half_even(w / s), -(limit + 1), limit) * s` with `s` in single precision (the stored
/// artifact keeps half-precision scales; training does not).
pub fn fake_quantize_rows(values: &mut [f32], columns: usize, limit: f32) {
    for row in values.chunks_mut(columns.max(1)) {
        let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let scale = (largest / limit).max(MIN_SCALE);
        for value in row {
            *value = (*value / scale).round_ties_even().clamp(-(limit + 1.0), limit) * scale;
        }
    }
}

/// A copy of the weights as the forward pass sees them under quantization-aware training.
///
/// The gradient at these values is the straight-through gradient of the originals: rounding is treated as
/// the identity, also where a value was clamped, and the scale is a constant.
fn fake_quantize(weights: &Params, fake_quant: FakeQuant) -> Params {
    let quantize = |(name, tensor): (&str, &HostTensor)| {
        let mut tensor = tensor.clone();
        if let (Some(limit), Some((_, columns))) = (fake_quant.grid(fake_quant_limit(name)), tensor.matrix_sides()) {
            fake_quantize_rows(tensor.data_mut(), columns, limit);
        }
        (name.to_string(), tensor)
    };
    Params::from_entries(weights.iter().map(quantize).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_half_to_even_per_row() {
        // Scale 1 in the first row (max 15), so values are their own grid positions; the second row is all zero.
        let mut values = [15.0, 2.5, 3.5, -2.5, 0.49, 0.0, 0.0, 0.0, 0.0, -0.0];
        fake_quantize_rows(&mut values, 5, INT5_LIMIT);
        assert_eq!(values, [15.0, 2.0, 4.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn only_block_linears_take_part() {
        assert_eq!(fake_quant_limit("blocks.12.attn.c_k.weight"), Some(31.0));
        assert_eq!(fake_quant_limit("blocks.0.mlp.proj.weight"), Some(15.0));
        for name in ["bigram.proj.weight", "tok_emb.weight", "lm_head.weight", "blocks.0.attn.q_gain"] {
            assert_eq!(fake_quant_limit(name), None);
        }
    }

    #[test]
    fn int6_everywhere_is_a_finer_grid_for_the_mlp_alone() {
        let row = |name: &str| (name.to_string(), HostTensor::new(vec![1, 3], vec![31.0, 2.5, 0.9]).unwrap());
        let (attention, mlp, table) = ("blocks.0.attn.c_q.weight", "blocks.0.mlp.fc.weight", "tok_emb.weight");
        let weights = Params::from_entries([attention, mlp, table].map(row).to_vec());
        let seen = |fake_quant: FakeQuant, name| fake_quant.applied(&weights).get(name).unwrap().data().to_vec();
        // Steps of 31 / 15 and of 1.
        let coarse = 31.0 / 15.0;
        assert_eq!(seen(FakeQuant::On, mlp), [15.0 * coarse, coarse, 0.0]);
        assert_eq!(seen(FakeQuant::AllInt6, mlp), [31.0, 2.0, 1.0]);
        for name in [attention, table] {
            assert_eq!(seen(FakeQuant::AllInt6, name), seen(FakeQuant::On, name));
        }
        assert_eq!(seen(FakeQuant::AllInt6, table), [31.0, 2.5, 0.9]);
    }
}
