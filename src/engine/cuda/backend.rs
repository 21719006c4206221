//! The network's operations as kernel launches.

use std::sync::Arc;

use super::device::{Argument, Device, DeviceError, Launch, Product};
use super::memory::{Buffer, Shared};
use crate::engine::Precision;
use crate::engine::kernels::{ChannelRow, Heads, Kernels, Linear, Prepare, Store};
use crate::model::RopeTables;

/// Threads of a block where nothing asks for another number.
const THREADS: u32 = 256;
/// Threads of a block that has a column each (`columns.cu`, `scatter`).
const COLUMN_THREADS: usize = 128;
/// Rows summed in one go (`ROWS_A_CHUNK` in `common.cu`).
const ROWS_A_CHUNK: usize = 64;
/// Columns of a block of `column_sums`, threads of a warp.
const WARP: usize = 32;
/// Threads of a row of an attention tile (`THREADS_A_ROW` in `attention.cu`).
const THREADS_A_ROW: usize = 8;
/// Most logits that exist at once: 256 MiB of them.
const LOGITS_AT_ONCE: usize = 1 << 26;

/// Attention kernels by the widest head they take, with the rows of their tiles.
const ATTENTION: [(usize, usize, [&str; 3]); 3] = [
    (32, 32, ["attention_32", "attention_grad_q_32", "attention_grad_kv_32"]),
    (64, 32, ["attention_64", "attention_grad_q_64", "attention_grad_kv_64"]),
    (128, 16, ["attention_128", "attention_grad_q_128", "attention_grad_kv_128"]),
];

/// Widest head there is a kernel for.
pub(super) const WIDEST_HEAD: usize = 128;

/// A device running the kernels of `src/engine/cuda/kernels`.
pub(super) struct CudaKernels<D: Device> {
    shared: Arc<Shared<D>>,
    /// What values are rounded to after every operation of the forward pass.
    precision: Precision,
}

impl<D: Device> Clone for CudaKernels<D> {
    fn clone(&self) -> Self {
        CudaKernels { shared: Arc::clone(&self.shared), precision: self.precision }
    }
}

/// Cosines and sines on the device.
pub(super) struct Tables<D: Device> {
    cos: Buffer<D>,
    sin: Buffer<D>,
}

fn len32(value: usize) -> Argument {
    Argument::U32(value as u32)
}

fn len64(value: usize) -> Argument {
    Argument::U64(value as u64)
}

fn at<D: Device>(buffer: &Buffer<D>) -> Argument {
    Argument::Address(buffer.address())
}

/// The address of one of a buffer's values.
fn offset<D: Device>(buffer: &Buffer<D>, values: usize) -> u64 {
    buffer.address() + (values * size_of::<f32>()) as u64
}

fn bits(ids: &[usize]) -> Vec<u32> {
    ids.iter().map(|&id| id as u32).collect()
}

impl<D: Device> CudaKernels<D> {
    pub fn new(device: Arc<D>, precision: Precision) -> Self {
        CudaKernels { shared: Arc::new(Shared::new(device)), precision }
    }

    /// What scorers round to.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The same device without rounding.
    pub fn in_single_precision(&self) -> Self {
        CudaKernels { precision: Precision::F32, ..self.clone() }
    }

    /// Whether everything asked of the device so far has been done.
    pub fn check(&self) -> Result<(), DeviceError> {
        self.shared.check()
    }

    fn launch(&self, kernel: &'static str, grid: [usize; 2], threads: u32, arguments: &[Argument]) {
        if grid.contains(&0) {
            return;
        }
        let launch = Launch { kernel, grid: grid.map(|side| side as u32), threads, arguments };
        // SAFETY: each caller below gives a kernel the arguments its source declares (tests check number and types),
        // and buffers of the lengths it indexes. Buffers freed after a launch are reused by later launches only.
        self.shared.run(|device| unsafe { device.launch(&launch) });
    }

    /// One thread a value; the count goes last.
    fn each(&self, kernel: &'static str, n: usize, arguments: &[Argument]) {
        let arguments = [arguments, &[len64(n)]].concat();
        self.launch(kernel, [n.div_ceil(THREADS as usize), 1], THREADS, &arguments);
    }

    /// One warp a row; the count goes last.
    fn rows(&self, kernel: &'static str, rows: usize, arguments: &[Argument]) {
        let arguments = [arguments, &[len64(rows)]].concat();
        self.launch(kernel, [rows.div_ceil(THREADS as usize / WARP), 1], THREADS, &arguments);
    }

    /// Runs the first pass of a sum down columns and adds the chunks' sums to `out` at an offset in values.
    ///
    /// `arguments` come before the partial sums' address, `after` behind it; `threads_for` columns have a thread each.
    #[allow(clippy::too_many_arguments)]
    fn columns(
        &self,
        kernel: &'static str,
        rows: usize,
        threads_for: usize,
        columns: usize,
        before: &[Argument],
        after: &[Argument],
        out: u64,
    ) {
        let chunks = rows.div_ceil(ROWS_A_CHUNK);
        let partial = Buffer::unset(&self.shared, chunks * columns);
        let arguments = [before, &[at(&partial)], after, &[len64(rows)]].concat();
        self.launch(kernel, [chunks, threads_for.div_ceil(COLUMN_THREADS)], COLUMN_THREADS as u32, &arguments);
        let arguments = [at(&partial), Argument::Address(out), len32(columns), len32(chunks)];
        self.launch("column_sums", [columns.div_ceil(WARP), 1], THREADS, &arguments);
    }

    fn product(&self, product: Product) {
        if product.rows * product.columns == 0 {
            return;
        }
        // SAFETY: callers give the addresses of buffers of the sides they state, and never one of the factors as `out`.
        self.shared.run(|device| unsafe { device.product(&product) });
    }

    fn round(&self, x: &Buffer<D>) {
        if self.precision == Precision::Bf16 {
            self.each("round_bf16", x.len(), &[at(x)]);
        }
    }

    fn rounded(&self, x: Buffer<D>) -> Buffer<D> {
        self.round(&x);
        x
    }

    fn like(&self, x: &Buffer<D>) -> Buffer<D> {
        Buffer::unset(&self.shared, x.len())
    }

    fn is_rounding(&self) -> Argument {
        Argument::U32(u32::from(self.precision == Precision::Bf16))
    }

    /// `x W^T / cap` for some tokens.
    fn products(&self, s: Linear, tokens: std::ops::Range<usize>, x: &Buffer<D>, head: &Buffer<D>, cap: f32, z: u64) {
        self.product(Product {
            rows: tokens.len(),
            columns: s.outputs,
            inner: s.inputs,
            a_transposed: false,
            b_transposed: true,
            factor: 1.0 / cap,
            store: Store::Replace,
            a: offset(x, tokens.start * s.inputs),
            b: head.address(),
            out: z,
        });
    }

    /// Tokens in pieces whose logits exist together.
    fn pieces(s: Linear) -> impl Iterator<Item = std::ops::Range<usize>> {
        let piece = (LOGITS_AT_ONCE / s.outputs.max(1)).max(1);
        (0..s.tokens).step_by(piece).map(move |start| start..(start + piece).min(s.tokens))
    }

    fn targets(&self, targets: &[u16]) -> Buffer<D> {
        Buffer::of_bits(&self.shared, &targets.iter().map(|&id| u32::from(id)).collect::<Vec<_>>())
    }
}

/// Kernels for heads of that width, and the rows of their tiles. The engine refuses wider ones than there are.
fn attention_for(width: usize) -> (usize, [&'static str; 3]) {
    let [.., widest] = ATTENTION;
    let (_, tile, names) = ATTENTION.into_iter().find(|&(widest, ..)| width <= widest).unwrap_or(widest);
    (tile, names)
}

/// `1 / sqrt(width)`.
fn score_scale(heads: Heads) -> Argument {
    Argument::F32(1.0 / (heads.width as f32).sqrt())
}

impl<D: Device> Kernels for CudaKernels<D> {
    type Buffer = Buffer<D>;
    type Tables = Tables<D>;

    fn zeros(&self, len: usize) -> Buffer<D> {
        let buffer = Buffer::unset(&self.shared, len);
        self.shared.run(|device| device.clear(buffer.address(), buffer.bytes()));
        buffer
    }

    fn unset(&self, len: usize) -> Buffer<D> {
        Buffer::unset(&self.shared, len)
    }

    fn upload(&self, values: &[f32]) -> Buffer<D> {
        Buffer::of_bits(&self.shared, &values.iter().map(|value| value.to_bits()).collect::<Vec<_>>())
    }

    fn download(&self, buffer: Buffer<D>) -> Vec<f32> {
        let mut values = vec![0.0; buffer.len()];
        self.shared.run(|device| device.read(buffer.address(), &mut values));
        values
    }

    fn rope_tables(&self, tables: &RopeTables) -> Tables<D> {
        let table = |values: &[f32]| self.rounded(self.upload(values));
        Tables { cos: table(&tables.cos), sin: table(&tables.sin) }
    }

    fn tails(&self, x: &Buffer<D>, row: usize, keep: usize) -> Buffer<D> {
        let y = self.unset(x.len() / row * keep);
        self.each("tails", y.len(), &[at(x), at(&y), len64(row), len64(keep)]);
        y
    }

    fn copy(&self, x: &Buffer<D>) -> Buffer<D> {
        let y = self.like(x);
        self.shared.run(|device| device.copy(x.address(), y.address(), x.bytes()));
        y
    }

    fn add(&self, x: &Buffer<D>, sum: &mut Buffer<D>) {
        self.each("add", sum.len(), &[at(x), at(sum)]);
        self.round(sum);
    }

    fn gather(&self, table: &Buffer<D>, ids: &[usize], width: usize) -> Buffer<D> {
        let (ids, y) = (Buffer::of_bits(&self.shared, &bits(ids)), self.unset(ids.len() * width));
        self.each("gather", y.len(), &[at(table), at(&ids), at(&y), len32(width)]);
        y
    }

    /// Rows of one table row are added in the order of their positions, as on the CPU.
    fn scatter(&self, grad: &Buffer<D>, ids: &[usize], width: usize, grad_table: &mut Buffer<D>) {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&position| ids.get(position));
        let (mut rows, mut starts) = (Vec::new(), Vec::new());
        for (i, id) in order.iter().map(|&position| ids[position]).enumerate() {
            if rows.last() != Some(&id) {
                rows.push(id);
                starts.push(i);
            }
        }
        starts.push(ids.len());
        let upload = |values: &[usize]| Buffer::of_bits(&self.shared, &bits(values));
        let (order, starts, table_rows) = (upload(&order), upload(&starts), upload(&rows));
        let arguments = [at(grad), at(&order), at(&starts), at(&table_rows), at(grad_table), len32(width)];
        self.launch("scatter", [rows.len(), width.div_ceil(COLUMN_THREADS)], COLUMN_THREADS as u32, &arguments);
    }

    fn linear(&self, s: Linear, x: &Buffer<D>, w: &Buffer<D>, store: Store, y: &mut Buffer<D>) {
        self.product(Product {
            rows: s.tokens,
            columns: s.outputs,
            inner: s.inputs,
            a_transposed: false,
            b_transposed: true,
            factor: 1.0,
            store,
            a: x.address(),
            b: w.address(),
            out: y.address(),
        });
        self.round(y);
    }

    fn linear_grad_x(&self, s: Linear, grad_y: &Buffer<D>, w: &Buffer<D>, store: Store, grad_x: &mut Buffer<D>) {
        self.product(Product {
            rows: s.tokens,
            columns: s.inputs,
            inner: s.outputs,
            a_transposed: false,
            b_transposed: false,
            factor: 1.0,
            store,
            a: grad_y.address(),
            b: w.address(),
            out: grad_x.address(),
        });
    }

    fn linear_grad_w(&self, s: Linear, grad_y: &Buffer<D>, x: &Buffer<D>, grad_w: &mut Buffer<D>) {
        self.product(Product {
            rows: s.outputs,
            columns: s.inputs,
            inner: s.tokens,
            a_transposed: true,
            b_transposed: false,
            factor: 1.0,
            store: Store::Add,
            a: grad_y.address(),
            b: x.address(),
            out: grad_w.address(),
        });
    }

    fn rms_norm(&self, x: &Buffer<D>, width: usize) -> Buffer<D> {
        let y = self.like(x);
        self.rows("rms_norm", x.len() / width, &[at(x), at(&y), len32(width)]);
        self.rounded(y)
    }

    fn rms_norm_grad(&self, x: &Buffer<D>, grad_y: &Buffer<D>, width: usize, grad_x: &mut Buffer<D>) {
        self.rows("rms_norm_grad", x.len() / width, &[at(x), at(grad_y), at(grad_x), len32(width)]);
    }

    fn smear(&self, a: &Buffer<D>, gate: &Buffer<D>, seq_len: usize) -> Buffer<D> {
        let y = self.like(a);
        self.each("smear", a.len(), &[at(a), at(gate), at(&y), len32(gate.len()), len32(seq_len)]);
        self.rounded(y)
    }

    fn smear_grad(
        &self,
        a: &Buffer<D>,
        gate: &Buffer<D>,
        seq_len: usize,
        grad_y: &Buffer<D>,
        grad_a: &mut Buffer<D>,
        grad_gate: &mut Buffer<D>,
    ) {
        let width = gate.len();
        let before = [at(a), at(gate), at(grad_y), at(grad_a)];
        let after = [len32(width), len32(seq_len)];
        let sum = self.zeros(width);
        self.columns("smear_grad", a.len() / width, width, width, &before, &after, sum.address());
        self.each("smear_gate_grad", width, &[at(&sum), at(gate), at(grad_gate)]);
    }

    fn mix(&self, x: &Buffer<D>, x0: &Buffer<D>, mix: &Buffer<D>) -> Buffer<D> {
        let y = self.like(x);
        self.each("mix", x.len(), &[at(x), at(x0), at(mix), at(&y), len32(mix.len() / 2)]);
        self.rounded(y)
    }

    fn mix_grad(
        &self,
        x: &Buffer<D>,
        x0: &Buffer<D>,
        mix: &Buffer<D>,
        grad: &mut Buffer<D>,
        grad_x0: &mut Buffer<D>,
        grad_mix: &mut Buffer<D>,
    ) {
        let width = mix.len() / 2;
        let before = [at(x), at(x0), at(mix), at(grad), at(grad_x0)];
        self.columns("mix_grad", x.len() / width, width, 2 * width, &before, &[len32(width)], grad_mix.address());
    }

    fn add_skip(&self, skip: &Buffer<D>, weights: &Buffer<D>, row: ChannelRow, x: &mut Buffer<D>) {
        let weights = Argument::Address(offset(weights, row.range().start));
        self.each("add_skip", x.len(), &[at(skip), weights, at(x), len32(row.width)]);
        self.round(x);
    }

    fn add_skip_grad(
        &self,
        skip: &Buffer<D>,
        weights: &Buffer<D>,
        row: ChannelRow,
        grad_x: &Buffer<D>,
        grad_skip: &mut Buffer<D>,
        grad_weights: &mut Buffer<D>,
    ) {
        let (width, start) = (row.width, row.range().start);
        let before = [at(skip), Argument::Address(offset(weights, start)), at(grad_x), at(grad_skip)];
        let (rows, out) = (skip.len() / width, offset(grad_weights, start));
        self.columns("add_skip_grad", rows, width, width, &before, &[len32(width)], out);
    }

    fn prepare(&self, x: &Buffer<D>, shape: Prepare<'_, Self>) -> Buffer<D> {
        let y = self.like(x);
        let gain = Argument::Address(shape.gain.map_or(0, Buffer::address));
        let arguments = [
            at(x),
            at(&y),
            at(&shape.tables.cos),
            at(&shape.tables.sin),
            gain,
            len32(shape.heads),
            len32(shape.width),
            len32(shape.tokens_per_row),
            len32(shape.first),
        ];
        self.rows("prepare", x.len() / shape.width, &arguments);
        self.rounded(y)
    }

    fn prepare_grad(
        &self,
        x: &Buffer<D>,
        shape: Prepare<'_, Self>,
        grad_y: &Buffer<D>,
        grad_x: &mut Buffer<D>,
        grad_gain: Option<&mut Buffer<D>>,
    ) {
        let rows = x.len() / shape.width;
        let terms = grad_gain.is_some().then(|| self.unset(rows));
        let arguments = [
            at(x),
            at(grad_y),
            at(grad_x),
            Argument::Address(terms.as_ref().map_or(0, Buffer::address)),
            at(&shape.tables.cos),
            at(&shape.tables.sin),
            Argument::Address(shape.gain.map_or(0, Buffer::address)),
            len32(shape.heads),
            len32(shape.width),
            len32(shape.tokens_per_row),
            len32(shape.first),
        ];
        self.rows("prepare_grad", rows, &arguments);
        if let (Some(terms), Some(grad_gain)) = (terms, grad_gain) {
            let (heads, out) = (shape.heads, grad_gain.address());
            self.columns("column_partials", rows / heads, heads, heads, &[at(&terms)], &[len32(heads)], out);
        }
    }

    fn attention(&self, heads: Heads, [q, k, v]: [&Buffer<D>; 3]) -> (Buffer<D>, Buffer<D>) {
        let (tile, [kernel, ..]) = attention_for(heads.width);
        let (mixed, log_sum) = (self.like(q), self.unset(q.len() / heads.width));
        let rows = k.len() / (heads.seq_len * heads.kv_heads * heads.width);
        let arguments = [
            at(q),
            at(k),
            at(v),
            at(&mixed),
            at(&log_sum),
            len32(heads.seq_len),
            len32(heads.first_query),
            len32(heads.heads),
            len32(heads.kv_heads),
            len32(heads.width),
            score_scale(heads),
        ];
        let blocks = heads.queries().div_ceil(tile) * heads.heads * rows;
        self.launch(kernel, [blocks, 1], (tile * THREADS_A_ROW) as u32, &arguments);
        (self.rounded(mixed), log_sum)
    }

    fn attention_grad(
        &self,
        heads: Heads,
        [q, k, v]: [&Buffer<D>; 3],
        [mixed, log_sum]: [&Buffer<D>; 2],
        grad: &Buffer<D>,
    ) -> [Buffer<D>; 3] {
        let (tile, [_, by_queries, by_keys]) = attention_for(heads.width);
        let rows = k.len() / (heads.seq_len * heads.kv_heads * heads.width);
        let (mean, grads) = (self.like(log_sum), [self.like(q), self.like(k), self.like(v)]);
        self.rows("row_dots", mean.len(), &[at(mixed), at(grad), at(&mean), len32(heads.width)]);
        let inputs = [at(q), at(k), at(v), at(log_sum), at(&mean), at(grad)];
        let sides = [len32(heads.seq_len), len32(heads.heads), len32(heads.kv_heads), len32(heads.width)];
        let blocks = |heads_of_them: usize| [heads.seq_len.div_ceil(tile) * heads_of_them * rows, 1];
        let threads = (tile * THREADS_A_ROW) as u32;
        let [grad_q, grad_k, grad_v] = &grads;
        let arguments = [&inputs[..], &[at(grad_q)], &sides, &[score_scale(heads)]].concat();
        self.launch(by_queries, blocks(heads.heads), threads, &arguments);
        let arguments = [&inputs[..], &[at(grad_k), at(grad_v)], &sides, &[score_scale(heads)]].concat();
        self.launch(by_keys, blocks(heads.kv_heads), threads, &arguments);
        grads
    }

    fn relu_squared(&self, x: &Buffer<D>) -> Buffer<D> {
        let y = self.like(x);
        self.each("relu_squared", x.len(), &[at(x), at(&y)]);
        self.rounded(y)
    }

    fn relu_squared_grad(&self, x: &Buffer<D>, grad: &mut Buffer<D>) {
        self.each("relu_squared_grad", x.len(), &[at(x), at(grad)]);
    }

    fn logits(&self, s: Linear, x: &Buffer<D>, head: &Buffer<D>, cap: f32) -> Buffer<D> {
        let z = self.unset(s.tokens * s.outputs);
        self.products(s, 0..s.tokens, x, head, cap, z.address());
        self.each("softcap", z.len(), &[at(&z), Argument::F32(cap), self.is_rounding()]);
        z
    }

    fn nll(&self, s: Linear, x: &Buffer<D>, head: &Buffer<D>, cap: f32, targets: &[u16]) -> Buffer<D> {
        let (targets, nll) = (self.targets(targets), self.unset(s.tokens));
        for piece in Self::pieces(s) {
            let z = self.unset(piece.len() * s.outputs);
            self.products(s, piece.clone(), x, head, cap, z.address());
            let (targets, out) = (offset(&targets, piece.start), offset(&nll, piece.start));
            let arguments = [
                at(&z),
                Argument::Address(targets),
                Argument::Address(out),
                len32(s.outputs),
                Argument::F32(cap),
                self.is_rounding(),
            ];
            self.rows("nll", piece.len(), &arguments);
        }
        nll
    }

    fn nll_grad(
        &self,
        s: Linear,
        x: &Buffer<D>,
        head: &Buffer<D>,
        cap: f32,
        targets: &[u16],
        weight: f32,
        grad_x: &mut Buffer<D>,
        grad_head: &mut Buffer<D>,
    ) -> Buffer<D> {
        let (targets, nll) = (self.targets(targets), self.unset(s.tokens));
        for piece in Self::pieces(s) {
            let z = self.unset(piece.len() * s.outputs);
            self.products(s, piece.clone(), x, head, cap, z.address());
            let (targets, out) = (offset(&targets, piece.start), offset(&nll, piece.start));
            let arguments = [
                at(&z),
                Argument::Address(targets),
                Argument::Address(out),
                len32(s.outputs),
                Argument::F32(cap),
                Argument::F32(weight),
            ];
            self.rows("nll_grad", piece.len(), &arguments);
            let sides = Product {
                rows: piece.len(),
                columns: s.inputs,
                inner: s.outputs,
                a_transposed: false,
                b_transposed: false,
                factor: 1.0,
                store: Store::Replace,
                a: z.address(),
                b: head.address(),
                out: offset(grad_x, piece.start * s.inputs),
            };
            self.product(sides);
            self.product(Product {
                rows: s.outputs,
                inner: piece.len(),
                a_transposed: true,
                store: Store::Add,
                b: offset(x, piece.start * s.inputs),
                out: grad_head.address(),
                ..sides
            });
        }
        nll
    }
}
