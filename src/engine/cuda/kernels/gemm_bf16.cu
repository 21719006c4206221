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

#define GEMM_ROWS 128u
#define GEMM_STEP 32u
#define GEMM_STAGES 4u
// Rows of tiles whose blocks follow one another: what they read of `b` is still in the L2 cache.
#define GEMM_GROUP 8u
// Values copied at once, 16 bytes.
#define GEMM_CHUNK 8u

// What becomes of a product p; `Epilogue::parts` in backend/gemm_bf16.rs gives the same numbers.
// out = bf16(factor p + keep other)
#define EPILOGUE_NARROW 0u
// out = factor p + keep other, in single precision
#define EPILOGUE_SINGLE 1u
// out = bf16(relu(h)^2) with h = bf16(p), which goes to other if that is not null
#define EPILOGUE_RELU_SQUARED 2u
// out = bf16(bf16(p) 2 relu(h)) with h in other
#define EPILOGUE_RELU_SQUARED_GRAD 3u
// out = bf16(out + other[column] bf16(p)), other in single precision
#define EPILOGUE_RESIDUAL_ADD 4u

struct Gemm {
    void *other, *out;
    u32 m, n, k;
    // Inner values a row of the grid sums up, a multiple of GEMM_STEP where they are not all; tiles a block makes.
    u32 part, strip;
    u32 epilogue;
    float factor, keep;
};

// One factor of a product: its rows, or its columns if it is the second, are `dims`.
struct Factor {
    const bf16* matrix;
    u32 dims;
    u64 side_stride, inner_stride;
};

// A factor's share of a stage: SIDES dims by GEMM_STEP inner values, in rows of neighbors in memory (ALONG: inner
// values; else dims), as chunks whose order in a row depends on the row: eight rows' chunks of one column, which a
// warp loads at once, lie in different banks (a row of 64 bytes is half of the banks' width, a longer one all of it).
template <u32 SIDES, bool ALONG>
static __device__ u32 chunk_place(u32 row, u32 chunk) {
    const u32 swizzled = chunk ^ (ALONG ? row / 2 % 4 : row % 8);
    return row * (ALONG ? GEMM_STEP : SIDES) + swizzled * GEMM_CHUNK;
}

// Begins to copy a factor's share of a stage; zeros stand for what lies beyond the matrix.
template <u32 SIDES, bool ALONG, u32 THREADS, bool ALIGNED>
static __device__ void copy_share(bf16* share, const Factor& factor, u32 first_side, u32 first_inner, u32 inner_end) {
    const u32 row_chunks = (ALONG ? GEMM_STEP : SIDES) / GEMM_CHUNK, rows = THREADS / row_chunks;
    const u32 first_row = threadIdx.x / row_chunks, chunk = threadIdx.x % row_chunks;
    u32 side = first_side + (ALONG ? first_row : chunk * GEMM_CHUNK);
    u32 inner = first_inner + (ALONG ? chunk * GEMM_CHUNK : first_row);
    const bf16* from = factor.matrix + (side * factor.side_stride + inner * factor.inner_stride);
#pragma unroll
    for (u32 i = 0; i < SIDES * GEMM_STEP / GEMM_CHUNK / THREADS; i++) {
        bf16* to = share + chunk_place<SIDES, ALONG>(first_row + i * rows, chunk);
        if constexpr (ALIGNED) {
            // Rows are whole chunks: a chunk that begins inside ends inside.
            copy_ahead(to, from, side < factor.dims && inner < inner_end);
        } else {
#pragma unroll 1
            for (u32 l = 0; l < GEMM_CHUNK; l++) {
                const bool present = side < factor.dims && inner + l < inner_end;
                to[l] = present ? from[l * factor.inner_stride] : bf16{0};
            }
        }
        (ALONG ? side : inner) += rows;
        from += rows * (ALONG ? factor.side_stride : factor.inner_stride);
    }
}

// Fragments of 64 dims by 16 inner values from place `at` of this lane's own row and chunk in the first matrices.
template <u32 SIDES, bool ALONG>
static __device__ void load_fragments(u32 (&fragments)[4][4], const bf16* share, u32 at, u32 side, u32 inner) {
#pragma unroll
    for (u32 i = 0; i < 4; i++, side += 16) {
        // Chunks further on in a row are the same bits flipped in the swizzled place.
        if (ALONG) {
            load_matrices(fragments[i], share + (at ^ inner) + side * GEMM_STEP);
        } else {
            load_matrices_transposed(fragments[i], share + (at ^ side) + inner * SIDES);
        }
    }
}

// Four values of each lane of a quad become its share of four times four: lane t gets the t-th of lanes 0 to 3.
static __device__ void transpose_quad(u32 (&values)[4]) {
#pragma unroll
    for (u32 distance = 1; distance < 4; distance *= 2) {
        const bool upper = threadIdx.x & distance;
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            if (i & distance) continue;
            const u32 got = __shfl_xor_sync(ALL_LANES, upper ? values[i] : values[i + distance], distance);
            values[i] = upper ? got : values[i];
            values[i + distance] = upper ? values[i + distance] : got;
        }
    }
}

static __device__ float relu(float x) {
    return x > 0.0f ? x : 0.0f;
}

// What becomes of a product that is rounded already; `before` is what was read at its place.
static __device__ float apply_epilogue(u32 epilogue, float product, float before, float scale) {
    if (epilogue == EPILOGUE_RELU_SQUARED) return relu(product) * relu(product);
    if (epilogue == EPILOGUE_RELU_SQUARED_GRAD) return product * (2.0f * relu(before));
    if (epilogue == EPILOGUE_RESIDUAL_ADD) return before + scale * product;
    return product;
}

static __device__ float with_other(const Gemm& p, float sum, float other) {
    return p.keep == 0.0f ? p.factor * sum : p.keep * other + p.factor * sum;
}

// A warp's 64 x 64 sums in single precision, two neighbors at a time.
static __device__ void store_single(const Gemm& p, const float (&sums)[4][8][4], u32 top, u32 first) {
    const u32 lane = threadIdx.x % WARP;
#pragma unroll
    for (u32 i = 0; i < 8; i++) {
        const u32 row = top + i * 8 + lane / 4;
        const u64 start = (u64)row * p.n + first + lane % 4 * 2;
#pragma unroll
        for (u32 j = 0; j < 8; j++) {
            if (row >= p.m || first + j * 8 >= p.n) continue;
            const float(&own)[4] = sums[i / 2][j];
            Pair before = {};
            if (p.keep != 0.0f) before = ((const Pair*)p.other)[(start + j * 8) / 2];
            const float low = own[i % 2 * 2], high = own[i % 2 * 2 + 1];
            ((Pair*)p.out)[(start + j * 8) / 2] = {with_other(p, low, before.x), with_other(p, high, before.y)};
        }
    }
}

// A warp's 64 x 64 sums in bfloat16, which the lanes of a quad exchange so that each has eight neighbors of a row.
// KINDS has bits for what may become of them here; nothing is kept.
template <u32 KINDS>
static __device__ void store_narrow(const Gemm& p, const float (&sums)[4][8][4], u32 top, u32 first) {
    const u32 lane = threadIdx.x % WARP;
    const bool squares = KINDS >> EPILOGUE_RELU_SQUARED & 1 && p.epilogue == EPILOGUE_RELU_SQUARED;
    const bool is_grad = KINDS >> EPILOGUE_RELU_SQUARED_GRAD & 1 && p.epilogue == EPILOGUE_RELU_SQUARED_GRAD;
    const bool adds = KINDS >> EPILOGUE_RESIDUAL_ADD & 1 && p.epilogue == EPILOGUE_RESIDUAL_ADD;
    Words eights[16];
#pragma unroll
    for (u32 i = 0; i < 16; i++) {
#pragma unroll
        for (u32 l = 0; l < 4; l++) {
            const float(&own)[4] = sums[i / 4][i % 2 * 4 + l];
            const u32 half = i / 2 % 2 * 2;
            eights[i].at[l] = pack_bf16(p.factor * own[half], p.factor * own[half + 1]);
        }
        transpose_quad(eights[i].at);
    }
    // The i-th eight of this lane lies in row i / 2 * 8 and column i % 2 * 32, counted from its first.
    const u32 row = top + lane / 4, column = first + lane % 4 * GEMM_CHUNK;
    const u64 start = (u64)row * p.n + column;
    auto place_of = [&](u32 i) { return start + ((u64)(i / 2 * 8) * p.n + i % 2 * 32); };
    auto is_inside = [&](u32 i) { return row + i / 2 * 8 < p.m && column + i % 2 * 32 < p.n; };
    bf16 *out = (bf16*)p.out, *other = (bf16*)p.other;
    auto store = [&](bf16* to) {
#pragma unroll
        for (u32 i = 0; i < 16; i++) {
            if (is_inside(i)) *(Words*)(to + place_of(i)) = eights[i];
        }
    };
    auto apply = [&](u32 kind) {
        Words before[16] = {};
        if (kind != EPILOGUE_RELU_SQUARED) {
            const bf16* from = kind == EPILOGUE_RESIDUAL_ADD ? out : other;
            // All that is read is asked for before any of it is used.
#pragma unroll
            for (u32 i = 0; i < 16; i++) {
                if (is_inside(i)) before[i] = *(const Words*)(from + place_of(i));
            }
        }
#pragma unroll
        for (u32 j = 0; j < 2; j++) {
            float scale[GEMM_CHUNK] = {};
            if (kind == EPILOGUE_RESIDUAL_ADD && is_inside(j)) {
#pragma unroll
                for (u32 l = 0; l < GEMM_CHUNK; l++) scale[l] = ((const float*)p.other)[column + j * 32 + l];
            }
#pragma unroll
            for (u32 i = j; i < 16; i += 2) {
#pragma unroll
                for (u32 l = 0; l < 4; l++) {
                    u32& pair = eights[i].at[l];
                    const u32 old = before[i].at[l];
                    pair = pack_bf16(apply_epilogue(kind, low_of(pair), low_of(old), scale[2 * l]),
                                     apply_epilogue(kind, high_of(pair), high_of(old), scale[2 * l + 1]));
                }
            }
        }
    };
    if (squares) {
        if (other) store(other);
        apply(EPILOGUE_RELU_SQUARED);
    }
    if (is_grad) apply(EPILOGUE_RELU_SQUARED_GRAD);
    if (adds) apply(EPILOGUE_RESIDUAL_ADD);
    store(out);
}

// A value of any kind, wherever it lies.
static __device__ void store_value(const Gemm& p, float sum, u32 row, u32 column) {
    const u64 at = (u64)row * p.n + column;
    if (p.epilogue == EPILOGUE_SINGLE) {
        const float other = p.keep == 0.0f ? 0.0f : ((const float*)p.other)[at];
        ((float*)p.out)[at] = with_other(p, sum, other);
        return;
    }
    bf16 *out = (bf16*)p.out + at, *other = (bf16*)p.other + at;
    if (p.epilogue == EPILOGUE_NARROW) {
        put(out, with_other(p, sum, p.keep == 0.0f ? 0.0f : get(*other)));
        return;
    }
    const float product = nearest_bf16(p.factor * sum);
    float scale = 0.0f, before = 0.0f;
    if (p.epilogue == EPILOGUE_RELU_SQUARED_GRAD) before = get(*other);
    if (p.epilogue == EPILOGUE_RESIDUAL_ADD) {
        before = get(*out);
        scale = ((const float*)p.other)[column];
    }
    if (p.epilogue == EPILOGUE_RELU_SQUARED && p.other) put(other, product);
    put(out, apply_epilogue(p.epilogue, product, before, scale));
}

// A warp's 64 x 64 sums by way of 16 KiB of shared memory, value by value.
static __device__ void store_any(const Gemm& p, const float (&sums)[4][8][4], float* shared, u32 top, u32 first) {
    const u32 lane = threadIdx.x % WARP;
#pragma unroll
    for (u32 i = 0; i < 128; i++) {
        const u32 row = i / 32 * 16 + i / 2 % 2 * 8 + lane / 4, column = i / 4 % 8 * 8 + lane % 4 * 2 + i % 2;
        shared[row * 64 + column] = sums[i / 32][i / 4 % 8][i % 4];
    }
    __syncwarp();
    for (u32 i = lane; i < 64 * 64; i += WARP) {
        const u32 row = top + i / 64, column = first + i % 64;
        if (row < p.m && column < p.n) store_value(p, shared[i], row, column);
    }
}

// Row y of the grid makes the y-th product of a batch, or where `part` is less than k the y-th part of the sums of one.
template <bool A_ALONG, bool B_ALONG, u32 COLUMNS, bool ALIGNED>
static __device__ void gemm_tiles(const Gemm& p, const Factor& a, const Factor& b) {
    const u32 threads = COLUMNS / 64 * 2 * WARP, a_values = GEMM_ROWS * GEMM_STEP;
    const u32 stage_values = a_values + COLUMNS * GEMM_STEP;
    DYNAMIC_SHARED(memory);
    bf16* stages = (bf16*)memory;

    const u32 strips = (p.n + p.strip * COLUMNS - 1) / (p.strip * COLUMNS);
    const u32 tile_rows = (p.m + GEMM_ROWS - 1) / GEMM_ROWS;
    const u32 group = blockIdx.x / (GEMM_GROUP * strips), in_group = blockIdx.x % (GEMM_GROUP * strips);
    const u32 left = tile_rows - group * GEMM_GROUP, height = left < GEMM_GROUP ? left : GEMM_GROUP;
    const u32 top = (group * GEMM_GROUP + in_group % height) * GEMM_ROWS;
    u32 first = in_group / height * p.strip * COLUMNS;
    const u32 columns_end = p.n - first < p.strip * COLUMNS ? p.n : first + p.strip * COLUMNS;
    const u32 start = p.part < p.k ? blockIdx.y * p.part : 0;
    const u32 end = p.k - start < p.part ? p.k : start + p.part;

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
            const u32 forward = 1u << EPILOGUE_RELU_SQUARED | 1u << EPILOGUE_RESIDUAL_ADD, back = 1u << EPILOGUE_RELU_SQUARED_GRAD;
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
