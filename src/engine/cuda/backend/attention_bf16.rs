//! Attention of bfloat16 values by tensor cores: which kernel, how many blocks, how much shared memory.

use super::CudaKernels;
use super::launch::{SPAN, at, len32};
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::Heads;

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

fn addresses(addresses: &[u64]) -> impl Iterator<Item = Argument> {
    addresses.iter().map(|&address| Argument::Address(address))
}

/// Attention of `rows` rows of the batch, for heads that [`takes`] says yes to.
///
/// Device addresses: queries, keys and values (bfloat16, `[tokens, heads, width]`, multiples of 16), and what is
/// written: outputs (bfloat16, as the queries) and the natural logarithm of each softmax denominator (single precision,
/// `[queries, heads]`).
pub(in crate::engine::cuda) fn attention<D: Device>(
    kernels: &CudaKernels<D>,
    heads: Heads,
    rows: usize,
    qkv: [u64; 3],
    outputs: [u64; 2],
) {
    let compiled = Compiled::for_heads(heads.width);
    let dims = [heads.seq_len, heads.first_query, heads.heads, heads.kv_heads, heads.width].map(len32);
    let mut arguments: Vec<Argument> = addresses(&qkv).chain(addresses(&outputs)).chain(dims).collect();
    arguments.push(Argument::F32(heads.score_scale()));
    let grid = compiled.blocks(heads.queries(), heads.heads, rows);
    kernels.launch_with(compiled.forward, grid, THREADS, compiled.shared_bytes(compiled.rows + STAGED), &arguments);
}

/// Gradients of [`attention`] where all queries were computed (`first_query` is 0).
///
/// Device addresses: queries, keys and values; what the forward pass wrote; the gradient of its outputs (bfloat16); and
/// what is written: gradients of queries, keys and values (bfloat16, of the same shapes).
pub(in crate::engine::cuda) fn attention_grad<D: Device>(
    kernels: &CudaKernels<D>,
    heads: Heads,
    rows: usize,
    qkv: [u64; 3],
    [mixed, lse]: [u64; 2],
    grad: u64,
    [grad_q, grad_k, grad_v]: [u64; 3],
) {
    let compiled = Compiled::for_heads(heads.width);
    let padded = heads.seq_len.next_multiple_of(TILE);
    let queries = rows * padded * heads.heads;
    // A shift and a mean for each query.
    let sums = Buffer::unset(&kernels.shared, 2 * queries);
    let dims = [heads.seq_len, padded, heads.heads].map(len32);
    let arguments: Vec<Argument> =
        addresses(&[mixed, grad, lse]).chain([at(&sums)]).chain(dims).chain([len32(heads.width)]).collect();
    let blocks = queries * SUMS_THREADS_A_QUERY / SUMS_THREADS;
    kernels.launch("tensor_attention_sums", [blocks, 1], SUMS_THREADS as u32, &arguments);

    let launch = |kernel, tokens_heads: usize, shared_rows: usize, more_bytes: usize, written: &[u64]| {
        let arguments: Vec<Argument> = addresses(&qkv)
            .chain([at(&sums), Argument::Address(grad)])
            .chain(addresses(written))
            .chain(dims)
            .chain([len32(heads.kv_heads), len32(heads.width), Argument::F32(heads.score_scale())])
            .collect();
        let grid = compiled.blocks(heads.seq_len, tokens_heads, rows);
        let shared_bytes = compiled.shared_bytes(shared_rows) + more_bytes;
        kernels.launch_with(kernel, grid, THREADS, shared_bytes, &arguments);
    };
    let own_and_staged = 2 * compiled.rows + STAGED;
    launch(compiled.by_queries, heads.heads, own_and_staged, 0, &[grad_q]);
    // Each stage of queries has their shifts and means too.
    let sums_bytes = 2 * 2 * TILE * size_of::<f32>();
    launch(compiled.by_keys, heads.kv_heads, own_and_staged, sums_bytes, &[grad_k, grad_v]);
}
