//! One token after another: each position is run once, and its keys and values are kept for those that follow.

use std::sync::{Mutex, PoisonError};

use super::buffer::Buffer;
use super::softmax::softmax;
use super::{CpuKernels, vectorized};
use crate::engine::network::{CONTEXT, Heads, Loaded, Memory};
use crate::engine::{EngineError, Precision, check, lanes};
use crate::model::{ModelConfig, Params, RopeTables};

/// A network that reads rows token by token, in single precision.
pub struct Decoder {
    network: Loaded<CpuKernels>,
}

impl Decoder {
    /// Prepares weights. How long rows are said to be ([`ModelConfig::in_rows_of`]) decides the rotary tables.
    pub fn new(config: &ModelConfig, weights: &Params) -> Result<Self, EngineError> {
        check::model(config, weights)?;
        let kernels = CpuKernels { precision: Precision::F32 };
        Ok(Decoder { network: Loaded::new(kernels, Precision::F32, config, weights)? })
    }

    /// Bytes of keys and values of one row of so many tokens.
    pub fn bytes_of_row(&self, length: usize) -> usize {
        let values = self.network.visits().saturating_mul(2 * self.network.config.kv_dim());
        values.saturating_mul(length).saturating_mul(size_of::<f32>())
    }

    /// Rows that are read side by side, of at most so many tokens each.
    pub fn rows(&self, rows: usize, longest: usize) -> Decoding<'_> {
        let tables = RopeTables::new(&self.network.config, longest);
        let values = longest.saturating_mul(self.network.config.kv_dim());
        let of_visit = |_| (0..rows).map(|_| Kept::for_values(values)).collect();
        let visits = (0..self.network.visits()).map(of_visit).collect();
        let memory = Cache { state: Mutex::new(CacheState { visits, next: 0 }) };
        Decoding { network: &self.network, tables, memory, contexts: vec![Vec::new(); rows], read: 0, longest }
    }
}

/// Rows in the middle of being read.
pub struct Decoding<'a> {
    network: &'a Loaded<CpuKernels>,
    tables: RopeTables,
    memory: Cache,
    /// The last tokens of each row.
    contexts: Vec<Vec<u16>>,
    read: usize,
    longest: usize,
}

impl Decoding<'_> {
    /// Reads one more token of every row; logits of what follows it, `[rows, vocabulary]`, softcapped. The same bits for any
    /// number of threads: all is run on the thread that asks. Nothing is read once rows are as long as was said.
    pub fn push(&mut self, tokens: &[u16]) -> Result<Vec<f32>, EngineError> {
        if tokens.len() != self.contexts.len() || self.read >= self.longest {
            return Ok(Vec::new());
        }
        for (context, &token) in self.contexts.iter_mut().zip(tokens) {
            if context.len() == CONTEXT {
                context.remove(0);
            }
            context.push(token);
        }
        let half = self.tables.half;
        let at = self.read * half..(self.read + 1) * half;
        let [cos, sin] = [&self.tables.cos, &self.tables.sin].map(|table| table[at.clone()].to_vec());
        self.memory.begin();
        let logits = self.network.step(
            &self.contexts.concat(),
            self.contexts.len(),
            &RopeTables { cos, sin, half },
            &self.memory,
        )?;
        self.read += 1;
        Ok(logits)
    }
}

/// Keys and values of the positions so far, `[positions, kv heads * width]` each.
struct Kept {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Kept {
    /// Room for so many keys and values: what grows by doubling takes up to twice as much.
    fn for_values(values: usize) -> Self {
        Kept { keys: Vec::with_capacity(values), values: Vec::with_capacity(values) }
    }
}

struct Cache {
    state: Mutex<CacheState>,
}

struct CacheState {
    /// By visit and row.
    visits: Vec<Vec<Kept>>,
    /// The next visit.
    next: usize,
}

impl Cache {
    fn begin(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).next = 0;
    }
}

impl Memory<Buffer> for Cache {
    fn attend(&self, heads: Heads, [q, k, v]: [&Buffer; 3]) -> Buffer {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let visit = state.next;
        state.next += 1;
        let mut mixed = Buffer::zeros(q.len());
        let Some(rows) = state.visits.get_mut(visit) else { return mixed };
        let (width, kv_width) = (heads.heads * heads.width, heads.kv_heads * heads.width);
        let new = k.chunks_exact(kv_width).zip(v.chunks_exact(kv_width));
        for (((kept, (key, value)), query), out) in
            rows.iter_mut().zip(new).zip(q.chunks_exact(width)).zip(mixed.chunks_exact_mut(width))
        {
            kept.keys.extend_from_slice(key);
            kept.values.extend_from_slice(value);
            attend(heads, kept, query, out);
        }
        mixed
    }
}

/// One query of every head against all positions kept. `out` is zero.
fn attend(heads: Heads, kept: &Kept, query: &[f32], out: &mut [f32]) {
    let (width, kv_width, group) = (heads.width, heads.kv_heads * heads.width, heads.heads / heads.kv_heads);
    let scale = heads.score_scale();
    let mut weights = vec![0.0; kept.keys.len() / kv_width];
    for (head, (query, out)) in query.chunks_exact(width).zip(out.chunks_exact_mut(width)).enumerate() {
        let from = head / group * width;
        let at = |position: usize| position * kv_width + from..position * kv_width + from + width;
        vectorized(
            #[inline(always)]
            || {
                for (position, weight) in weights.iter_mut().enumerate() {
                    *weight = scale * lanes::dot(query, &kept.keys[at(position)]);
                }
                let seen = weights.len();
                softmax(&mut weights, seen);
                for (position, &weight) in weights.iter().enumerate() {
                    for (out, &value) in out.iter_mut().zip(&kept.values[at(position)]) {
                        *out += weight * value;
                    }
                }
            },
        );
    }
}
