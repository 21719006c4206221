//! Attention of bfloat16 values by tensor cores: which kernel, how many blocks, how much shared memory.

use super::attention::{Lengths, check_heads};
use super::launch::{Operand, SPAN, in_rows, in_view, len32, values};
use super::{CudaKernels, attention_wgmma};
use crate::engine::cuda::device::{DType, Device, Instruction};
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;
use crate::engine::network::Heads;

const F32: DType = DType::F32;
const BF16: DType = DType::Bf16;

/// Threads of a block (`ATTENTION_THREADS` in `attention_bf16_tiles.cu`).
const THREADS: u32 = 128;
/// Keys of a tile (`TILE_KEYS`); rows of sums are padded to a multiple of it.
const TILE: usize = 64;
/// Tiles of a block's two stages, each of two kinds of rows.
const STAGED: usize = 2 * 2 * TILE;
/// Queries of a counter of turns (`TURN_QUERIES` in `attention_bf16_grad.cu`).
const TURN_QUERIES: usize = 32;
/// Threads of a block of `tensor_attention_sums`, and of one of its queries.
const SUMS_THREADS: usize = 256;
const SUMS_THREADS_A_QUERY: usize = 8;

/// Kernels for heads up to a width, with the rows a block owns, and the queries of a tile of the gradients' kernel.
struct Compiled {
    width: usize,
    rows: usize,
    queries: usize,
    forward: &'static str,
    gradients: &'static str,
}

/// Four warps of 32 rows, or of 16 where heads are so wide that more sums than that do not fit in registers.
const COMPILED: [Compiled; 3] = [
    Compiled {
        width: 32,
        rows: 128,
        queries: 64,
        forward: "tensor_attention_32",
        gradients: "tensor_attention_grad_32",
    },
    Compiled {
        width: 64,
        rows: 128,
        queries: 64,
        forward: "tensor_attention_64",
        gradients: "tensor_attention_grad_64",
    },
    Compiled {
        width: 128,
        rows: 64,
        queries: 32,
        forward: "tensor_attention_128",
        gradients: "tensor_attention_grad_128",
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

    /// Bytes of shared memory of a block of the gradients: keys and values, slopes, and two stages of queries, of their
    /// outputs' gradients, and of a shift and a delta each.
    fn shared_bytes_of_gradients(&self) -> usize {
        let sums = 2 * 2 * self.queries * size_of::<f32>();
        let slopes = self.rows * self.queries * size_of::<half::bf16>();
        self.shared_bytes(2 * self.rows + 2 * 2 * self.queries) + slopes + sums
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
/// Queries, keys and values (bfloat16, `[tokens, heads, width]`, from addresses that are multiples of 16; values may be
/// columns of a wider matrix, of a multiple of 8), and what is written: outputs (bfloat16, as the queries) and each query's
/// logsumexp (single precision, `[queries, heads]`).
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
    let compiled = Compiled::for_heads(heads.width);
    let operands = operands(kernels, (compiled.forward, compiled.width), heads, rows, [q, k, v], [mixed, lse]);
    let grid = compiled.blocks(heads.queries(), heads.heads, rows);
    let shared_bytes = compiled.shared_bytes(compiled.rows + STAGED);
    // SAFETY: the kernel takes heads of this width (checked above), reads all queries, keys and values of the batch and
    // writes as many outputs as queries, and an `lse` for each head of a query; a block has its queries and two stages in
    // shared memory.
    unsafe { kernels.launch_with(compiled.forward, grid, THREADS, shared_bytes, &operands) };
}

/// What a kernel of [`attention`] for heads up to a width takes; keeps an error where they are wider, or values do not begin
/// at whole spans.
pub(super) fn operands<'a, D: Device>(
    kernels: &CudaKernels<D>,
    (kernel, width): (&'static str, usize),
    heads: Heads,
    rows: usize,
    [q, k, v]: [View<'a>; 3],
    [mixed, lse]: [View<'a>; 2],
) -> Vec<Operand<'a>> {
    check_heads(kernels, kernel, heads, width);
    let lengths = Lengths::new(heads, rows);
    let v_stride = kernels.row_stride(kernel, v, heads.kv_heads * heads.width);
    kernels.check_at_most(kernel, "values of a row beyond whole spans", v_stride % SPAN, 0);
    let dims = [heads.seq_len, heads.first_query, heads.heads, heads.kv_heads, v_stride, heads.width].map(len32);
    let tensors = [
        in_view(q, BF16, lengths.queries),
        in_view(k, BF16, lengths.keys),
        in_rows(v, BF16, lengths.keys),
        in_view(mixed, BF16, lengths.queries),
        in_view(lse, F32, lengths.lse),
    ];
    [&tensors[..], &dims, &[Operand::F32(heads.score_scale())]].concat()
}

/// Gradients of queries as the kernel adds them up: in single precision, not scaled, padded, in the order of fragments
/// (`query_grads.cu`).
pub(super) struct QueryGrads<D: Device> {
    sums: Buffer<D>,
    /// Queries of a row, of which the last may be padding.
    padded: usize,
    /// Channels of a head, of which the last may be padding.
    tile_width: usize,
    scale: f32,
}

impl<D: Device> QueryGrads<D> {
    /// What kernels that read them take: the sums, their dimensions, and what they are multiplied by.
    pub fn operands(&self) -> (Operand<'_>, [Operand<'_>; 2], Operand<'_>) {
        let sums = values(&self.sums, F32, self.sums.len());
        (sums, [self.padded, self.tile_width].map(len32), Operand::F32(self.scale))
    }

    /// As bfloat16, of the shape of the queries.
    fn round(&self, kernels: &CudaKernels<D>, heads: Heads, grad_q: View<'_>) {
        let n = grad_q.len() / (heads.heads * heads.width) * (heads.heads * heads.width);
        let (sums, [padded, tile_width], scale) = self.operands();
        let [seq_len, query_heads, width] = [heads.seq_len, heads.heads, heads.width].map(len32);
        let operands = [sums, in_view(grad_q, BF16, n), seq_len, padded, query_heads, tile_width, width, scale];
        // SAFETY: the kernel reads the sums of all queries and writes as many values; spans are whole, since heads are.
        unsafe { kernels.spans("tensor_query_grads", n, &operands) };
    }
}

/// Gradients of [`attention`] where all queries were computed (`first_query` is 0).
///
/// Queries, keys and values; what the forward pass wrote; the gradient of its outputs (bfloat16); and what is written:
/// gradients of queries, keys and values (bfloat16, of the same shapes).
pub(in crate::engine::cuda) fn attention_grad<D: Device>(
    kernels: &CudaKernels<D>,
    heads: Heads,
    rows: usize,
    qkv: [View<'_>; 3],
    outputs: [View<'_>; 2],
    grad: View<'_>,
    [grad_q, grad_k, grad_v]: [View<'_>; 3],
) {
    gradients(kernels, heads, rows, qkv, outputs, grad, [grad_k, grad_v]).round(kernels, heads, grad_q);
}

/// The same, with the gradients of queries as they are added up. Values and their gradients may be columns of wider
/// matrices of one width.
pub(super) fn gradients<D: Device>(
    kernels: &CudaKernels<D>,
    heads: Heads,
    rows: usize,
    [q, k, v]: [View<'_>; 3],
    [mixed, lse]: [View<'_>; 2],
    grad: View<'_>,
    [grad_k, grad_v]: [View<'_>; 2],
) -> QueryGrads<D> {
    let (compiled, lengths) = (Compiled::for_heads(heads.width), Lengths::new(heads, rows));
    check_heads(kernels, compiled.gradients, heads, compiled.width);
    kernels.check_at_most(compiled.gradients, "first query", heads.first_query, 0);
    let [v_stride, grad_v_stride] =
        [v, grad_v].map(|x| kernels.row_stride(compiled.gradients, x, heads.kv_heads * heads.width));
    kernels.check_width(compiled.gradients, grad_v_stride, v_stride);
    kernels.check_at_most(compiled.gradients, "values of a row beyond whole spans", v_stride % SPAN, 0);
    let padded = heads.seq_len.next_multiple_of(TILE);
    let queries = rows * padded * heads.heads;
    // A shift and a delta for each query, a ticket, and a turn for some queries together.
    let (sums, turns) = (Buffer::unset(&kernels.shared, 2 * queries), 1 + queries / TURN_QUERIES);
    let counters = Buffer::unset(&kernels.shared, turns);
    let [sums, counters] = [values(&sums, F32, 2 * queries), values(&counters, F32, turns)];
    let grad = in_view(grad, BF16, lengths.queries);
    let dims = [heads.seq_len, padded, heads.heads].map(len32);
    let tensors = [in_view(mixed, BF16, lengths.queries), grad, in_view(lse, F32, lengths.lse), sums, counters];
    let operands = [&tensors[..], &dims, &[len32(heads.width)]].concat();
    let blocks = queries * SUMS_THREADS_A_QUERY / SUMS_THREADS;
    // SAFETY: the kernel reads outputs, their gradients and `lse` of all queries, and writes two values for each query of
    // the padded rows, which its blocks cover exactly, the ticket, and a turn for every 32 of them.
    unsafe { kernels.launch("tensor_attention_sums", [blocks, 1], SUMS_THREADS as u32, &operands) };

    let added = Buffer::unset(&kernels.shared, queries * compiled.width);
    let tensors = [
        in_view(q, BF16, lengths.queries),
        in_view(k, BF16, lengths.keys),
        in_rows(v, BF16, lengths.keys),
        sums,
        grad,
        counters,
        values(&added, F32, queries * compiled.width),
        in_view(grad_k, BF16, lengths.keys),
        in_rows(grad_v, BF16, lengths.keys),
    ];
    let more = [heads.kv_heads, v_stride, heads.width].map(len32);
    let scale = heads.score_scale();
    let operands = [&tensors[..], &dims, &more, &[Operand::F32(scale)]].concat();
    let grid = compiled.blocks(heads.seq_len, heads.kv_heads, rows);
    // SAFETY: as in `attention`; ticket and turns are zero, and there is a block for each tile of keys. Each writes the
    // gradients of its keys and values, and all together those of the padded queries, the first to come of each before it
    // is read.
    unsafe { kernels.launch_with(compiled.gradients, grid, THREADS, compiled.shared_bytes_of_gradients(), &operands) };
    QueryGrads { sums: added, padded, tile_width: compiled.width, scale }
}
