//! The embedding that is added to the values of some blocks: read and projected once a pass, added on each visit.

use super::forward::Forward;
use super::operands::{Linear, WriteMode};
use super::parameters::ValueTable;
use super::record::Values;
use super::rows::Rows;
use super::traits::Kernels;
use crate::model::LinearInput;

impl<K: Kernels> Forward<'_, K> {
    /// Reads and projects the embedding, where there is one.
    pub(super) fn values(&self, rows: &Rows<K>) -> Option<Values<K::Buffer>> {
        let (k, table) = (self.k, self.network.value_table.as_ref()?);
        let read = k.gather(&table.table, &rows.ids, self.value_dims(rows).inputs);
        let Some(projection) = &table.projection else { return Some(Values { read: None, projected: read }) };
        self.see(LinearInput::Values, &read);
        let dims = self.value_dims(rows);
        let mut projected = k.unset(dims.tokens * dims.outputs);
        k.linear(dims, &read, projection, WriteMode::Overwrite, &mut projected);
        Some(Values { read: Some(read), projected })
    }

    /// Adds it to a block's values by the scale of that row of `ve_layer_scales`.
    pub(super) fn add_values(&self, layer: usize, values: Option<&K::Buffer>, v: &mut K::Buffer) {
        if let (Some(table), Some(values)) = (&self.network.value_table, values)
            && let Some(scale) = table.layer_scales.get(layer)
        {
            self.k.add_value_embedding(values, [&table.scale, scale], v);
        }
    }

    /// Adds to `grad_values`, the gradient of what was added, and to those of the scales.
    pub(super) fn add_values_grad(
        &self,
        layer: usize,
        values: Option<&Values<K::Buffer>>,
        grad_v: &K::Buffer,
        grad_values: &mut Option<K::Buffer>,
        grads: &mut Option<ValueTable<K::Buffer>>,
    ) {
        let (Some(table), Some(values), Some(grads)) = (&self.network.value_table, values, grads) else { return };
        if let (Some(scale), Some(grad_scale), Some(grad_values)) =
            (table.layer_scales.get(layer), grads.layer_scales.get_mut(layer), grad_values)
        {
            let scales = [&table.scale, scale];
            let grad_scales = [&mut grads.scale, grad_scale];
            let width = self.config.kv_dim();
            self.k.add_value_embedding_grad(&values.projected, scales, width, grad_v, grad_values, grad_scales);
        }
    }

    /// Adds the gradients of table and projection, given that of what all visits have added.
    pub(super) fn values_grad(
        &self,
        rows: &Rows<K>,
        values: &Values<K::Buffer>,
        grad_values: &K::Buffer,
        grads: &mut ValueTable<K::Buffer>,
    ) {
        let (k, dims) = (self.k, self.value_dims(rows));
        let projection = self.network.value_table.as_ref().and_then(|table| table.projection.as_ref());
        match (projection, &values.read, &mut grads.projection) {
            (Some(projection), Some(read), Some(grad_projection)) => {
                k.linear_grad_w(dims, grad_values, read, grad_projection);
                let mut grad_read = k.unset(dims.tokens * dims.inputs);
                k.linear_grad_x(dims, grad_values, projection, WriteMode::Overwrite, &mut grad_read);
                k.scatter(&grad_read, &rows.ids, dims.inputs, &mut grads.table);
            }
            _ => k.scatter(grad_values, &rows.ids, dims.outputs, &mut grads.table),
        }
    }

    fn value_dims(&self, rows: &Rows<K>) -> Linear {
        let outputs = self.config.kv_dim();
        let inputs = self.config.value_embedding.as_ref().map_or(outputs, |embedding| embedding.dim);
        Linear { tokens: rows.count, inputs, outputs }
    }
}
