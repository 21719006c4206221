//! Attention of bfloat16 values by tensor cores: which kernel, how many blocks, how much shared memory.

use super::attention::{Lengths, check_heads};
use super::launch::{Operand, SPAN, in_view, len32, values};
use super::{CudaKernels, attention_wgmma};
use crate::engine::cuda::device::{DType, Device, Instruction};
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;
use crate::engine::network::Heads;

const F32: DType = DType::F32;
const BF16: DType = DType::Bf16;

/// Threads of a block (`ATTENTION_THREADS` in `attention_bf16_tiles.cu`).
const THREADS: u32 = 128;
/// Keys, or queries in the kernel by keys, of a tile (`TILE_KEYS`, `TILE_QUERIES`).
const TILE: usize = 64;
/// Tiles of a block's two stages, each of two kinds of rows.
const STAGED: usize = 2 * 2 * TILE;
/// Threads of a block of `tensor_attention_sums`, and of one of its queries.
const SUMS_THREADS: usize = 256;
const SUMS_THREADS_A_QUERY: usize = 8;

/// Kernels for heads up to a width, with the rows a block owns.
struct Compiled {
    width: usize,
    rows: usize,
    forward: &'static str,
    by_queries: &'static str,
    by_keys: &'static str,
}

/// Four warps of 32 rows, or of 16 where heads are so wide that more sums than that do not fit in registers.
const COMPILED: [Compiled; 3] = [
    Compiled {
        width: 32,
        rows: 128,
        forward: "tensor_attention_32",
        by_queries: "tensor_attention_grad_q_32",
        by_keys: "tensor_attention_grad_kv_32",
    },
    Compiled {
        width: 64,
        rows: 128,
        forward: "tensor_attention_64",
        by_queries: "tensor_attention_grad_q_64",
        by_keys: "tensor_attention_grad_kv_64",
    },
    Compiled {
        width: 128,
        rows: 64,
        forward: "tensor_attention_128",
        by_queries: "tensor_attention_grad_q_128",
        by_keys: "tensor_attention_grad_kv_128",
    },
];

impl Compiled {
    /// The narrowest kernels that take such heads.
    fn for_heads(width: usize) -> Compiled {
        let [.., widest] = COMPILED;
        COMPILED.into_iter().find(|compiled| width <= compiled.width).unwrap_or(widest)
    }

    /// Bytes of shared memory of so many rows of heads.
    fn shared_bytes(&self, rows: usize) -> usize {
        rows * self.width * size_of::<half::bf16>()
    }

    fn blocks(&self, tokens: usize, heads: usize, rows: usize) -> [usize; 2] {
        [tokens.div_ceil(self.rows) * heads * rows, 1]
    }
}

/// Whether there are kernels for heads of that width: whole spans, up to the widest compiled.
pub(in crate::engine::cuda) fn takes(width: usize) -> bool {
    let [.., widest] = COMPILED;
    (SPAN..=widest.width).contains(&width) && width.is_multiple_of(SPAN)
}

/// Attention of `rows` rows of the batch, for heads that [`takes`] says yes to.
///
/// Queries, keys and values (bfloat16, `[tokens, heads, width]`, from addresses that are multiples of 16), and what is
/// written: outputs (bfloat16, as the queries) and each query's logsumexp (single precision, `[queries, heads]`).
pub(in crate::engine::cuda) fn attention<D: Device>(
    kernels: &CudaKernels<D>,
    heads: Heads,
    rows: usize,
    [q, k, v]: [View<'_>; 3],
    [mixed, lse]: [View<'_>; 2],
) {
    if kernels.instruction == Instruction::Wgmma && attention_wgmma::takes(heads.width) {
        return attention_wgmma::attention(kernels, heads, rows, [q, k, v], [mixed, lse]);
    }
    let (compiled, lengths) = (Compiled::for_heads(heads.width), Lengths::new(heads, rows));
    check_heads(kernels, compiled.forward, heads, compiled.width);
    let dims = [heads.seq_len, heads.first_query, heads.heads, heads.kv_heads, heads.width].map(len32);
    let tensors = [
        in_view(q, BF16, lengths.queries),
        in_view(k, BF16, lengths.keys),
        in_view(v, BF16, lengths.keys),
        in_view(mixed, BF16, lengths.queries),
        in_view(lse, F32, lengths.lse),
    ];
    let operands = [&tensors[..], &dims, &[Operand::F32(heads.score_scale())]].concat();
    let grid = compiled.blocks(heads.queries(), heads.heads, rows);
    let shared_bytes = compiled.shared_bytes(compiled.rows + STAGED);
    // SAFETY: the kernel takes heads of this width (checked above), reads all queries, keys and values of the batch and
    // writes as many outputs as queries, and an `lse` for each head of a query; a block has its queries and two stages in
    // shared memory.
    unsafe { kernels.launch_with(compiled.forward, grid, THREADS, shared_bytes, &operands) };
}

/// Gradients of [`attention`] where all queries were computed (`first_query` is 0).
///
/// Queries, keys and values; what the forward pass wrote; the gradient of its outputs (bfloat16); and what is written:
/// gradients of queries, keys and values (bfloat16, of the same shapes).
pub(in crate::engine::cuda) fn attention_grad<D: Device>(
    kernels: &CudaKernels<D>,
    heads: Heads,
    rows: usize,
    [q, k, v]: [View<'_>; 3],
    [mixed, lse]: [View<'_>; 2],
    grad: View<'_>,
    [grad_q, grad_k, grad_v]: [View<'_>; 3],
) {
    let (compiled, lengths) = (Compiled::for_heads(heads.width), Lengths::new(heads, rows));
    check_heads(kernels, compiled.by_queries, heads, compiled.width);
    kernels.check_at_most(compiled.by_queries, "first query", heads.first_query, 0);
    let padded = heads.seq_len.next_multiple_of(TILE);
    let queries = rows * padded * heads.heads;
    // A shift and a delta for each query.
    let sums = Buffer::unset(&kernels.shared, 2 * queries);
    let sums = values(&sums, F32, 2 * queries);
    let grad = in_view(grad, BF16, lengths.queries);
    let dims = [heads.seq_len, padded, heads.heads].map(len32);
    let tensors = [in_view(mixed, BF16, lengths.queries), grad, in_view(lse, F32, lengths.lse), sums];
    let operands = [&tensors[..], &dims, &[len32(heads.width)]].concat();
    let blocks = queries * SUMS_THREADS_A_QUERY / SUMS_THREADS;
    // SAFETY: the kernel reads outputs, their gradients and `lse` of all queries, and writes two values for each query of
    // the padded rows, which its blocks cover exactly.
    unsafe { kernels.launch("tensor_attention_sums", [blocks, 1], SUMS_THREADS as u32, &operands) };

    let inputs =
        [in_view(q, BF16, lengths.queries), in_view(k, BF16, lengths.keys), in_view(v, BF16, lengths.keys), sums, grad];
    let more = [len32(heads.kv_heads), len32(heads.width), Operand::F32(heads.score_scale())];
    let grid = |heads_of_them: usize| compiled.blocks(heads.seq_len, heads_of_them, rows);
    let own_and_staged = compiled.shared_bytes(2 * compiled.rows + STAGED);
    let for_queries = [&inputs[..], &[in_view(grad_q, BF16, lengths.queries)], &dims, &more].concat();
    let written = [grad_k, grad_v].map(|grad| in_view(grad, BF16, lengths.keys));
    let for_keys = [&inputs[..], &written, &dims, &more].concat();
    // Each stage of queries has their shifts and deltas too.
    let with_sums = own_and_staged + 2 * 2 * TILE * size_of::<f32>();
    // SAFETY: as in `attention`; the first kernel writes a gradient for each query, the second one for each key and value.
    // A block has its own rows of two kinds and two stages in shared memory.
    unsafe {
        kernels.launch_with(compiled.by_queries, grid(heads.heads), THREADS, own_and_staged, &for_queries);
        kernels.launch_with(compiled.by_keys, grid(heads.kv_heads), THREADS, with_sums, &for_keys);
    }
}
