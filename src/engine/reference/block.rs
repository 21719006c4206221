//! One block: attention and MLP, each added to a residual stream, as its recipe has it.

use std::rc::Rc;

use dfdx::prelude::*;

use super::activations::Probe;
use super::attention::attention;
use super::hardware::Hardware;
use super::linear::{channels, linear, row, scaled};
use super::weights::{BlockWeights, Weights};
use super::{Matrix, Recorder, Scalar};
use crate::model::{BlockRecipe, ModelConfig, Residual, RopeTables};

/// What all blocks of a forward pass see.
pub(super) struct Context<'a, D: Hardware> {
    pub config: &'a ModelConfig,
    pub weights: &'a Weights<D>,
    pub tables: &'a Rc<RopeTables>,
    /// Tokens in a row of the batch.
    pub seq_len: usize,
    /// The network's first activations.
    pub x0: &'a Matrix<D>,
    /// The value embedding of every token, where there is one.
    pub values: Option<&'a Matrix<D>>,
}

impl<D: Hardware> Context<'_, D> {
    /// The value embedding with the scale that a block adds it by, if it does.
    pub fn value_embedding(&self, recipe: &BlockRecipe) -> Option<(&Scalar<D>, &Matrix<D>)> {
        let scales = &self.weights.value_embedding.as_ref()?.layer_scales;
        scales.get(recipe.value_embedding?).zip(self.values)
    }
}

/// The residual stream, or two of them: the second has its operations on the tape of the first.
pub(super) struct Streams<D: Hardware, T: Recorder<D>> {
    pub first: Matrix<D, T>,
    pub second: Option<Matrix<D>>,
}

/// Runs a block on the stream, or on both.
pub(super) fn block<D: Hardware, T: Recorder<D>>(
    context: &Context<'_, D>,
    weights: &BlockWeights<D>,
    recipe: &BlockRecipe,
    Streams { first: x, second }: Streams<D, T>,
    probe: &mut Probe<'_>,
) -> Streams<D, T> {
    probe.see("in", &x);
    let z = match weights.resid_mix.as_ref().filter(|_| recipe.mix) {
        Some(mix) => channels(x, row::<D, T>(mix, 0)) + scaled(row::<D, T>(mix, 1), context.x0),
        None => x,
    };
    let normed = |x: Matrix<D, T>| {
        let normed = D::rms_norm(x);
        if recipe.norm_scale == 1.0 { normed } else { normed * recipe.norm_scale }
    };
    let attended = attention(weights, context, recipe, normed(z.with_empty_tape()), probe);
    probe.see("attn_out", &attended);
    let attended = channels(attended, weights.attn_scale.retaped::<T>());
    let (first, second) = match (recipe.residual, second) {
        (Residual::OneLane, _) => {
            let output = mlp(weights, recipe, normed(z.with_empty_tape()), probe);
            (z + attended + output, None)
        }
        (Residual::TwoLanes, Some(lane)) => {
            let (first, tape) = (z + attended).split_tape();
            let lane = lane.put_tape(tape);
            let output = mlp(weights, recipe, normed(lane.with_empty_tape()), probe);
            let (lane, tape) = (lane + output).split_tape();
            (first.put_tape(tape), Some(lane))
        }
        (_, second) => {
            let x = z + attended;
            let output = mlp(weights, recipe, normed(x.with_empty_tape()), probe);
            (x + output, second)
        }
    };
    probe.see("out", &first);
    Streams { first, second }
}

/// `mlp_scale * proj(a^2)` by channel, with `a = u` above zero and `s u` below, `u = fc(x)`.
fn mlp<D: Hardware, T: Recorder<D>>(
    weights: &BlockWeights<D>,
    recipe: &BlockRecipe,
    x: Matrix<D, T>,
    probe: &mut Probe<'_>,
) -> Matrix<D, T> {
    let hidden = linear(x, &weights.fc);
    let activated = if recipe.negative_slope == 0.0 {
        hidden.relu()
    } else {
        let below = hidden.with_empty_tape().negate().relu() * recipe.negative_slope;
        hidden.relu() - below
    };
    let output = linear(activated.square(), &weights.mlp_proj);
    probe.see("mlp_out", &output);
    channels(output, weights.mlp_scale.retaped::<T>())
}
