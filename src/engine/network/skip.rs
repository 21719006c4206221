//! Outputs of the encoder on their way into the decoder.

use super::forward::Forward;
use super::operands::{ChannelRow, GatedSkip, Skip};
use super::parameters::Skips;
use super::record::Record;
use super::rows::Rows;
use super::traits::Kernels;
use crate::model::SkipInput;

impl<K: Kernels> Forward<'_, K> {
    /// The skip of a visit, to be added to its input; one with a gate is weighed against `x` here.
    pub(super) fn enter_skip<'a>(
        &'a self,
        skip: Option<SkipInput>,
        outputs: &'a [Option<K::Buffer>],
        x: &mut K::Buffer,
    ) -> Option<Skip<'a, K>> {
        let (skip, skips) = (skip?, self.network.skips.as_ref()?);
        let output = outputs.get(skip.from)?.as_ref()?;
        let (weights, row) = (&skips.weights, self.skip_row(skip));
        match &skips.gates {
            Some(gates) => {
                self.k.add_gated_skip(GatedSkip { output, weights, gates, row }, x);
                None
            }
            None => Some(Skip { output, weights, row }),
        }
    }

    /// Turns `grad`, the gradient of a visit's input, into that of the stream before the skip; returns the skip's.
    pub(super) fn skip_grad(
        &self,
        skip: SkipInput,
        rows: &Rows<K>,
        (record, before_skip): (&Record<K::Buffer>, Option<&K::Buffer>),
        grad: &mut K::Buffer,
        grads: &mut Option<Skips<K::Buffer>>,
    ) -> Option<K::Buffer> {
        let (k, skips, grads) = (self.k, self.network.skips.as_ref()?, grads.as_mut()?);
        let output = record.outputs.get(skip.from)?.as_ref()?;
        let (weights, row) = (&skips.weights, self.skip_row(skip));
        let mut grad_skip = k.unset(rows.count * self.config.model_dim);
        match (&skips.gates, &mut grads.gates, before_skip) {
            (Some(gates), Some(grad_gates), Some(x)) => {
                let skip = GatedSkip { output, weights, gates, row };
                k.add_gated_skip_grad(skip, x, grad, &mut grad_skip, [&mut grads.weights, grad_gates]);
            }
            _ => k.add_skip_grad(output, weights, row, grad, &mut grad_skip, &mut grads.weights),
        }
        Some(grad_skip)
    }

    fn skip_row(&self, skip: SkipInput) -> ChannelRow {
        ChannelRow { row: skip.row, width: self.config.model_dim }
    }
}
