// Products of bfloat16 matrices on tensor cores, and what follows a product done while its values are at hand.
//
// A block makes tiles of 128 rows and 128 or 256 columns, one after another along a strip of columns. Each of its warps
// has 64 x 64 sums of a tile: 128 registers of a thread, beside 64 for the fragments that are multiplied and those that
// are loaded meanwhile. The rest fits into the 255 a thread may have: ptxas of NVRTC 13.0 takes 234 to 255 for sm_90 and
// sm_100 and spills none. So a multiprocessor holds eight warps, one wide block or two narrow ones.
// Both factors come through shared memory in stages of 32 inner values, four of them: while one is multiplied the next
// three are on their way, at the end of a tile those of the next tile, so that only a strip's first tile waits.
//
// Each sum runs over the inner values in order, sixteen at a time, wherever its row lies and whatever the tile's width.
//
// Stages and fragments are in gemm_bf16_tiles.cu, what follows a product in gemm_bf16_epilogue.cu.

// What a block makes: the rows from `top`, the columns from `first` to `columns_end`, tile by tile, of sums over the inner
// values from `start` to `end`.
struct Strip {
    u32 top, first, columns_end, start, end;
};

template <u32 COLUMNS>
static __device__ Strip own_strip(const Gemm& p) {
    const u32 strips = (p.n + p.strip * COLUMNS - 1) / (p.strip * COLUMNS);
    const u32 tile_rows = (p.m + GEMM_ROWS - 1) / GEMM_ROWS;
    const u32 group = blockIdx.x / (GEMM_GROUP * strips), in_group = blockIdx.x % (GEMM_GROUP * strips);
    const u32 left = tile_rows - group * GEMM_GROUP, height = left < GEMM_GROUP ? left : GEMM_GROUP;
    Strip own;
    own.top = (group * GEMM_GROUP + in_group % height) * GEMM_ROWS;
    own.first = in_group / height * p.strip * COLUMNS;
    own.columns_end = p.n - own.first < p.strip * COLUMNS ? p.n : own.first + p.strip * COLUMNS;
    own.start = p.part < p.k ? blockIdx.y * p.part : 0;
    own.end = p.k - own.start < p.part ? p.k : own.start + p.part;
    return own;
}

// Row y of the grid makes the y-th product of a batch, or where `part` is less than k the y-th part of the sums of one.
template <bool A_ALONG, bool B_ALONG, u32 COLUMNS, bool ALIGNED>
static __device__ void gemm_tiles(const Gemm& p, const Factor& a, const Factor& b) {
    const u32 threads = COLUMNS / 64 * 2 * WARP, a_values = GEMM_ROWS * GEMM_STEP;
    const u32 stage_values = a_values + COLUMNS * GEMM_STEP;
    DYNAMIC_SHARED(memory);
    bf16* stages = (bf16*)memory;

    const Strip strip = own_strip<COLUMNS>(p);
    const u32 top = strip.top, columns_end = strip.columns_end, start = strip.start, end = strip.end;
    u32 first = strip.first;

    // Copies are asked for in the order in which they are used.
    u32 next_first = first, next_inner = start, next_stage = 0;
    auto copy_next = [&] {
        if (next_first < columns_end) {
            bf16* stage = stages + next_stage * stage_values;
            copy_share<GEMM_ROWS, A_ALONG, threads, ALIGNED>(stage, a, top, next_inner, end);
            copy_share<COLUMNS, B_ALONG, threads, ALIGNED>(stage + a_values, b, next_first, next_inner, end);
            next_inner += GEMM_STEP;
            if (next_inner >= end) {
                next_inner = start;
                next_first += COLUMNS;
            }
        }
        copies_close();
        next_stage = (next_stage + 1) % GEMM_STAGES;
    };

    // A fragment's four matrices go by rows first in `a` and by inner values first in `b`.
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const u32 row = lane % 16, chunk = lane / 16, other_row = lane % 8 + lane / 16 * 8, other_chunk = lane / 8 % 2;
    const u32 a_at = chunk_place<GEMM_ROWS, A_ALONG>(A_ALONG ? row : other_row, A_ALONG ? chunk : other_chunk);
    const u32 b_at = chunk_place<COLUMNS, B_ALONG>(B_ALONG ? other_row : row, B_ALONG ? other_chunk : chunk);
    const u32 warp_row = warp % 2 * 64, warp_column = warp / 2 * 64;
    u32 a_fragments[2][4][4], b_fragments[2][4][4];
    auto load_half = [&](u32 half, const bf16* stage) {
        load_fragments<GEMM_ROWS, A_ALONG>(a_fragments[half], stage, a_at, warp_row, half * 16);
        load_fragments<COLUMNS, B_ALONG>(b_fragments[half], stage + a_values, b_at, warp_column, half * 16);
    };

    for (u32 i = 0; i + 1 < GEMM_STAGES; i++) copy_next();
    copies_wait<GEMM_STAGES - 2>();
    __syncthreads();
    load_half(0, stages);
    u32 stage = 0;
    for (; first < columns_end; first += COLUMNS) {
        float sums[4][8][4] = {};
        auto multiply_half = [&](u32 half) {
#pragma unroll
            for (u32 i = 0; i < 32; i++) {
                const u32(&pair)[4] = b_fragments[half][i % 8 / 2];
                mma_bf16(sums[i / 8][i % 8], a_fragments[half][i / 8], pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
            }
        };
        for (u32 inner = start; inner < end; inner += GEMM_STEP) {
            load_half(1, stages + stage * stage_values);
            // Into the stage before this one, which every warp had loaded when it came to the last barrier.
            copy_next();
            multiply_half(0);
            copies_wait<GEMM_STAGES - 2>();
            __syncthreads();
            stage = (stage + 1) % GEMM_STAGES;
            load_half(0, stages + stage * stage_values);
            multiply_half(1);
        }
        const u32 own_top = top + warp_row, own_first = first + warp_column;
        if constexpr (!ALIGNED) {
            // The strip has one tile, so that no stage is needed any more once all warps have loaded theirs.
            __syncthreads();
            store_any(p, sums, (float*)memory + warp * 64 * 64, own_top, own_first);
        } else if (p.epilogue == EPILOGUE_SINGLE) {
            store_single(p, sums, own_top, own_first);
        } else {
            const u32 forward = 1u << EPILOGUE_SQUARED | 1u << EPILOGUE_RESIDUAL_ADD, back = 1u << EPILOGUE_SQUARED_GRAD;
            store_narrow<(A_ALONG ? B_ALONG ? forward : back : 0u)>(p, sums, own_top, own_first);
        }
    }
}

// out [m, n] is made of a b, a stored [m, k] or [k, m] (a_transposed), b stored [k, n] or [n, k] (b_transposed); from one
// matrix of a batch, or one part of the sums, to the next it is *_matrix values.
#define GEMM_ARGUMENTS                                                                                              \
    const bf16 *a, const bf16 *b, void *other, void *out, u32 m, u32 n, u32 k, u32 part, u32 strip, u32 epilogue,        \
        float factor, float keep, u64 a_matrix, u64 b_matrix, u64 out_matrix, u32 a_transposed, u32 b_transposed

template <bool A_ALONG, bool B_ALONG, u32 COLUMNS, bool ALIGNED>
static __device__ void gemm_of(GEMM_ARGUMENTS) {
    // An output's values are 2 or 4 bytes, `other` lies as the output does.
    const u64 skipped = blockIdx.y * out_matrix * (epilogue == EPILOGUE_SINGLE ? 4 : 2);
    other = other && epilogue != EPILOGUE_RESIDUAL_ADD ? (char*)other + skipped : other;
    out = (char*)out + skipped;
    const bool a_along = ALIGNED ? A_ALONG : !a_transposed, b_along = ALIGNED ? B_ALONG : b_transposed;
    const Factor left = {a + blockIdx.y * a_matrix, m, a_along ? k : 1u, a_along ? 1u : m};
    const Factor right = {b + blockIdx.y * b_matrix, n, b_along ? k : 1u, b_along ? 1u : n};
    const Gemm p = {other, out, m, n, k, part, strip, epilogue, factor, keep};
    gemm_tiles<A_ALONG, B_ALONG, COLUMNS, ALIGNED>(p, left, right);
}

// COLUMNS threads, and as many blocks an SM as its registers allow.
#define GEMM_BF16(NAME, A_ALONG, B_ALONG, COLUMNS, ALIGNED)                                                         \
    extern "C" __global__ void __launch_bounds__(COLUMNS, 256 / COLUMNS) NAME(GEMM_ARGUMENTS) {                     \
        gemm_of<A_ALONG, B_ALONG, COLUMNS, ALIGNED>(a, b, other, out, m, n, k, part, strip, epilogue, factor, keep,   \
                                                       a_matrix, b_matrix, out_matrix, a_transposed, b_transposed);    \
    }

GEMM_BF16(gemm_bf16_nn, true, false, 128, true)
GEMM_BF16(gemm_bf16_nt, true, true, 128, true)
GEMM_BF16(gemm_bf16_tn, false, false, 128, true)
GEMM_BF16(gemm_bf16_tt, false, true, 128, true)
GEMM_BF16(wide_gemm_bf16_nn, true, false, 256, true)
GEMM_BF16(wide_gemm_bf16_nt, true, true, 256, true)
GEMM_BF16(wide_gemm_bf16_tn, false, false, 256, true)
// Where rows do not begin at multiples of 16 bytes: any layout, value by value.
GEMM_BF16(gemm_bf16_any, true, true, 128, false)

// out = factor times the sum of `count` parts, in order, + keep * other. Parts lie n values apart.
extern "C" __global__ void sum_split_k(const float* parts, const float* other, float* out, u32 count, float factor,
                                         float keep, u64 n) {
    const u64 i = thread_index();
    if (i >= n) return;
    float sum = parts[i];
    for (u32 part = 1; part < count; part++) sum += parts[part * n + i];
    out[i] = (keep == 0.0f ? 0.0f : keep * other[i]) + factor * sum;
}
