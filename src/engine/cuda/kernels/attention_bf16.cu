// Causal attention of bfloat16 values by tensor cores: the algorithm of FlashAttention-2 (Dao, 2023).
//
// A block has 16 WARPS STRIPS queries of one head, 16 STRIPS a warp. Queries and running outputs stay in registers;
// tiles of keys and values are copied ahead while the tile before is worked on. Scores become weights where they were
// made: rounded to bfloat16, their fragments are already the left side of the product with the values. As the
// processor's mode and PyTorch have it, a softmax denominator sums the weights before they are rounded.
//
// Heads of 64 take 32 rows a warp: with 16, reading keys and values out of shared memory (128 bytes a clock) would take
// longer than multiplying them. That is 64 registers of outputs, 64 of scores and 32 of queries, 249 in all as ptxas
// 13.0 has it for sm_90: two blocks of 128 threads an SM, of 48 KiB each. Three would need 168, and spill.

// Keys of a tile.
#define TILE_KEYS 64u

// A block's work as `task` has it, late queries first: they see the most keys, and no long block is left for the end.
template <u32 ROWS>
static __device__ Task late_first(u32 tokens, u32 heads) {
    Task own = task<ROWS>(tokens, heads);
    own.start = (tokens - 1) / ROWS * ROWS - own.start;
    return own;
}

// Masks the keys that come after a query. Rows are queries, columns keys; `ahead` is how far the lane's first row
// is ahead of its first column.
template <u32 STRIPS, u32 COLUMNS>
static __device__ void mask_later_keys(float (&scores)[STRIPS][COLUMNS / 8][4], int ahead) {
    UNROLL for (u32 s = 0; s < STRIPS; s++) {
        UNROLL for (u32 n = 0; n < COLUMNS / 8; n++) {
            UNROLL for (u32 i = 0; i < 4; i++) {
                const int query = ahead + (int)(16 * s + i / 2 * 8), key = 8 * n + i % 2;
                if (key > query) scores[s][n][i] = MINUS_INFINITY;
            }
        }
    }
}

// Over the four lanes that hold a row.
static __device__ float quad_sum(float value) {
    value += __shfl_xor_sync(ALL_LANES, value, 1);
    return value + __shfl_xor_sync(ALL_LANES, value, 2);
}

static __device__ float quad_max(float value) {
    value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, 1));
    return fmaxf(value, __shfl_xor_sync(ALL_LANES, value, 2));
}

// What a warp knows of its rows so far: outputs, and each row's largest score and sum of weights. A lane has rows g
// and g + 8 of each strip; its sums are over its own columns.
template <u32 WIDTH, u32 STRIPS>
struct Running {
    float out[STRIPS][WIDTH / 8][4], largest[STRIPS][2], sum[STRIPS][2];
};

// Turns scores into weights 2^(factor (score - largest)) and shrinks what was summed under a smaller maximum.
template <u32 WIDTH, u32 STRIPS>
static __device__ void online_softmax(float (&scores)[STRIPS][TILE_KEYS / 8][4], float factor, Running<WIDTH, STRIPS>& running) {
    UNROLL for (u32 s = 0; s < STRIPS; s++) {
        UNROLL for (u32 lower = 0; lower < 2; lower++) {
            const u32 x = 2 * lower, y = x + 1;
            float largest = running.largest[s][lower];
            UNROLL for (u32 n = 0; n < TILE_KEYS / 8; n++) {
                largest = fmaxf(largest, fmaxf(scores[s][n][x], scores[s][n][y]));
            }
            // Finite: every query sees the first key of the first tile.
            largest = quad_max(largest);
            const float shrink = exp2_fast((running.largest[s][lower] - largest) * factor);
            const float shift = -largest * factor;
            float sum = running.sum[s][lower] * shrink;
            UNROLL for (u32 n = 0; n < TILE_KEYS / 8; n++) {
                scores[s][n][x] = exp2_fast(fmaf(scores[s][n][x], factor, shift));
                scores[s][n][y] = exp2_fast(fmaf(scores[s][n][y], factor, shift));
                sum += scores[s][n][x];
                sum += scores[s][n][y];
            }
            UNROLL for (u32 n = 0; n < WIDTH / 8; n++) {
                running.out[s][n][x] *= shrink;
                running.out[s][n][y] *= shrink;
            }
            running.largest[s][lower] = largest;
            running.sum[s][lower] = sum;
        }
    }
}

template <u32 WIDTH, u32 STRIPS>
static __device__ void attend_bf16(const bf16* q, const bf16* k, const bf16* v, bf16* mixed, float* lse,
                                   u32 seq_len, u32 first_query, u32 heads, u32 kv_heads, u32 v_stride, u32 width,
                                   float scale) {
    const u32 OWN = 16 * STRIPS, ROWS = WARPS * OWN;
    DYNAMIC_SHARED(memory);
    bf16* const queries = (bf16*)memory;
    bf16 *keys = queries + ROWS * WIDTH, *next = keys + 2 * TILE_KEYS * WIDTH;
    const u32 count = seq_len - first_query, stride = heads * width, kv_stride = kv_heads * width;
    const Task own = late_first<ROWS>(count, heads);
    const u64 first = own.row * count * stride + own.head * width;
    const u32 kv_channel = own.head / (heads / kv_heads) * width;
    const u64 of_keys = own.row * seq_len * kv_stride + kv_channel, of_values = own.row * seq_len * v_stride + kv_channel;
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const u32 warp_row = threadIdx.x / WARP * OWN, warp_first = own.start + warp_row;
    bf16* const own_queries = queries + warp_row * WIDTH;
    // One past the last key that any of the block's queries sees, and the last that the warp's first query does.
    const u32 end = first_query + (own.start + ROWS < count ? own.start + ROWS : count);
    const u32 seen = first_query + warp_first;
    const auto fetch_keys = [&](u32 start) {
        fetch<WIDTH, TILE_KEYS>(next, k + of_keys, kv_stride, start, seq_len, width);
        fetch<WIDTH, TILE_KEYS>(next + TILE_KEYS * WIDTH, v + of_values, v_stride, start, seq_len, width);
    };

    fetch<WIDTH, ROWS>(queries, q + first, stride, own.start, count, width);
    copies_close();
    fetch_keys(0);
    copies_close();
    copies_wait<1>();
    __syncthreads();
    u32 left[WIDTH / 16][STRIPS][4];
    UNROLL for (u32 step = 0; step < WIDTH / 16; step++) load_left<WIDTH, STRIPS>(left[step], own_queries, step);

    Running<WIDTH, STRIPS> running = {};
    UNROLL for (u32 i = 0; i < 2 * STRIPS; i++) running.largest[i / 2][i % 2] = MINUS_INFINITY;
    const float factor = scale * LOG2_E;
    for (u32 start = 0; start < end; start += TILE_KEYS) {
        copies_wait<0>();
        // This tile is there, and nobody reads the one before it any more, whose stage the next takes.
        __syncthreads();
        exchange_stages(keys, next);
        if (start + TILE_KEYS < end) fetch_keys(start + TILE_KEYS);
        copies_close();
        if (warp_first >= count || start > seen + OWN - 1) continue;
        float scores[STRIPS][TILE_KEYS / 8][4] = {};
        multiply_rows<WIDTH, STRIPS, TILE_KEYS>(scores, left, keys);
        if (start + TILE_KEYS - 1 > seen) {
            mask_later_keys<STRIPS, TILE_KEYS>(scores, (int)(seen + g) - (int)(start + 2 * t));
        }
        online_softmax<WIDTH, STRIPS>(scores, factor, running);
        u32 weights[TILE_KEYS / 16][STRIPS][4];
        pack_left<STRIPS, TILE_KEYS>(weights, scores);
        multiply_columns<WIDTH, STRIPS, TILE_KEYS>(running.out, weights, keys + TILE_KEYS * WIDTH);
    }

    UNROLL for (u32 s = 0; s < STRIPS; s++) {
        UNROLL for (u32 lower = 0; lower < 2; lower++) {
            const u32 query = warp_first + 16 * s + 8 * lower + g;
            const float sum = quad_sum(running.sum[s][lower]), inverse = 1.0f / sum;
            UNROLL for (u32 n = 0; n < WIDTH / 8; n++) {
                running.out[s][n][2 * lower] *= inverse;
                running.out[s][n][2 * lower + 1] *= inverse;
            }
            if (t == 0 && query < count) {
                lse[(own.row * count + query) * heads + own.head] = running.largest[s][lower] * scale + logf(sum);
            }
        }
    }
    const u32 present = warp_first < count ? count - warp_first : 0;
    put_rows<WIDTH, STRIPS>(running.out, own_queries, mixed + first + (u64)warp_first * stride, stride, present, width);
}
