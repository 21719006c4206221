//! Fake quantization: weights rounded to the grid they will be stored on, while still being trained.

use std::borrow::Cow;

use crate::model::{HostTensor, Params};

/// Largest magnitude of an int6 weight (attention).
const INT6_LIMIT: f32 = 31.0;
/// Largest magnitude of an int5 weight (MLP).
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
}

impl FakeQuant {
    /// The weights linears see. The gradient at the rounded weights is taken as the gradient of the weights.
    pub(crate) fn applied(self, weights: &Params) -> Cow<'_, Params> {
        match self {
            FakeQuant::Off => Cow::Borrowed(weights),
            FakeQuant::On => Cow::Owned(fake_quantize(weights)),
        }
    }
}

/// The grid a parameter is rounded to in quantization-aware training; `None` for those that stay as they are.
///
/// Only the six linears of a block take part: not the embeddings and not the bigram projection.
pub fn fake_quant_limit(name: &str) -> Option<f32> {
    let (_, part) = name.strip_prefix("blocks.")?.split_once('.')?;
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
pub fn fake_quantize(weights: &Params) -> Params {
    let quantize = |(name, tensor): (&str, &HostTensor)| {
        let mut tensor = tensor.clone();
        if let (Some(limit), Some((_, columns))) = (fake_quant_limit(name), tensor.matrix_sides()) {
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
}
