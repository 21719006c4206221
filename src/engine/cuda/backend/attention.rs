//! Attention: which kernel, how many blocks. Heads that tensor cores can have go to [`attention_bf16`].

use super::launch::{at, len32};
use super::{CudaKernels, attention_bf16};
use crate::engine::cuda::device::{Argument, DType, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::Heads;

/// Threads of a row of an attention tile (`THREADS_A_ROW` in `attention.cu`).
const THREADS_A_ROW: usize = 8;

/// Kernels of the forward pass, of queries' gradients and of keys' and values', for either kind of values.
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

/// Rows of the batch.
fn rows<D: Device>(heads: Heads, k: &Buffer<D>) -> usize {
    k.len() / (heads.seq_len * heads.kv_heads * heads.width)
}

pub(super) fn attention<D: Device>(
    kernels: &CudaKernels<D>,
    heads: Heads,
    [q, k, v]: [&Buffer<D>; 3],
) -> (Buffer<D>, Buffer<D>) {
    let (mixed, lse) = (kernels.like(q), Buffer::unset(&kernels.shared, q.len() / heads.width));
    if q.dtype() == DType::Bf16 && attention_bf16::takes(heads.width) {
        let (qkv, outputs) = ([q, k, v].map(Buffer::address), [&mixed, &lse].map(Buffer::address));
        attention_bf16::attention(kernels, heads, rows(heads, k), qkv, outputs);
        return (mixed, lse);
    }
    let (tile, [kernel, ..]) = attention_for(heads.width);
    let arguments = [
        at(q),
        at(k),
        at(v),
        at(&mixed),
        at(&lse),
        len32(heads.seq_len),
        len32(heads.first_query),
        len32(heads.heads),
        len32(heads.kv_heads),
        len32(heads.width),
        Argument::F32(heads.score_scale()),
    ];
    let blocks = heads.queries().div_ceil(tile) * heads.heads * rows(heads, k);
    kernels.launch(q.dtype().select(kernel), [blocks, 1], (tile * THREADS_A_ROW) as u32, &arguments);
    (mixed, lse)
}

pub(super) fn attention_grad<D: Device>(
    kernels: &CudaKernels<D>,
    heads: Heads,
    [q, k, v]: [&Buffer<D>; 3],
    [mixed, lse]: [&Buffer<D>; 2],
    grad: &Buffer<D>,
) -> [Buffer<D>; 3] {
    let rows = rows(heads, k);
    let grads = [q, k, v].map(|x| kernels.like(x));
    if q.dtype() == DType::Bf16 && attention_bf16::takes(heads.width) {
        let (qkv, outputs) = ([q, k, v].map(Buffer::address), [mixed, lse].map(Buffer::address));
        let written = grads.each_ref().map(Buffer::address);
        attention_bf16::attention_grad(kernels, heads, rows, qkv, outputs, grad.address(), written);
        return grads;
    }
    let (tile, [_, by_queries, by_keys]) = attention_for(heads.width);
    let mean = Buffer::unset(&kernels.shared, lse.len());
    kernels.rows(
        mixed.dtype().select(["row_dots", "row_dots_bf16"]),
        mean.len(),
        &[at(mixed), at(grad), at(&mean), len32(heads.width)],
    );
    let inputs = [at(q), at(k), at(v), at(lse), at(&mean), at(grad)];
    let dims = [len32(heads.seq_len), len32(heads.heads), len32(heads.kv_heads), len32(heads.width)];
    let blocks = |heads_of_them: usize| [heads.seq_len.div_ceil(tile) * heads_of_them * rows, 1];
    let threads = (tile * THREADS_A_ROW) as u32;
    let [grad_q, grad_k, grad_v] = &grads;
    let arguments = [&inputs[..], &[at(grad_q)], &dims, &[Argument::F32(heads.score_scale())]].concat();
    kernels.launch(q.dtype().select(by_queries), blocks(heads.heads), threads, &arguments);
    let arguments = [&inputs[..], &[at(grad_k), at(grad_v)], &dims, &[Argument::F32(heads.score_scale())]].concat();
    kernels.launch(q.dtype().select(by_keys), blocks(heads.kv_heads), threads, &arguments);
    grads
}
