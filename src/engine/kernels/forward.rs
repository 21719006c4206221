//! The forward pass, recording or not.

use super::network::{Block, Network};
use super::traits::{ChannelRow, Heads, Kernels, Linear, Prepare, Store};
use crate::engine::Precision;
use crate::model::{ModelConfig, bigram_rows};

/// Some whole rows of a batch.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Rows<'a> {
    pub inputs: &'a [u16],
    pub seq_len: usize,
}

/// What a block keeps for its backward pass.
pub(in crate::engine) struct BlockRecord<B> {
    /// Input, after the skip.
    pub x: B,
    /// Queries, keys and values as their linears made them.
    pub q: B,
    pub k: B,
    pub v: B,
    pub mixed: B,
    pub log_sum: B,
    /// After attention.
    pub attended: B,
    /// Before the square.
    pub hidden: B,
}

/// What the forward pass keeps.
pub(in crate::engine) struct Record<B> {
    pub ids: Vec<usize>,
    pub bigram_rows: Vec<usize>,
    /// Table rows read.
    pub bigram: Option<B>,
    /// Before the first norm.
    pub embedded: B,
    pub x0: B,
    pub blocks: Vec<BlockRecord<B>>,
    /// Outputs of the encoder blocks.
    pub skips: Vec<B>,
    /// After the last block.
    pub last: B,
}

/// Runs the network on a device.
pub(in crate::engine) struct Forward<'a, K: Kernels> {
    pub k: &'a K,
    pub config: &'a ModelConfig,
    pub network: &'a Network<K::Buffer>,
    pub tables: &'a K::Tables,
}

impl<K: Kernels> Forward<'_, K> {
    /// The forward pass with everything the backward pass needs.
    pub fn record(&self, rows: Rows<'_>) -> Record<K::Buffer> {
        let (k, config) = (self.k, self.config);
        let (ids, bigram_rows, bigram, embedded, x0) = self.embed(rows);
        let mut x = k.copy(&x0);
        let (mut blocks, mut skips) = (Vec::new(), Vec::new());
        for (i, block) in self.network.blocks.iter().enumerate() {
            self.skip(i, &skips, &mut x);
            let input = x;
            let mut kept = None;
            x = self.block(block, &input, &x0, rows, 0, Some(&mut kept));
            if let Some((q, k, v, mixed, log_sum, attended, hidden)) = kept {
                blocks.push(BlockRecord { x: input, q, k, v, mixed, log_sum, attended, hidden });
            }
            if i < config.encoder_layers() {
                skips.push(k.copy(&x));
            }
        }
        Record { ids, bigram_rows, bigram, embedded, x0, blocks, skips, last: x }
    }

    /// Normalised activations of the positions from `first` on of every row, ready for the head.
    ///
    /// The last block's queries, its MLP and all that follows are computed for those positions alone; its keys
    /// and values for all.
    pub fn score(&self, rows: Rows<'_>, first: usize) -> K::Buffer {
        let (_, _, _, _, x0) = self.embed(rows);
        let mut x = self.k.copy(&x0);
        let mut skips = Vec::new();
        for (i, block) in self.network.blocks.iter().enumerate() {
            self.skip(i, &skips, &mut x);
            let first = if i + 1 == self.config.num_layers { first } else { 0 };
            x = self.block(block, &x, &x0, rows, first, None);
            if i < self.config.encoder_layers() {
                skips.push(self.k.copy(&x));
            }
        }
        self.k.rms_norm(&x, self.config.model_dim)
    }

    #[allow(clippy::type_complexity)]
    fn embed(&self, rows: Rows<'_>) -> (Vec<usize>, Vec<usize>, Option<K::Buffer>, K::Buffer, K::Buffer) {
        let (k, config) = (self.k, self.config);
        let ids: Vec<usize> = rows.inputs.iter().map(|&id| usize::from(id)).collect();
        let mut x = k.gather(&self.network.tok_emb, &ids, config.model_dim);
        let (mut hashed, mut read) = (Vec::new(), None);
        if let Some(bigram) = &self.network.bigram {
            hashed = rows.inputs.chunks(rows.seq_len).flat_map(|r| bigram_rows(r, config.bigram_vocab_size)).collect();
            let h = k.gather(&bigram.table, &hashed, config.bigram_dim);
            match &bigram.projection {
                Some(projection) => self.add(self.bigram_sides(rows), &h, projection, &bigram.scale, &mut x),
                None => k.add(&h, &mut x),
            }
            read = Some(h);
        }
        let normed = k.rms_norm(&x, config.model_dim);
        let x0 = k.smear(&normed, &self.network.smear_gate, rows.seq_len);
        (ids, hashed, read, x, x0)
    }

    /// Decoder block j adds the output of encoder block E - 1 - j, while there is one.
    fn skip(&self, block: usize, skips: &[K::Buffer], x: &mut K::Buffer) {
        if let Some((row, encoder)) = skip_of(self.config, block)
            && let Some(output) = skips.get(encoder)
        {
            self.k.add_skip(output, &self.network.skip_weights, row, x);
        }
    }

    #[allow(clippy::type_complexity)]
    fn block(
        &self,
        w: &Block<K::Buffer>,
        x: &K::Buffer,
        x0: &K::Buffer,
        rows: Rows<'_>,
        first: usize,
        keep: Option<&mut Option<(K::Buffer, K::Buffer, K::Buffer, K::Buffer, K::Buffer, K::Buffer, K::Buffer)>>,
    ) -> K::Buffer {
        let (k, c) = (self.k, self.config);
        let (dim, kv, hidden_width, tokens) = (c.model_dim, c.kv_dim(), c.mlp_hidden(), rows.inputs.len());
        let (row, kept) = (rows.seq_len, rows.seq_len - first);
        let queries = tokens / row * kept;
        let linear = |tokens, inputs, outputs, x: &K::Buffer, w: &K::Buffer| {
            let mut y = k.unset(tokens * outputs);
            k.linear(Linear { tokens, inputs, outputs }, x, w, Store::Replace, &mut y);
            y
        };

        let mut x = k.mix(x, x0, &w.resid_mix);
        let normed = k.rms_norm(&x, dim);
        let key = linear(tokens, dim, kv, &normed, &w.c_k);
        let value = linear(tokens, dim, kv, &normed, &w.c_v);
        let normed = if first > 0 { k.tails(&normed, row * dim, kept * dim) } else { normed };
        let query = linear(queries, dim, dim, &normed, &w.c_q);
        drop(normed);
        let heads = self.heads(rows, first);
        let prepared = [k.prepare(&query, self.prepare_q(w, heads)), k.prepare(&key, self.prepare_k(heads))];
        let (mixed, log_sum) = k.attention(heads, [&prepared[0], &prepared[1], &value]);
        drop(prepared);

        if first > 0 {
            x = k.tails(&x, row * dim, kept * dim);
        }
        let output = Linear { tokens: queries, inputs: dim, outputs: dim };
        self.add(output, &mixed, &w.attn_proj, &w.attn_scale, &mut x);
        let attended = keep.is_some().then(|| k.copy(&x));
        let hidden = linear(queries, dim, hidden_width, &k.rms_norm(&x, dim), &w.fc);
        let output = Linear { tokens: queries, inputs: hidden_width, outputs: dim };
        self.add(output, &k.relu_squared(&hidden), &w.mlp_proj, &w.mlp_scale, &mut x);
        if let (Some(keep), Some(attended)) = (keep, attended) {
            *keep = Some((query, key, value, mixed, log_sum, attended, hidden));
        }
        x
    }

    /// Adds a branch's output; its scale is in the matrix already, or is applied here.
    fn add(&self, sides: Linear, x: &K::Buffer, w: &K::Buffer, scale: &K::Buffer, y: &mut K::Buffer) {
        match self.k.precision() {
            Precision::F32 => self.k.linear(sides, x, w, Store::Add, y),
            Precision::Bf16 => self.k.add_linear(sides, x, w, scale, y),
        }
    }

    pub fn bigram_sides(&self, rows: Rows<'_>) -> Linear {
        Linear { tokens: rows.inputs.len(), inputs: self.config.bigram_dim, outputs: self.config.model_dim }
    }

    pub fn heads(&self, rows: Rows<'_>, first_query: usize) -> Heads {
        let (heads, kv_heads) = (self.config.num_heads, self.config.num_kv_heads);
        Heads { seq_len: rows.seq_len, heads, kv_heads, width: self.config.head_dim(), first_query }
    }

    pub fn prepare_q<'a>(&'a self, w: &'a Block<K::Buffer>, heads: Heads) -> Prepare<'a, K> {
        Prepare {
            heads: heads.heads,
            width: heads.width,
            tokens_per_row: heads.queries(),
            first: heads.first_query,
            gain: Some(&w.q_gain),
            tables: self.tables,
        }
    }

    pub fn prepare_k(&self, heads: Heads) -> Prepare<'_, K> {
        Prepare {
            heads: heads.kv_heads,
            width: heads.width,
            tokens_per_row: heads.seq_len,
            first: 0,
            gain: None,
            tables: self.tables,
        }
    }
}

/// Which skip enters a block: the row of `skip_weights` and the encoder block whose output is added.
pub(in crate::engine) fn skip_of(config: &ModelConfig, block: usize) -> Option<(ChannelRow, usize)> {
    let j = block.checked_sub(config.encoder_layers())?;
    let row = ChannelRow { row: j, width: config.model_dim };
    Some((row, config.encoder_layers().checked_sub(j + 1)?))
}
