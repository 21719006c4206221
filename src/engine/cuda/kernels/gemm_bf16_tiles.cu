// Factors of a bfloat16 product on their way: from memory to stages in shared memory, from there to fragments.

#define GEMM_ROWS 128u
#define GEMM_STEP 32u
#define GEMM_STAGES 4u
// Rows of tiles whose blocks follow one another: what they read of `b` is still in the L2 cache.
#define GEMM_GROUP 8u
// Values copied at once, 16 bytes.
#define GEMM_CHUNK 8u

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
