//! The network's first activations: the table, the bigram table beside it, the norm, the smear; and their gradients.

use super::forward::Forward;
use super::operands::{Linear, Norm, Smear, WriteMode};
use super::parameters::Network;
use super::record::Record;
use super::rows::Rows;
use super::traits::Kernels;
use crate::model::LinearInput;

impl<K: Kernels> Forward<'_, K> {
    /// Bigram rows read, activations before the norm, and the first activations.
    pub(super) fn embed(&self, rows: &Rows<K>) -> (Option<K::Buffer>, K::Buffer, K::Buffer) {
        let (k, config) = (self.k, self.config);
        let width = config.model_dim;
        let mut x = k.gather(&self.network.tok_emb, &rows.ids, width);
        let mut read = None;
        if let (Some(bigram), Some(hashed)) = (&self.network.bigram, &rows.bigram) {
            let h = k.gather(&bigram.table, hashed, config.bigram_dim);
            match &bigram.projection {
                Some(projection) => {
                    self.see(LinearInput::Bigram, &h);
                    k.project_into_residual(self.bigram_dims(rows), &h, projection, &bigram.scale, &mut x)
                }
                None => k.add(&h, &mut x),
            }
            read = Some(h);
        }
        let x0 = match &self.network.smear_gate {
            Some(gate) => k.norm_smear(&x, self.smear(gate, rows), width),
            None => k.rms_norm(&x, Norm::of(width)),
        };
        (read, x, x0)
    }

    /// Adds the gradients of tables and gate, given that of the first activations; `grad` is memory as large as that.
    pub(super) fn embed_grad(
        &self,
        rows: &Rows<K>,
        record: &Record<K::Buffer>,
        grad_x0: K::Buffer,
        mut grad: K::Buffer,
        grads: &mut Network<K::Buffer>,
    ) {
        let (k, config) = (self.k, self.config);
        let (dim, norm) = (config.model_dim, Norm::of(config.model_dim));
        let grad_normed = match (&self.network.smear_gate, &mut grads.smear_gate) {
            (Some(gate), Some(grad_gate)) => {
                let normed = k.rms_norm(&record.embedded, norm);
                let mut grad_normed = k.zeros(rows.count * dim);
                k.smear_grad(&normed, self.smear(gate, rows), &grad_x0, &mut grad_normed, grad_gate);
                grad_normed
            }
            _ => grad_x0,
        };
        k.rms_norm_grad(&record.embedded, &grad_normed, norm, WriteMode::Overwrite, &mut grad);
        k.scatter(&grad, &rows.ids, dim, &mut grads.tok_emb);
        if let (Some(bigram), Some(w), Some(read), Some(hashed)) =
            (&mut grads.bigram, &self.network.bigram, &record.bigram, &rows.bigram)
        {
            match (&w.projection, &mut bigram.projection) {
                (Some(projection), Some(grad_projection)) => {
                    let projection = self.scaled.and_then(|scaled| scaled.projection.as_ref()).unwrap_or(projection);
                    let dims = self.bigram_dims(rows);
                    k.linear_grad_w(dims, &grad, read, grad_projection);
                    let mut grad_read = k.unset(rows.count * config.bigram_dim);
                    k.linear_grad_x(dims, &grad, projection, WriteMode::Overwrite, &mut grad_read);
                    k.scatter(&grad_read, hashed, config.bigram_dim, &mut bigram.table);
                }
                _ => k.scatter(&grad, hashed, dim, &mut bigram.table),
            }
        }
    }

    fn smear<'a>(&self, gate: &'a K::Buffer, rows: &'a Rows<K>) -> Smear<'a, K> {
        let begins = self.config.smear_stops_at_begin.then_some(&rows.ids);
        Smear { gate, seq_len: rows.seq_len, begins }
    }

    fn bigram_dims(&self, rows: &Rows<K>) -> Linear {
        Linear { tokens: rows.count, inputs: self.config.bigram_dim, outputs: self.config.model_dim }
    }
}
