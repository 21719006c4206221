// Gradients of attention_bf16.cu, in two kernels that each own what they write: queries, and keys with values.
//
// Weights are recomputed from the queries' lse. They and the scores' gradients are rounded to bfloat16 for the
// products, as in FlashAttention-2. PART columns at a time, so that two products of a part (64 registers for heads of
// 64) fit beside the sums of keys and values (128), or beside those of queries (64) and the fragments of queries and
// gradients (64). ptxas 13.0 uses 255 and 252 registers for sm_90 and spills none: two blocks of 128 threads an SM, of
// 65 and 64 KiB each. Heads of 128 take 97 and 96 KiB, within the 99 that sm_89 has.

// Queries of a tile of the kernel by keys; rows of sums are padded to a multiple of it.
#define TILE_QUERIES 64u
// Columns of scores made at once.
#define PART 32u

// For each row and head, `padded` shifts (-lse in units of log 2) and as many deltas (a query's output times the output's
// gradient). Zero past the end.
//
// Eight threads a query; the blocks cover rows, padded queries and heads exactly.
extern "C" __global__ void tensor_attention_sums(const bf16* mixed, const bf16* grad, const float* lse, float* sums,
                                               u32 seq_len, u32 padded, u32 heads, u32 width) {
    const u32 blocks_a_row = padded * heads / (blockDim.x / THREADS_A_ROW), c = threadIdx.x % THREADS_A_ROW;
    const u64 row = blockIdx.x / blocks_a_row;
    const u32 place = (blockIdx.x % blocks_a_row * blockDim.x + threadIdx.x) / THREADS_A_ROW;
    const u32 query = place / heads, head = place % heads;
    const u64 source = (row * seq_len + query) * heads + head;
    float shift = 0.0f, dot = 0.0f;
    if (query < seq_len) {
        shift = -lse[source] * LOG2_E;
        for (u32 channel = c * SPAN; channel < width; channel += THREADS_A_ROW * SPAN) {
            float a[SPAN], b[SPAN];
            load_whole(mixed + source * width + channel, a);
            load_whole(grad + source * width + channel, b);
            for (u32 i = 0; i < SPAN; i++) dot += a[i] * b[i];
        }
    }
    dot = row_sum(dot);
    if (c != 0) return;
    sums += (row * heads + head) * 2 * padded + query;
    sums[0] = shift;
    sums[padded] = dot;
}

// Masks the keys that come after a query where rows are keys, columns queries; `ahead` as in `mask_later_keys`.
template <u32 STRIPS, u32 COLUMNS>
static __device__ void mask_earlier_queries(float (&scores)[STRIPS][COLUMNS / 8][4], int ahead) {
    UNROLL for (u32 s = 0; s < STRIPS; s++) {
        UNROLL for (u32 n = 0; n < COLUMNS / 8; n++) {
            UNROLL for (u32 i = 0; i < 4; i++) {
                const int key = ahead + (int)(16 * s + i / 2 * 8), query = 8 * n + i % 2;
                if (key > query) scores[s][n][i] = MINUS_INFINITY;
            }
        }
    }
}

template <u32 WIDTH, u32 STRIPS>
static __device__ void scale_rows(float (&d)[STRIPS][WIDTH / 8][4], float scale) {
    UNROLL for (u32 s = 0; s < STRIPS; s++) {
        UNROLL for (u32 n = 0; n < WIDTH / 8; n++) {
            UNROLL for (u32 i = 0; i < 4; i++) d[s][n][i] *= scale;
        }
    }
}

// Gradient of a tile of queries.
template <u32 WIDTH, u32 STRIPS>
static __device__ void attend_grad_q_bf16(const bf16* q, const bf16* k, const bf16* v, const float* sums,
                                          const bf16* grad, bf16* grad_q, u32 seq_len, u32 padded, u32 heads,
                                          u32 kv_heads, u32 width, float scale) {
    const u32 OWN = 16 * STRIPS, ROWS = WARPS * OWN;
    DYNAMIC_SHARED(memory);
    bf16* const queries = (bf16*)memory;
    bf16* const grads = queries + ROWS * WIDTH;
    bf16 *keys = grads + ROWS * WIDTH, *next = keys + 2 * TILE_KEYS * WIDTH;
    const u32 stride = heads * width, kv_stride = kv_heads * width;
    const Task own = late_first<ROWS>(seq_len, heads);
    const u64 first = own.row * seq_len * stride + own.head * width;
    const u64 kv = own.row * seq_len * kv_stride + own.head / (heads / kv_heads) * width;
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const u32 warp_row = threadIdx.x / WARP * OWN, warp_first = own.start + warp_row;
    bf16* const own_queries = queries + warp_row * WIDTH;
    const u32 end = own.start + ROWS < seq_len ? own.start + ROWS : seq_len;
    const auto fetch_keys = [&](u32 start) {
        fetch<WIDTH, TILE_KEYS>(next, k + kv, kv_stride, start, seq_len, width);
        fetch<WIDTH, TILE_KEYS>(next + TILE_KEYS * WIDTH, v + kv, kv_stride, start, seq_len, width);
    };

    fetch<WIDTH, ROWS>(queries, q + first, stride, own.start, seq_len, width);
    fetch<WIDTH, ROWS>(grads, grad + first, stride, own.start, seq_len, width);
    copies_close();
    fetch_keys(0);
    copies_close();
    copies_wait<1>();
    __syncthreads();
    u32 left[WIDTH / 16][STRIPS][4], left_grads[WIDTH / 16][STRIPS][4];
    UNROLL for (u32 step = 0; step < WIDTH / 16; step++) {
        load_left<WIDTH, STRIPS>(left[step], own_queries, step);
        load_left<WIDTH, STRIPS>(left_grads[step], grads + warp_row * WIDTH, step);
    }
    float shift[STRIPS][2], delta[STRIPS][2];
    sums += (own.row * heads + own.head) * 2 * padded;
    UNROLL for (u32 i = 0; i < 2 * STRIPS; i++) {
        const u32 query = warp_first + 8 * i + g;
        shift[i / 2][i % 2] = query < seq_len ? sums[query] : 0.0f;
        delta[i / 2][i % 2] = query < seq_len ? sums[padded + query] : 0.0f;
    }

    float out[STRIPS][WIDTH / 8][4] = {};
    const float factor = scale * LOG2_E;
    for (u32 start = 0; start < end; start += TILE_KEYS) {
        copies_wait<0>();
        __syncthreads();
        exchange_stages(keys, next);
        if (start + TILE_KEYS < end) fetch_keys(start + TILE_KEYS);
        copies_close();
        const bf16* const values = keys + TILE_KEYS * WIDTH;
        for (u32 part = 0; part < TILE_KEYS; part += PART) {
            const u32 key = start + part;
            if (warp_first >= seq_len || key > warp_first + OWN - 1) continue;
            float scores[STRIPS][PART / 8][4] = {}, grad_scores[STRIPS][PART / 8][4] = {};
            multiply_rows<WIDTH, STRIPS, PART>(scores, left, keys + part * WIDTH);
            multiply_rows<WIDTH, STRIPS, PART>(grad_scores, left_grads, values + part * WIDTH);
            if (key + PART - 1 > warp_first) {
                mask_later_keys<STRIPS, PART>(scores, (int)(warp_first + g) - (int)(key + 2 * t));
            }
            UNROLL for (u32 s = 0; s < STRIPS; s++) {
                UNROLL for (u32 n = 0; n < PART / 8; n++) {
                    UNROLL for (u32 i = 0; i < 4; i++) {
                        const float weight = exp2_fast(fmaf(scores[s][n][i], factor, shift[s][i / 2]));
                        grad_scores[s][n][i] = weight * (grad_scores[s][n][i] - delta[s][i / 2]);
                    }
                }
            }
            u32 left_grad_scores[PART / 16][STRIPS][4];
            pack_left<STRIPS, PART>(left_grad_scores, grad_scores);
            multiply_columns<WIDTH, STRIPS, PART>(out, left_grad_scores, keys + part * WIDTH);
        }
    }
    scale_rows<WIDTH, STRIPS>(out, scale);
    const u32 present = warp_first < seq_len ? seq_len - warp_first : 0;
    put_rows<WIDTH, STRIPS>(out, own_queries, grad_q + first + (u64)warp_first * stride, stride, present, width);
}

// Gradients of a tile of keys and values: over the query heads of their group, over the queries that see them. Products
// are transposed, keys by queries, so that weights and gradients of scores are again left factors.
template <u32 WIDTH, u32 STRIPS>
static __device__ void attend_grad_kv_bf16(const bf16* q, const bf16* k, const bf16* v, const float* sums,
                                           const bf16* grad, bf16* grad_k, bf16* grad_v, u32 seq_len, u32 padded,
                                           u32 heads, u32 kv_heads, u32 width, float scale) {
    const u32 OWN = 16 * STRIPS, ROWS = WARPS * OWN;
    // Values a stage has of queries, of gradients, and of both kinds of sums (two to each float).
    const u32 TILE = TILE_QUERIES * WIDTH, STAGE = 2 * TILE + 4 * TILE_QUERIES;
    DYNAMIC_SHARED(memory);
    bf16* const keys = (bf16*)memory;
    bf16* const values = keys + ROWS * WIDTH;
    bf16 *queries = values + ROWS * WIDTH, *next = queries + STAGE;
    const u32 stride = heads * width, kv_stride = kv_heads * width, group = heads / kv_heads;
    // Early keys, which the most queries see, come first by themselves.
    const Task own = task<ROWS>(seq_len, kv_heads);
    const u64 kv = own.row * seq_len * kv_stride + own.head * width;
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const u32 warp_row = threadIdx.x / WARP * OWN, warp_first = own.start + warp_row;
    bf16 *const own_keys = keys + warp_row * WIDTH, *const own_values = values + warp_row * WIDTH;
    // Tiles of queries of a head, from the first that sees one of the block's keys.
    const u32 tiles = (seq_len - own.start + TILE_QUERIES - 1) / TILE_QUERIES;
    const auto fetch_queries = [&](u32 tile) {
        const u32 head = own.head * group + tile / tiles, start = own.start + tile % tiles * TILE_QUERIES;
        const u64 first = own.row * seq_len * stride + head * width;
        fetch<WIDTH, TILE_QUERIES>(next, q + first, stride, start, seq_len, width);
        fetch<WIDTH, TILE_QUERIES>(next + TILE, grad + first, stride, start, seq_len, width);
        // Four floats a copy.
        if (threadIdx.x < 2 * TILE_QUERIES / 4) {
            const u32 kind = threadIdx.x / (TILE_QUERIES / 4), at = threadIdx.x % (TILE_QUERIES / 4) * 4;
            const float* from = sums + ((own.row * heads + head) * 2 + kind) * padded + start + at;
            copy_ahead(next + 2 * TILE + 2 * (kind * TILE_QUERIES + at), from, true);
        }
    };

    fetch<WIDTH, ROWS>(keys, k + kv, kv_stride, own.start, seq_len, width);
    fetch<WIDTH, ROWS>(values, v + kv, kv_stride, own.start, seq_len, width);
    fetch_queries(0);
    copies_close();
    float key_out[STRIPS][WIDTH / 8][4] = {}, value_out[STRIPS][WIDTH / 8][4] = {};
    const float factor = scale * LOG2_E;
    for (u32 tile = 0; tile < tiles * group; tile++) {
        copies_wait<0>();
        __syncthreads();
        exchange_stages(queries, next);
        if (tile + 1 < tiles * group) fetch_queries(tile + 1);
        copies_close();
        const bf16* const grads = queries + TILE;
        const float* const shifts = (const float*)(grads + TILE);
        for (u32 part = 0; part < TILE_QUERIES; part += PART) {
            const u32 query = own.start + tile % tiles * TILE_QUERIES + part;
            if (query >= seq_len || query + PART - 1 < warp_first) continue;
            float weights[STRIPS][PART / 8][4] = {}, grad_scores[STRIPS][PART / 8][4] = {};
            multiply_rows<WIDTH, STRIPS, PART>(weights, own_keys, queries + part * WIDTH);
            multiply_rows<WIDTH, STRIPS, PART>(grad_scores, own_values, grads + part * WIDTH);
            if (warp_first + OWN - 1 > query) {
                mask_earlier_queries<STRIPS, PART>(weights, (int)(warp_first + g) - (int)(query + 2 * t));
            }
            // Queries past the end have no gradient: whatever their weights are, they add nothing.
            UNROLL for (u32 n = 0; n < PART / 8; n++) {
                const Pair shift = *(const Pair*)(shifts + part + 8 * n + 2 * t);
                const Pair delta = *(const Pair*)(shifts + TILE_QUERIES + part + 8 * n + 2 * t);
                UNROLL for (u32 s = 0; s < STRIPS; s++) {
                    UNROLL for (u32 i = 0; i < 4; i++) {
                        const float weight = exp2_fast(fmaf(weights[s][n][i], factor, i % 2 ? shift.y : shift.x));
                        weights[s][n][i] = weight;
                        grad_scores[s][n][i] = weight * (grad_scores[s][n][i] - (i % 2 ? delta.y : delta.x));
                    }
                }
            }
            u32 left[PART / 16][STRIPS][4];
            pack_left<STRIPS, PART>(left, weights);
            multiply_columns<WIDTH, STRIPS, PART>(value_out, left, grads + part * WIDTH);
            pack_left<STRIPS, PART>(left, grad_scores);
            multiply_columns<WIDTH, STRIPS, PART>(key_out, left, queries + part * WIDTH);
        }
    }
    scale_rows<WIDTH, STRIPS>(key_out, scale);
    const u32 present = warp_first < seq_len ? seq_len - warp_first : 0;
    const u64 out = kv + (u64)warp_first * kv_stride;
    put_rows<WIDTH, STRIPS>(key_out, own_keys, grad_k + out, kv_stride, present, width);
    put_rows<WIDTH, STRIPS>(value_out, own_values, grad_v + out, kv_stride, present, width);
}

#define TENSOR_ATTENTION(WIDTH, STRIPS)                                                                                  \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 2)                                                 \
        tensor_attention_##WIDTH(const bf16* q, const bf16* k, const bf16* v, bf16* mixed, float* lse, u32 seq_len,  \
                               u32 first_query, u32 heads, u32 kv_heads, u32 width, float scale) {                     \
        attend_bf16<WIDTH, STRIPS>(q, k, v, mixed, lse, seq_len, first_query, heads, kv_heads, width, scale);      \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 2)                                                 \
        tensor_attention_grad_q_##WIDTH(const bf16* q, const bf16* k, const bf16* v, const float* sums,                  \
                                      const bf16* grad, bf16* grad_q, u32 seq_len, u32 padded, u32 heads,              \
                                      u32 kv_heads, u32 width, float scale) {                                          \
        attend_grad_q_bf16<WIDTH, STRIPS>(q, k, v, sums, grad, grad_q, seq_len, padded, heads, kv_heads, width,        \
                                          scale);                                                                      \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 2)                                                 \
        tensor_attention_grad_kv_##WIDTH(const bf16* q, const bf16* k, const bf16* v, const float* sums,                 \
                                       const bf16* grad, bf16* grad_k, bf16* grad_v, u32 seq_len, u32 padded,          \
                                       u32 heads, u32 kv_heads, u32 width, float scale) {                              \
        attend_grad_kv_bf16<WIDTH, STRIPS>(q, k, v, sums, grad, grad_k, grad_v, seq_len, padded, heads, kv_heads,      \
                                           width, scale);                                                              \
    }

TENSOR_ATTENTION(32, 2)
TENSOR_ATTENTION(64, 2)
TENSOR_ATTENTION(128, 1)
