// Tiles of bfloat16 rows in shared memory, and one warp's products with them.
//
// A tile's row is WIDTH values, in spans of the 16 bytes that one copy and one row of `load_matrices` take. Span c
// of row r lies where span c ^ twist(r) would: the same span of eight rows is then in eight different groups of
// banks, and so are the rows' fragments when they are written. `twist` repeats every eight rows.
//
// A warp owns STRIPS strips of 16 rows of its products; d[strip][n] is the fragment of columns 8n to 8n + 7, and
// a[step][strip] that of the inner indices 16 step to 16 step + 15. g = lane / 4 and t = lane % 4, as in intrinsics.cu.

#define WARPS 4u
#define ATTENTION_THREADS (WARPS * WARP)
#define LOG2_E 1.44269504f

template <u32 WIDTH>
static __device__ u32 twist(u32 row) {
    // Two rows of 32 values fill the banks once.
    return WIDTH == 32 ? row / 2 % 4 : row % 8;
}

// Begins to copy rows `start`... of one head; rows past `count` and channels past `width` become zero. `x` points to
// the head's channels of row 0, rows are `stride` values apart.
template <u32 WIDTH, u32 ROWS>
static __device__ void fetch(bf16* tile, const bf16* x, u32 stride, u32 start, u32 count, u32 width) {
    const u32 SPANS = WIDTH / SPAN, ROWS_AT_ONCE = ATTENTION_THREADS / SPANS;
    const u32 span = threadIdx.x % SPANS, first = threadIdx.x / SPANS;
    tile += first * WIDTH + (span ^ twist<WIDTH>(first)) * SPAN;
    x += span * SPAN;
    // In bytes the address is one multiplication and addition.
    const u32 row_bytes = stride * sizeof(bf16);
    UNROLL for (u32 row = 0; row < ROWS; row += ROWS_AT_ONCE) {
        const u32 token = start + first + row;
        const unsigned char* const from = (const unsigned char*)x + (u64)token * row_bytes;
        copy_ahead(tile + row * WIDTH, from, token < count && span * SPAN < width);
    }
}

// Fragments of a step of the strips whose rows begin at `tile`.
template <u32 WIDTH, u32 STRIPS>
static __device__ void load_left(u32 (&a)[STRIPS][4], const bf16* tile, u32 step) {
    const u32 lane = threadIdx.x % WARP, row = lane % 16, span = lane / 16 ^ twist<WIDTH>(row);
    const SharedAddress place = tile + row * WIDTH + (2 * step ^ span) * SPAN;
    UNROLL for (u32 s = 0; s < STRIPS; s++) load_matrices(a[s], place + 32 * s * WIDTH);
}

// d += a b^T for one step of the inner indices, which are channels; b is COLUMNS rows of a tile.
template <u32 WIDTH, u32 STRIPS, u32 COLUMNS>
static __device__ void multiply_step(float (&d)[STRIPS][COLUMNS / 8][4], const u32 (&a)[STRIPS][4], const bf16* b,
                                     u32 step) {
    const u32 lane = threadIdx.x % WARP, row = lane % 8 + lane / 16 * 8, span = lane / 8 % 2 ^ twist<WIDTH>(row);
    const SharedAddress place = b + row * WIDTH + (2 * step ^ span) * SPAN;
    UNROLL for (u32 n = 0; n < COLUMNS / 8; n += 2) {
        u32 right[4];
        load_matrices(right, place + 16 * n * WIDTH);
        UNROLL for (u32 s = 0; s < STRIPS; s++) {
            mma_bf16(d[s][n], a[s], right[0], right[1]);
            mma_bf16(d[s][n + 1], a[s], right[2], right[3]);
        }
    }
}

// d += a b^T with `a` in registers.
template <u32 WIDTH, u32 STRIPS, u32 COLUMNS>
static __device__ void multiply_rows(float (&d)[STRIPS][COLUMNS / 8][4], const u32 (&a)[WIDTH / 16][STRIPS][4],
                                     const bf16* b) {
    UNROLL for (u32 step = 0; step < WIDTH / 16; step++) multiply_step<WIDTH, STRIPS, COLUMNS>(d, a[step], b, step);
}

// d += a b^T with `a` in a tile.
template <u32 WIDTH, u32 STRIPS, u32 COLUMNS>
static __device__ void multiply_rows(float (&d)[STRIPS][COLUMNS / 8][4], const bf16* a, const bf16* b) {
    UNROLL for (u32 step = 0; step < WIDTH / 16; step++) {
        u32 left[STRIPS][4];
        load_left<WIDTH, STRIPS>(left, a, step);
        multiply_step<WIDTH, STRIPS, COLUMNS>(d, left, b, step);
    }
}

// d += a b; b is INNER rows of a tile.
template <u32 WIDTH, u32 STRIPS, u32 INNER>
static __device__ void multiply_columns(float (&d)[STRIPS][WIDTH / 8][4], const u32 (&a)[INNER / 16][STRIPS][4],
                                        const bf16* b) {
    const u32 lane = threadIdx.x % WARP, row = lane % 16, span = lane / 16 ^ twist<WIDTH>(row);
    SharedAddress places[WIDTH / 16];
    UNROLL for (u32 n = 0; n < WIDTH / 16; n++) places[n] = b + row * WIDTH + (2 * n ^ span) * SPAN;
    UNROLL for (u32 step = 0; step < INNER / 16; step++) {
        UNROLL for (u32 n = 0; n < WIDTH / 8; n += 2) {
            u32 right[4];
            load_matrices_transposed(right, places[n / 2] + 32 * step * WIDTH);
            UNROLL for (u32 s = 0; s < STRIPS; s++) {
                mma_bf16(d[s][n], a[step][s], right[0], right[1]);
                mma_bf16(d[s][n + 1], a[step][s], right[2], right[3]);
            }
        }
    }
}

// A product, rounded, as the left side of the next: two of its fragments are one of 16 inner indices.
template <u32 STRIPS, u32 COLUMNS>
static __device__ void pack_left(u32 (&a)[COLUMNS / 16][STRIPS][4], const float (&d)[STRIPS][COLUMNS / 8][4]) {
    UNROLL for (u32 step = 0; step < COLUMNS / 16; step++) {
        UNROLL for (u32 s = 0; s < STRIPS; s++) {
            UNROLL for (u32 i = 0; i < 4; i++) {
                const float(&from)[4] = d[s][2 * step + i / 2];
                a[step][s][i] = pack_bf16(from[i % 2 * 2], from[i % 2 * 2 + 1]);
            }
        }
    }
}

// Writes a warp's rows, rounded, `stride` values apart; rows past `count` and channels past `width` are left out. They
// go through the warp's own rows of a tile, so that a lane writes whole spans.
template <u32 WIDTH, u32 STRIPS>
static __device__ void put_rows(const float (&d)[STRIPS][WIDTH / 8][4], bf16* tile, bf16* out, u32 stride, u32 count,
                                u32 width) {
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, SPANS = WIDTH / SPAN;
    __syncwarp();
    UNROLL for (u32 s = 0; s < STRIPS; s++) {
        UNROLL for (u32 n = 0; n < WIDTH / 8; n++) {
            UNROLL for (u32 lower = 0; lower < 2; lower++) {
                bf16* row = tile + (16 * s + 8 * lower + g) * WIDTH;
                *(u32*)(row + (n ^ twist<WIDTH>(g)) * SPAN + 2 * t) = pack_bf16(d[s][n][2 * lower], d[s][n][2 * lower + 1]);
            }
        }
    }
    __syncwarp();
    UNROLL for (u32 i = lane; i < 16 * STRIPS * SPANS; i += WARP) {
        const u32 row = i / SPANS, span = i % SPANS;
        if (row >= count || span * SPAN >= width) continue;
        const bf16* from = tile + row * WIDTH + (span ^ twist<WIDTH>(row)) * SPAN;
        *(Words*)(out + (u64)row * stride + span * SPAN) = *(const Words*)from;
    }
}

// The stage that was copied to becomes the one that is read, and the other way round. Two pointers that change places
// leave offsets within a stage as constants of the instructions.
static __device__ void exchange_stages(bf16*& own, bf16*& next) {
    bf16* const read = own;
    own = next;
    next = read;
}
