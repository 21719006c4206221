//! Attention: which kernel, how many blocks. Heads that tensor cores can have go to [`attention_bf16`].

use std::sync::Arc;

use super::launch::{Operand, len32, values};
use super::{CudaKernels, attention_bf16, norm};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{AttentionInputs, Heads, attention_inputs_grad_after};

/// Threads of a row of an attention tile (`THREADS_A_ROW` in `attention.cu`).
const THREADS_A_ROW: usize = 8;

/// Kernels of the forward pass, of queries' gradients and of keys' and values', for either type of values.
type Names = [[&'static str; 2]; 3];

/// Attention kernels by the widest head they take, with the rows of their tiles.
const ATTENTION: [(usize, usize, Names); 3] = [
    (
        32,
        32,
        [
            ["attention_32", "attention_32_bf16"],
            ["attention_grad_q_32", "attention_grad_q_32_bf16"],
            ["attention_grad_kv_32", "attention_grad_kv_32_bf16"],
        ],
    ),
    (
        64,
        32,
        [
            ["attention_64", "attention_64_bf16"],
            ["attention_grad_q_64", "attention_grad_q_64_bf16"],
            ["attention_grad_kv_64", "attention_grad_kv_64_bf16"],
        ],
    ),
    (
        128,
        16,
        [
            ["attention_128", "attention_128_bf16"],
            ["attention_grad_q_128", "attention_grad_q_128_bf16"],
            ["attention_grad_kv_128", "attention_grad_kv_128_bf16"],
        ],
    ),
];

/// Widest head there is a kernel for.
pub(in crate::engine::cuda) const WIDEST_HEAD: usize = 128;

/// Kernels for heads of that width, and the rows of their tiles. The engine refuses wider ones than there are.
fn attention_for(width: usize) -> (usize, Names) {
    let [.., widest] = ATTENTION;
    let (_, tile, names) = ATTENTION.into_iter().find(|&(widest, ..)| width <= widest).unwrap_or(widest);
    (tile, names)
}

/// Numbers of values of a batch of `rows` rows.
#[derive(Clone, Copy)]
pub(super) struct Lengths {
    /// Of queries, and of everything like them.
    pub queries: usize,
    /// Of keys, and of values.
    pub keys: usize,
    /// Of `lse`: one for each head of a query.
    pub lse: usize,
}

impl Lengths {
    pub fn new(heads: Heads, rows: usize) -> Self {
        let lse = rows * heads.seq_len.saturating_sub(heads.first_query) * heads.heads;
        Lengths { queries: lse * heads.width, keys: rows * heads.seq_len * heads.kv_heads * heads.width, lse }
    }
}

/// Keeps an error unless kernels for heads up to a width take these: whole groups of queries, and queries there are.
pub(super) fn check_heads<D: Device>(kernels: &CudaKernels<D>, operation: &'static str, heads: Heads, widest: usize) {
    let Heads { seq_len, heads: query_heads, kv_heads, width, first_query } = heads;
    kernels.check_at_most(operation, "width of a head", width, widest);
    kernels.check_at_most(operation, "first query", first_query, seq_len);
    kernels.check_at_most(operation, "heads beyond whole groups", query_heads % kv_heads.max(1), 0);
}

/// Rows of the batch.
fn rows<D: Device>(heads: Heads, k: &Buffer<D>) -> usize {
    k.len() / (heads.seq_len * heads.kv_heads * heads.width)
}

pub(super) fn attention<D: Device>(
    kernels: &CudaKernels<D>,
    heads: Heads,
    [q, k, v]: [&Buffer<D>; 3],
) -> (Buffer<D>, Buffer<D>) {
    check_heads(kernels, "attention", heads, WIDEST_HEAD);
    let (dtype, rows) = (q.dtype(), rows(heads, k));
    let (mixed, lse) = (kernels.like(q), Buffer::unset(&kernels.shared, q.len() / heads.width));
    if dtype == DType::Bf16 && attention_bf16::takes(heads.width) {
        let (qkv, outputs) = ([q, k, v].map(Buffer::view), [&mixed, &lse].map(Buffer::view));
        attention_bf16::attention(kernels, heads, rows, qkv, outputs);
        return (mixed, lse);
    }
    let (tile, [kernel, ..]) = attention_for(heads.width);
    let lengths = Lengths::new(heads, rows);
    let operands = [
        values(q, dtype, lengths.queries),
        values(k, dtype, lengths.keys),
        values(v, dtype, lengths.keys),
        values(&mixed, dtype, lengths.queries),
        values(&lse, DType::F32, lengths.lse),
        len32(heads.seq_len),
        len32(heads.first_query),
        len32(heads.heads),
        len32(heads.kv_heads),
        len32(heads.width),
        Operand::F32(heads.score_scale()),
    ];
    let blocks = heads.queries().div_ceil(tile) * heads.heads * rows;
    // SAFETY: the kernel takes heads of this width (checked above), reads all queries, keys and values of the batch and
    // writes as many outputs as queries, and an `lse` for each head of a query.
    unsafe { kernels.launch(dtype.select(kernel), [blocks, 1], (tile * THREADS_A_ROW) as u32, &operands) };
    (mixed, lse)
}

pub(super) fn attention_grad<D: Device>(
    kernels: &CudaKernels<D>,
    heads: Heads,
    [q, k, v]: [&Buffer<D>; 3],
    [mixed, lse]: [&Buffer<D>; 2],
    grad: &Buffer<D>,
) -> [Buffer<D>; 3] {
    check_heads(kernels, "attention_grad", heads, WIDEST_HEAD);
    kernels.check_at_most("attention_grad", "first query", heads.first_query, 0);
    let (dtype, rows) = (q.dtype(), rows(heads, k));
    let grads = [q, k, v].map(|x| kernels.like(x));
    if dtype == DType::Bf16 && attention_bf16::takes(heads.width) {
        let (qkv, outputs) = ([q, k, v].map(Buffer::view), [mixed, lse].map(Buffer::view));
        let written = grads.each_ref().map(Buffer::view);
        attention_bf16::attention_grad(kernels, heads, rows, qkv, outputs, grad.view(), written);
        return grads;
    }
    let (tile, [_, by_queries, by_keys]) = attention_for(heads.width);
    let lengths = Lengths::new(heads, rows);
    let delta = norm::row_dots(kernels, mixed, grad, heads.width);
    let inputs = [
        values(q, dtype, lengths.queries),
        values(k, dtype, lengths.keys),
        values(v, dtype, lengths.keys),
        values(lse, DType::F32, lengths.lse),
        values(&delta, DType::F32, lengths.lse),
        values(grad, dtype, lengths.queries),
    ];
    let dims = [heads.seq_len, heads.heads, heads.kv_heads, heads.width].map(len32);
    let rest = [&dims[..], &[Operand::F32(heads.score_scale())]].concat();
    let blocks = |heads_of_them: usize| [heads.seq_len.div_ceil(tile) * heads_of_them * rows, 1];
    let threads = (tile * THREADS_A_ROW) as u32;
    let [grad_q, grad_k, grad_v] = &grads;
    let [grad_q, grad_k, grad_v] = [(grad_q, lengths.queries), (grad_k, lengths.keys), (grad_v, lengths.keys)]
        .map(|(x, len)| values(x, dtype, len));
    let [for_queries, for_keys] =
        [&[grad_q][..], &[grad_k, grad_v]].map(|written| [&inputs[..], written, &rest].concat());
    // SAFETY: as in `attention`, where all queries were computed (checked above); the first kernel writes a gradient for each
    // query, the second one for each key and value.
    unsafe {
        kernels.launch(dtype.select(by_queries), blocks(heads.heads), threads, &for_queries);
        kernels.launch(dtype.select(by_keys), blocks(heads.kv_heads), threads, &for_keys);
    }
    grads
}

/// Where tensor cores have attention, the gradients of queries are rounded by the pass that reads them. Gradients lie side by
/// side where what they are the gradients of does.
pub(super) fn attention_inputs_grad<D: Device>(
    kernels: &CudaKernels<D>,
    heads: Heads,
    inputs: AttentionInputs<'_, CudaKernels<D>>,
    grad_gain: &mut Buffer<D>,
) -> [Buffer<D>; 3] {
    let AttentionInputs { projected, rotated, shapes: [q_shape, k_shape], outputs, grad, .. } = &inputs;
    let [query, key, value] = *projected;
    if kernels.dtype() != DType::Bf16 || !attention_bf16::takes(heads.width) {
        return attention_inputs_grad_after(kernels, heads, inputs, grad_gain);
    }
    let beside = Buffer::beside(*projected).and_then(|all| {
        let (widths, all) = ([heads.heads, heads.kv_heads, heads.kv_heads], Arc::new(kernels.like(all)));
        kernels.shared.keep(Buffer::side_by_side(&all, widths.map(|heads_of_them| heads_of_them * heads.width)))
    });
    let grads = beside.unwrap_or_else(|| [query, key, value].map(|x| kernels.like(x)));
    let [grad_query, grad_key, grad_value] = &grads;
    let grad_rotated = kernels.like(key);
    let [q, k] = rotated.each_ref().map(Buffer::view);
    let written = [grad_rotated.view(), grad_value.view()];
    let outputs = outputs.map(Buffer::view);
    let rows = rows(heads, key);
    let of_queries =
        attention_bf16::gradients(kernels, heads, rows, [q, k, value.view()], outputs, grad.view(), written);
    norm::query_norm_rope_grad(kernels, query, *q_shape, &of_queries, grad_query, Some(grad_gain));
    norm::qk_norm_rope_grad(kernels, key, *k_shape, &grad_rotated, grad_key, None);
    if let Some(own_value) = &inputs.own_value {
        kernels.add_views(own_value.view(), grad_value.view());
    }
    grads
}
