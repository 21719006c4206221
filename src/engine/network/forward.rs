//! The forward pass, recording or not.

use super::parameters::{Block, Network, Scaled};
use super::traits::{
    ChannelRow, FusedMixInputs, FusedMixOutputs, Heads, Kernels, Linear, PendingResidual, QkNormRope, Skip, WriteMode,
};
use crate::model::{ModelConfig, bigram_rows};

/// Some whole rows of a batch, as row numbers on a device.
pub(in crate::engine) struct Rows<K: Kernels> {
    /// Tokens in all.
    pub count: usize,
    pub seq_len: usize,
    pub ids: K::Ids,
    /// Rows of the bigram table.
    pub bigram: Option<K::Ids>,
}

impl<K: Kernels> Rows<K> {
    /// Hands over the tokens of rows of `seq_len`.
    pub fn new(k: &K, config: &ModelConfig, inputs: &[u16], seq_len: usize) -> Self {
        let bigram = config.has_bigram().then(|| k.ids(&hashed(config, inputs, seq_len), config.bigram_vocab_size));
        Rows { count: inputs.len(), seq_len, ids: k.ids(&widened(inputs), config.vocab_size), bigram }
    }
}

/// Token ids as row numbers.
pub(in crate::engine) fn widened(tokens: &[u16]) -> Vec<u32> {
    tokens.iter().map(|&id| u32::from(id)).collect()
}

/// Bigram rows of rows of `seq_len` tokens.
pub(in crate::engine) fn hashed(config: &ModelConfig, inputs: &[u16], seq_len: usize) -> Vec<u32> {
    let rows = inputs.chunks(seq_len).flat_map(|row| bigram_rows(row, config.bigram_vocab_size));
    rows.map(|row| row as u32).collect()
}

/// What a block keeps for its backward pass.
pub(in crate::engine) struct BlockRecord<B> {
    /// Input, after the skip; none where it is the output of an encoder block and kept as such.
    pub x: Option<B>,
    /// Queries, keys and values as their linears made them.
    pub q: B,
    pub k: B,
    pub v: B,
    pub mixed: B,
    pub lse: B,
    /// After attention; there once the stream has gone on.
    pub attended: Option<B>,
    /// Before the square.
    pub hidden: B,
}

/// What the forward pass keeps.
pub(in crate::engine) struct Record<B> {
    /// Table rows read.
    pub bigram: Option<B>,
    /// Before the first norm.
    pub embedded: B,
    pub x0: B,
    pub blocks: Vec<BlockRecord<B>>,
    /// Outputs of the encoder blocks.
    pub skips: Vec<B>,
    /// After the last block, and its norm.
    pub last: B,
    pub normed: B,
}

impl<B> Record<B> {
    /// The input of a block, given what it kept itself.
    pub fn input<'a>(&'a self, block: usize, own: Option<&'a B>) -> &'a B {
        own.or_else(|| self.skips.get(block.checked_sub(1)?)).unwrap_or(&self.x0)
    }
}

/// Runs the network on a device.
pub(in crate::engine) struct Forward<'a, K: Kernels> {
    pub k: &'a K,
    pub config: &'a ModelConfig,
    pub network: &'a Network<K::Buffer>,
    /// For the backward pass, where the network has scales apart from the matrices.
    pub scaled: Option<&'a Scaled<K::Buffer>>,
    pub tables: &'a K::Tables,
}

/// A block's results: the residual stream with attention's output added, the MLP's output where it is still to be added,
/// and what the backward pass needs.
struct BlockOutput<B> {
    x: B,
    residual: Option<B>,
    kept: Option<BlockRecord<B>>,
}

impl<K: Kernels> Forward<'_, K> {
    /// The forward pass with everything the backward pass needs.
    pub fn record(&self, rows: &Rows<K>) -> Record<K::Buffer> {
        let (bigram, embedded, x0) = self.embed(rows);
        let (mut blocks, mut skips) = (Vec::new(), Vec::new());
        let (last, normed) = self.blocks(rows, 0, &x0, &mut skips, Some(&mut blocks));
        Record { bigram, embedded, x0, blocks, skips, last, normed }
    }

    /// Normalized activations of the positions from `first` on of every row, ready for the head.
    ///
    /// The last block's queries, its MLP and all that follows are computed for those positions alone; its keys
    /// and values for all.
    pub fn score(&self, rows: &Rows<K>, first: usize) -> K::Buffer {
        let (_, _, x0) = self.embed(rows);
        self.blocks(rows, first, &x0, &mut Vec::new(), None).1
    }

    fn embed(&self, rows: &Rows<K>) -> (Option<K::Buffer>, K::Buffer, K::Buffer) {
        let (k, config) = (self.k, self.config);
        let width = config.model_dim;
        let mut x = k.gather(&self.network.tok_emb, &rows.ids, width);
        let mut read = None;
        if let (Some(bigram), Some(hashed)) = (&self.network.bigram, &rows.bigram) {
            let h = k.gather(&bigram.table, hashed, config.bigram_dim);
            match &bigram.projection {
                Some(projection) => {
                    k.project_into_residual(self.bigram_dims(rows), &h, projection, &bigram.scale, &mut x)
                }
                None => k.add(&h, &mut x),
            }
            read = Some(h);
        }
        let x0 = k.norm_smear(&x, &self.network.smear_gate, width, rows.seq_len);
        (read, x, x0)
    }

    /// All blocks: the activations after the last one and their norm, of the positions from `first` on.
    fn blocks(
        &self,
        rows: &Rows<K>,
        first: usize,
        x0: &K::Buffer,
        skips: &mut Vec<K::Buffer>,
        mut record: Option<&mut Vec<BlockRecord<K::Buffer>>>,
    ) -> (K::Buffer, K::Buffer) {
        let (k, encoders, width) = (self.k, self.config.num_layers / 2, self.config.model_dim);
        let mut x = k.copy(x0);
        let mut pending: Option<(K::Buffer, &K::Buffer)> = None;
        for (i, block) in self.network.blocks.iter().enumerate() {
            let product = pending.take();
            let mut residual = product.as_ref().map(|&(ref product, scale)| PendingResidual { product, scale, width });
            // The last encoder block's output goes on and, by another weight, right into its own skip.
            if i == encoders && i > 0 {
                self.keep_attended(record.as_deref_mut(), |k| k.copy(&x));
                k.add_residual(residual.take(), &mut x);
                skips.push(k.copy(&x));
            }
            let skip = skip_of(self.config, i).and_then(|(row, encoder)| {
                Some(Skip { output: skips.get(encoder)?, weights: &self.network.skip_weights, row })
            });
            // Between encoder blocks an output is an input.
            let is_output = (1..encoders).contains(&i);
            let keep_input = is_output || i > 0 && record.is_some();
            let inputs = FusedMixInputs { residual, skip, x0, mix: &block.resid_mix, width, keep_input };
            let FusedMixOutputs { input, before, mixed, normed } = k.fused_mix_rms_norm(x, inputs);
            drop(product);
            if let Some(before) = before {
                self.keep_attended(record.as_deref_mut(), |_| before);
            }
            let mut own = None;
            if is_output {
                skips.push(input);
            } else if i > 0 {
                own = Some(input);
            }
            let first = if i + 1 == self.config.num_layers { first } else { 0 };
            let output = self.block(block, mixed, normed, rows, first, record.is_some());
            if let (Some(record), Some(kept)) = (&mut record, output.kept) {
                record.push(BlockRecord { x: own, ..kept });
            }
            x = output.x;
            pending = output.residual.map(|product| (product, &block.mlp_scale));
        }
        self.keep_attended(record, |k| k.copy(&x));
        let residual = pending.as_ref().map(|&(ref product, scale)| PendingResidual { product, scale, width });
        let normed = k.add_residual_rms_norm(residual, width, &mut x);
        (x, normed)
    }

    /// Completes the last block's record, where its stream was not copied.
    fn keep_attended(&self, record: Option<&mut Vec<BlockRecord<K::Buffer>>>, stream: impl FnOnce(&K) -> K::Buffer) {
        if let Some(last) = record.and_then(|record| record.last_mut())
            && last.attended.is_none()
        {
            last.attended = Some(stream(self.k));
        }
    }

    fn block(
        &self,
        w: &Block<K::Buffer>,
        mixed: K::Buffer,
        normed: K::Buffer,
        rows: &Rows<K>,
        first: usize,
        keep: bool,
    ) -> BlockOutput<K::Buffer> {
        let (k, c) = (self.k, self.config);
        let (dim, kv, hidden_width, tokens) = (c.model_dim, c.kv_dim(), c.mlp_hidden(), rows.count);
        let (row, kept) = (rows.seq_len, rows.seq_len - first);
        let queries = tokens / row * kept;
        let linear = |tokens, inputs, outputs, x: &K::Buffer, w: &K::Buffer| {
            let mut y = k.unset(tokens * outputs);
            k.linear(Linear { tokens, inputs, outputs }, x, w, WriteMode::Overwrite, &mut y);
            y
        };

        let mut x = mixed;
        let key = linear(tokens, dim, kv, &normed, &w.c_k);
        let value = linear(tokens, dim, kv, &normed, &w.c_v);
        let normed = if first > 0 { k.tails(&normed, row * dim, kept * dim) } else { normed };
        let query = linear(queries, dim, dim, &normed, &w.c_q);
        drop(normed);
        let heads = self.heads(rows, first);
        let rotated =
            [k.qk_norm_rope(&query, self.q_norm_rope(w, heads)), k.qk_norm_rope(&key, self.k_norm_rope(heads))];
        let (mixed, lse) = k.attention(heads, [&rotated[0], &rotated[1], &value]);
        drop(rotated);

        if first > 0 {
            x = k.tails(&x, row * dim, kept * dim);
        }
        let output = Linear { tokens: queries, inputs: dim, outputs: dim };
        let product = k.residual_projection(output, &mixed, &w.attn_proj, &w.attn_scale, &mut x);
        let normed = k.add_residual_rms_norm(pending_residual(&product, &w.attn_scale, dim), dim, &mut x);
        drop(product);
        let fc = Linear { tokens: queries, inputs: dim, outputs: hidden_width };
        let (squared, hidden) = k.squared_linear(fc, &normed, &w.fc, keep);
        drop(normed);
        // The backward pass needs the stream before the MLP's output is added.
        let attended = (keep && k.projection_adds_residual()).then(|| k.copy(&x));
        let output = Linear { tokens: queries, inputs: hidden_width, outputs: dim };
        let product = k.residual_projection(output, &squared, &w.mlp_proj, &w.mlp_scale, &mut x);
        let record = |hidden| BlockRecord { x: None, q: query, k: key, v: value, mixed, lse, attended, hidden };
        let kept = hidden.map(record);
        BlockOutput { x, residual: product, kept }
    }

    pub fn bigram_dims(&self, rows: &Rows<K>) -> Linear {
        Linear { tokens: rows.count, inputs: self.config.bigram_dim, outputs: self.config.model_dim }
    }

    pub fn heads(&self, rows: &Rows<K>, first_query: usize) -> Heads {
        let (heads, kv_heads) = (self.config.num_heads, self.config.num_kv_heads);
        Heads { seq_len: rows.seq_len, heads, kv_heads, width: self.config.head_dim(), first_query }
    }

    pub fn q_norm_rope<'a>(&'a self, w: &'a Block<K::Buffer>, heads: Heads) -> QkNormRope<'a, K> {
        QkNormRope {
            heads: heads.heads,
            width: heads.width,
            tokens_per_row: heads.queries(),
            first: heads.first_query,
            gain: Some(&w.q_gain),
            tables: self.tables,
        }
    }

    pub fn k_norm_rope(&self, heads: Heads) -> QkNormRope<'_, K> {
        QkNormRope {
            heads: heads.kv_heads,
            width: heads.width,
            tokens_per_row: heads.seq_len,
            first: 0,
            gain: None,
            tables: self.tables,
        }
    }
}

/// A residual projection that is still to be added.
fn pending_residual<'a, K: Kernels>(
    product: &'a Option<K::Buffer>,
    scale: &'a K::Buffer,
    width: usize,
) -> Option<PendingResidual<'a, K>> {
    product.as_ref().map(|product| PendingResidual { product, scale, width })
}

/// Which skip enters a block: the row of `skip_weights` and the encoder block whose output is added.
pub(in crate::engine) fn skip_of(config: &ModelConfig, block: usize) -> Option<(ChannelRow, usize)> {
    let j = block.checked_sub(config.num_layers / 2)?;
    let row = ChannelRow { row: j, width: config.model_dim };
    Some((row, (config.num_layers / 2).checked_sub(j + 1)?))
}
