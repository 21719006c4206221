//! Scales folded into the matrices they follow.
//!
//! Attention and MLP end in `scale * (x W^T)` by channel, which is `x (diag(scale) W)^T`. Folding once per call saves a
//! pass over the activations for each, and the product can be added straight to the residual. Backwards, with
//! `G` the gradient of the folded matrix: `dW = diag(scale) G` and `dscale[c] = sum_k W[c, k] G[c, k]`, so the
//! scaled output need not be kept either.

use crate::model::{HostTensor, Params};

/// Read by rows, never multiplied.
const BIGRAM_TABLE: &str = "bigram.embed.weight";

/// The scale folded into a matrix; the bigram table has one where no projection follows it.
pub(in crate::engine) fn scale_of(matrix: &str, has_projection: bool) -> Option<String> {
    match matrix {
        "bigram.proj.weight" => Some("bigram.scale".to_string()),
        BIGRAM_TABLE => (!has_projection).then(|| "bigram.scale".to_string()),
        _ => {
            let of_block = |suffix, scale| Some(format!("{}{scale}", matrix.strip_suffix(suffix)?));
            of_block("attn.proj.weight", "attn_scale").or_else(|| of_block("mlp.proj.weight", "mlp_scale"))
        }
    }
}

/// A scale, the matrix it is folded into.
fn pairs(params: &Params) -> Vec<(String, String)> {
    let projected = params.get("bigram.proj.weight").is_some();
    let pair = |(matrix, _): (&str, _)| Some((scale_of(matrix, projected)?, matrix.to_string()));
    params.iter().filter_map(pair).collect()
}

/// Rows of a matrix with the factor of each; a scalar scale is every row's.
fn rows<'a>(matrix: &'a mut HostTensor, scale: &'a [f32]) -> impl Iterator<Item = (&'a mut [f32], f32)> {
    let columns = matrix.matrix_sides().map_or(1, |(_, columns)| columns).max(1);
    matrix.data_mut().chunks_mut(columns).zip(scale.iter().copied().cycle())
}

/// Weights as the kernels see them in single precision.
pub(in crate::engine) fn fold(weights: &Params) -> Params {
    folded(weights, pairs(weights))
}

/// Weights as they see them in bfloat16: only what is read and never multiplied is folded.
pub(in crate::engine) fn fold_tables(weights: &Params) -> Params {
    folded(weights, pairs(weights).into_iter().filter(|(_, matrix)| matrix == BIGRAM_TABLE))
}

fn folded(weights: &Params, pairs: impl IntoIterator<Item = (String, String)>) -> Params {
    let mut folded = weights.clone();
    for (scale, matrix) in pairs {
        if let (Some(scale), Some(matrix)) = (weights.get(&scale), folded.get_mut(&matrix)) {
            rows(matrix, scale.data()).for_each(|(row, scale)| row.iter_mut().for_each(|value| *value *= scale));
        }
    }
    folded
}

/// Gradients of the weights from those of the folded weights, in place.
pub(in crate::engine) fn unfold(weights: &Params, gradients: &mut Params) {
    for (scale, matrix) in pairs(weights) {
        let (Some(scale_values), Some(values)) = (weights.get(&scale), weights.get(&matrix)) else { continue };
        let Some(gradient) = gradients.get_mut(&matrix) else { continue };
        let mut scale_gradient = vec![0.0f64; scale_values.len()];
        let columns = values.matrix_sides().map_or(1, |(_, columns)| columns).max(1);
        let factors = rows(gradient, scale_values.data()).zip(values.data().chunks(columns));
        for (i, ((gradient, factor), row)) in factors.enumerate() {
            let dot: f64 = gradient.iter().zip(row).map(|(&g, &w)| f64::from(g) * f64::from(w)).sum();
            if let Some(sum) = scale_gradient.get_mut(i % scale_values.len().max(1)) {
                *sum += dot;
            }
            gradient.iter_mut().for_each(|value| *value *= factor);
        }
        if let Some(tensor) = gradients.get_mut(&scale) {
            tensor.data_mut().iter_mut().zip(scale_gradient).for_each(|(slot, sum)| *slot = sum as f32);
        }
    }
}
