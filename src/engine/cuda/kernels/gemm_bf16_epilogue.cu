// Epilogues of a bfloat16 product: a warp's sums, what becomes of them, and how they are stored.
//
// A warp has STRIPS strips of 16 rows and FRAGMENTS fragments of 8 columns of each: 64 x 64 sums, or 16 rows of a wider
// tile.

// Epilogues of a product p; `Epilogue::parts` in backend/gemm_bf16/mod.rs gives the same numbers.
// out = bf16(factor p + keep other)
#define EPILOGUE_NARROW 0u
// out = factor p + keep other, in single precision
#define EPILOGUE_SINGLE 1u
// out = bf16(a^2) with a = max(h, 0) + keep min(h, 0), h = bf16(p), which goes to other if that is not null
#define EPILOGUE_SQUARED 2u
// out = bf16(bf16(p) 2 a) with a = max(h, 0) + keep min(h, 0), h in other
#define EPILOGUE_SQUARED_GRAD 3u
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

// What becomes of a product that is rounded already; `before` is what was read at its place.
static __device__ float apply_epilogue(u32 epilogue, float product, float before, float scale, float keep) {
    if (epilogue == EPILOGUE_SQUARED) {
        const float active = leaky_relu(product, keep);
        return active * active;
    }
    if (epilogue == EPILOGUE_SQUARED_GRAD) return product * (2.0f * leaky_relu(before, keep));
    if (epilogue == EPILOGUE_RESIDUAL_ADD) return before + scale * product;
    return product;
}

static __device__ float with_other(const Gemm& p, float sum, float other) {
    return p.keep == 0.0f ? p.factor * sum : p.keep * other + p.factor * sum;
}

// A warp's sums in single precision, two neighbors at a time.
template <u32 STRIPS, u32 FRAGMENTS>
static __device__ void store_single(const Gemm& p, const float (&sums)[STRIPS][FRAGMENTS][4], u32 top, u32 first) {
    const u32 lane = threadIdx.x % WARP;
#pragma unroll
    for (u32 i = 0; i < 2 * STRIPS; i++) {
        const u32 row = top + i * 8 + lane / 4;
        const u64 start = (u64)row * p.n + first + lane % 4 * 2;
#pragma unroll
        for (u32 j = 0; j < FRAGMENTS; j++) {
            if (row >= p.m || first + j * 8 >= p.n) continue;
            const float(&own)[4] = sums[i / 2][j];
            Pair before = {};
            if (p.keep != 0.0f) before = ((const Pair*)p.other)[(start + j * 8) / 2];
            const float low = own[i % 2 * 2], high = own[i % 2 * 2 + 1];
            ((Pair*)p.out)[(start + j * 8) / 2] = {with_other(p, low, before.x), with_other(p, high, before.y)};
        }
    }
}

// A warp's sums in bfloat16, which the lanes of a quad exchange so that each has eight neighbors of a row. KINDS has bits
// for what may become of them here; nothing is kept.
template <u32 KINDS, u32 STRIPS, u32 FRAGMENTS>
static __device__ void store_narrow(const Gemm& p, const float (&sums)[STRIPS][FRAGMENTS][4], u32 top, u32 first) {
    // Of four neighboring fragments of eight rows a lane gets one eight.
    const u32 IN_A_ROW = FRAGMENTS / 4, EIGHTS = 2 * STRIPS * IN_A_ROW;
    const u32 lane = threadIdx.x % WARP;
    const bool squares = KINDS >> EPILOGUE_SQUARED & 1 && p.epilogue == EPILOGUE_SQUARED;
    const bool is_grad = KINDS >> EPILOGUE_SQUARED_GRAD & 1 && p.epilogue == EPILOGUE_SQUARED_GRAD;
    const bool adds = KINDS >> EPILOGUE_RESIDUAL_ADD & 1 && p.epilogue == EPILOGUE_RESIDUAL_ADD;
    Words eights[EIGHTS];
#pragma unroll
    for (u32 i = 0; i < EIGHTS; i++) {
#pragma unroll
        for (u32 l = 0; l < 4; l++) {
            const float(&own)[4] = sums[i / IN_A_ROW / 2][i % IN_A_ROW * 4 + l];
            const u32 half = i / IN_A_ROW % 2 * 2;
            eights[i].at[l] = pack_bf16(p.factor * own[half], p.factor * own[half + 1]);
        }
        transpose_quad(eights[i].at);
    }
    // The i-th eight of this lane lies in row i / IN_A_ROW * 8 and column i % IN_A_ROW * 32, counted from its first.
    const u32 row = top + lane / 4, column = first + lane % 4 * GEMM_CHUNK;
    const u64 start = (u64)row * p.n + column;
    auto place_of = [&](u32 i) { return start + ((u64)(i / IN_A_ROW * 8) * p.n + i % IN_A_ROW * 32); };
    auto is_inside = [&](u32 i) { return row + i / IN_A_ROW * 8 < p.m && column + i % IN_A_ROW * 32 < p.n; };
    bf16 *out = (bf16*)p.out, *other = (bf16*)p.other;
    auto store = [&](bf16* to) {
#pragma unroll
        for (u32 i = 0; i < EIGHTS; i++) {
            if (is_inside(i)) *(Words*)(to + place_of(i)) = eights[i];
        }
    };
    auto apply = [&](u32 kind) {
        Words before[EIGHTS] = {};
        if (kind != EPILOGUE_SQUARED) {
            const bf16* from = kind == EPILOGUE_RESIDUAL_ADD ? out : other;
            // All that is read is asked for before any of it is used.
#pragma unroll
            for (u32 i = 0; i < EIGHTS; i++) {
                if (is_inside(i)) before[i] = *(const Words*)(from + place_of(i));
            }
        }
#pragma unroll
        for (u32 j = 0; j < IN_A_ROW; j++) {
            float scale[GEMM_CHUNK] = {};
            if (kind == EPILOGUE_RESIDUAL_ADD && is_inside(j)) {
#pragma unroll
                for (u32 l = 0; l < GEMM_CHUNK; l++) scale[l] = ((const float*)p.other)[column + j * 32 + l];
            }
#pragma unroll
            for (u32 i = j; i < EIGHTS; i += IN_A_ROW) {
#pragma unroll
                for (u32 l = 0; l < 4; l++) {
                    u32& pair = eights[i].at[l];
                    const u32 old = before[i].at[l];
                    pair = pack_bf16(apply_epilogue(kind, low_of(pair), low_of(old), scale[2 * l], p.keep),
                                     apply_epilogue(kind, high_of(pair), high_of(old), scale[2 * l + 1], p.keep));
                }
            }
        }
    };
    if (squares) {
        if (other) store(other);
        apply(EPILOGUE_SQUARED);
    }
    if (is_grad) apply(EPILOGUE_SQUARED_GRAD);
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
    if (p.epilogue == EPILOGUE_SQUARED_GRAD) before = get(*other);
    if (p.epilogue == EPILOGUE_RESIDUAL_ADD) {
        before = get(*out);
        scale = ((const float*)p.other)[column];
    }
    if (p.epilogue == EPILOGUE_SQUARED && p.other) put(other, product);
    put(out, apply_epilogue(p.epilogue, product, before, scale, p.keep));
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
