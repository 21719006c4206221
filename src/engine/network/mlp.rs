//! The MLP of a block, before its output projection, and its gradient.

use super::forward::Forward;
use super::operands::{Linear, WriteMode};
use super::parameters::Block;
use super::rows::Rows;
use super::traits::Kernels;
use crate::model::BlockRecipe;

impl<K: Kernels> Forward<'_, K> {
    /// The squared hidden values of some tokens, and them before the square if they are to be kept.
    pub(super) fn hidden(
        &self,
        recipe: &BlockRecipe,
        w: &Block<K::Buffer>,
        normed: &K::Buffer,
        tokens: usize,
        keep: bool,
    ) -> (K::Buffer, Option<K::Buffer>) {
        let dims = Linear { tokens, inputs: self.config.model_dim, outputs: self.config.mlp_hidden() };
        self.k.squared_linear(dims, normed, &w.fc, recipe.negative_slope, keep)
    }

    /// From the gradient of the block's output, that of the norm the MLP has read, which `normed` gives; hidden values before
    /// the square, and after it where they were kept.
    pub(super) fn mlp_grad(
        &self,
        recipe: &BlockRecipe,
        (w, projection): (&Block<K::Buffer>, &K::Buffer),
        (hidden, squared): (&K::Buffer, Option<K::Buffer>),
        rows: &Rows<K>,
        (grad, normed): (&K::Buffer, impl FnOnce() -> K::Buffer),
        grads: &mut Block<K::Buffer>,
    ) -> K::Buffer {
        let (k, dim, width) = (self.k, self.config.model_dim, self.config.mlp_hidden());
        let dims = |inputs, outputs| Linear { tokens: rows.count, inputs, outputs };
        let slope = recipe.negative_slope;
        let squared = squared.unwrap_or_else(|| k.leaky_relu_squared(hidden, slope));
        k.linear_grad_w(dims(width, dim), grad, &squared, &mut grads.mlp_proj);
        let mut grad_hidden = squared;
        k.squared_linear_grad(dims(width, dim), grad, projection, hidden, slope, &mut grad_hidden);
        let normed = normed();
        k.linear_grad_w(dims(dim, width), &grad_hidden, &normed, &mut grads.fc);
        let mut grad_normed = normed;
        k.linear_grad_x(dims(dim, width), &grad_hidden, &w.fc, WriteMode::Overwrite, &mut grad_normed);
        grad_normed
    }
}
