//! The backward pass: the forward pass read from its end.

use super::forward::{BlockRecord, Forward, Record, Rows, skip_of};
use super::parameters::{Block, Network};
use super::traits::{Kernels, Linear, WriteMode};

/// A part of the network whose gradients a backward pass has added all it will add to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Finished {
    /// The output head, where it is not the embedding table.
    Head,
    /// All parameters of a block.
    Block(usize),
}

impl<K: Kernels> Forward<'_, K> {
    /// Adds the gradients of `weight` times the summed negative log-likelihood; returns the likelihoods.
    ///
    /// `finished` is told what is final while the pass goes on: the head, then the blocks from the last to the first.
    /// The rest (embeddings, gate, skip weights) is final when the pass returns.
    pub fn backward(
        &self,
        rows: &Rows<K>,
        targets: &K::Ids,
        weight: f32,
        mut record: Record<K::Buffer>,
        grads: &mut Network<K::Buffer>,
        finished: &mut dyn FnMut(Finished),
    ) -> K::Buffer {
        let (k, c) = (self.k, self.config);
        let (dim, tokens) = (c.model_dim, rows.count);

        let dims = Linear { tokens, inputs: dim, outputs: c.vocab_size };
        let cap = c.logit_softcap as f32;
        let (mut grad_normed, mut grad) = (k.unset(tokens * dim), k.unset(tokens * dim));
        let head = self.network.head();
        let nll = k.nll_grad(dims, &record.normed, head, cap, targets, weight, &mut grad_normed, grads.head_mut());
        k.rms_norm_grad(&record.last, &grad_normed, dim, WriteMode::Overwrite, &mut grad);
        drop(grad_normed);
        if grads.lm_head.is_some() {
            finished(Finished::Head);
        }

        let mut grad_x0 = k.zeros(tokens * dim);
        let mut grad_skips: Vec<Option<K::Buffer>> = record.skips.iter().map(|_| None).collect();
        for (i, kept) in std::mem::take(&mut record.blocks).into_iter().enumerate().rev() {
            let (Some(w), Some(block_grads)) = (self.network.blocks.get(i), grads.blocks.get_mut(i)) else { continue };
            // An encoder block's output went on to the next block and into a skip.
            if let Some(grad_skip) = grad_skips.get_mut(i).and_then(Option::take) {
                k.add(&grad_skip, &mut grad);
            }
            self.block_grad(i, w, kept, &record, rows, &mut grad, &mut grad_x0, block_grads);
            finished(Finished::Block(i));
            if let Some((row, encoder)) = skip_of(c, i)
                && let Some(output) = record.skips.get(encoder)
            {
                let mut grad_skip = k.unset(tokens * dim);
                let weights = &self.network.skip_weights;
                k.add_skip_grad(output, weights, row, &grad, &mut grad_skip, &mut grads.skip_weights);
                grad_skips[encoder] = Some(grad_skip);
            }
        }
        k.add(&grad, &mut grad_x0);

        let normed = k.rms_norm(&record.embedded, dim);
        let mut grad_normed = k.zeros(tokens * dim);
        let gate = &self.network.smear_gate;
        k.smear_grad(&normed, gate, rows.seq_len, &grad_x0, &mut grad_normed, &mut grads.smear_gate);
        k.rms_norm_grad(&record.embedded, &grad_normed, dim, WriteMode::Overwrite, &mut grad);
        k.scatter(&grad, &rows.ids, dim, &mut grads.tok_emb);
        if let (Some(bigram), Some(w), Some(read), Some(hashed)) =
            (&mut grads.bigram, &self.network.bigram, &record.bigram, &rows.bigram)
        {
            match (&w.projection, &mut bigram.projection) {
                (Some(projection), Some(grad_projection)) => {
                    let projection = self.scaled.and_then(|scaled| scaled.projection.as_ref()).unwrap_or(projection);
                    let dims = self.bigram_dims(rows);
                    k.linear_grad_w(dims, &grad, read, grad_projection);
                    let mut grad_read = k.unset(tokens * c.bigram_dim);
                    k.linear_grad_x(dims, &grad, projection, WriteMode::Overwrite, &mut grad_read);
                    k.scatter(&grad_read, hashed, c.bigram_dim, &mut bigram.table);
                }
                _ => k.scatter(&grad, hashed, dim, &mut bigram.table),
            }
        }
        nll
    }

    /// Turns `grad`, the gradient of a block's output, into that of its input.
    #[allow(clippy::too_many_arguments)]
    fn block_grad(
        &self,
        index: usize,
        w: &Block<K::Buffer>,
        kept: BlockRecord<K::Buffer>,
        record: &Record<K::Buffer>,
        rows: &Rows<K>,
        grad: &mut K::Buffer,
        grad_x0: &mut K::Buffer,
        grads: &mut Block<K::Buffer>,
    ) {
        let (k, c) = (self.k, self.config);
        let (dim, kv, hidden_width, tokens) = (c.model_dim, c.kv_dim(), c.mlp_hidden(), rows.count);
        let dims = |inputs, outputs| Linear { tokens, inputs, outputs };
        let scaled = self.scaled.and_then(|scaled| scaled.blocks.get(index));
        let [attn_proj, mlp_proj] = scaled.map_or([&w.attn_proj, &w.mlp_proj], |[attn, mlp]| [attn, mlp]);
        let (x, x0) = (record.input(index, kept.x.as_ref()), &record.x0);
        let attended = kept.attended.as_ref().unwrap_or(x0);

        // MLP: x += W' relu(fc(norm(x)))^2
        let squared = k.relu_squared(&kept.hidden);
        k.linear_grad_w(dims(hidden_width, dim), grad, &squared, &mut grads.mlp_proj);
        let mut grad_hidden = squared;
        k.squared_linear_grad(dims(hidden_width, dim), grad, mlp_proj, &kept.hidden, &mut grad_hidden);
        let normed = k.rms_norm(attended, dim);
        k.linear_grad_w(dims(dim, hidden_width), &grad_hidden, &normed, &mut grads.fc);
        let mut grad_normed = normed;
        k.linear_grad_x(dims(dim, hidden_width), &grad_hidden, &w.fc, WriteMode::Overwrite, &mut grad_normed);
        k.rms_norm_grad(attended, &grad_normed, dim, WriteMode::Accumulate, grad);
        drop((grad_hidden, grad_normed));

        // Attention: x += W' attend(norm(x))
        k.linear_grad_w(dims(dim, dim), grad, &kept.mixed, &mut grads.attn_proj);
        let mut grad_mixed = k.unset(tokens * dim);
        k.linear_grad_x(dims(dim, dim), grad, attn_proj, WriteMode::Overwrite, &mut grad_mixed);
        let heads = self.heads(rows, 0);
        let (q_norm_rope, k_norm_rope) = (self.q_norm_rope(w, heads), self.k_norm_rope(heads));
        let (q, key) = (k.qk_norm_rope(&kept.q, q_norm_rope), k.qk_norm_rope(&kept.k, k_norm_rope));
        let [grad_q, grad_k, grad_v] =
            k.attention_grad(heads, [&q, &key, &kept.v], [&kept.mixed, &kept.lse], &grad_mixed);
        let (mut grad_query, mut grad_key) = (q, key);
        k.qk_norm_rope_grad(&kept.q, q_norm_rope, &grad_q, &mut grad_query, Some(&mut grads.q_gain));
        k.qk_norm_rope_grad(&kept.k, k_norm_rope, &grad_k, &mut grad_key, None);
        drop((grad_q, grad_k));

        let mix = &w.resid_mix;
        let [mixed, normed] = k.mix_rms_norm(x, x0, mix, dim);
        k.linear_grad_w(dims(dim, dim), &grad_query, &normed, &mut grads.c_q);
        k.linear_grad_w(dims(dim, kv), &grad_key, &normed, &mut grads.c_k);
        k.linear_grad_w(dims(dim, kv), &grad_v, &normed, &mut grads.c_v);
        let mut grad_normed = grad_mixed;
        k.linear_grad_x(dims(dim, dim), &grad_query, &w.c_q, WriteMode::Overwrite, &mut grad_normed);
        k.linear_grad_x(dims(dim, kv), &grad_key, &w.c_k, WriteMode::Accumulate, &mut grad_normed);
        k.linear_grad_x(dims(dim, kv), &grad_v, &w.c_v, WriteMode::Accumulate, &mut grad_normed);
        k.rms_norm_grad(&mixed, &grad_normed, dim, WriteMode::Accumulate, grad);
        k.mix_grad(x, x0, mix, grad, grad_x0, &mut grads.resid_mix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cpu::CpuKernels;
    use crate::engine::network::{fold, widened};
    use crate::model::{ModelConfig, RopeTables, init};

    #[test]
    fn what_is_final_is_named_from_the_networks_end_to_its_beginning() {
        for tie_embeddings in [true, false] {
            let config = ModelConfig {
                vocab_size: 12,
                num_layers: 3,
                model_dim: 8,
                num_heads: 2,
                num_kv_heads: 1,
                bigram_vocab_size: 5,
                bigram_dim: 4,
                tie_embeddings,
                ..Default::default()
            };
            let k = &CpuKernels::default();
            let network = Network::upload(k, &config, &fold(&init(&config, 1))).unwrap();
            let tables = &k.rope_tables(&RopeTables::new(&config, 4));
            let forward = Forward { k, config: &config, network: &network, scaled: None, tables };
            let rows = &Rows::new(k, &config, &[1, 2, 3, 4], 4);
            let targets = &k.ids(&widened(&[2, 3, 4, 5]), config.vocab_size);
            let (mut named, mut grads) = (Vec::new(), Network::zeros(k, &config).unwrap());
            forward.backward(rows, targets, 0.25, forward.record(rows), &mut grads, &mut |part| named.push(part));
            let expected = [Finished::Head, Finished::Block(2), Finished::Block(1), Finished::Block(0)];
            assert_eq!(named, expected[usize::from(tie_embeddings)..]);
        }
    }
}
