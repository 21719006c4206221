// Gradients of attention_bf16.cu in one kernel: five products, as FlashAttention-2 has them.
//
// A block has a tile of keys with their values, and goes through the queries that see them. Scores and their gradients are
// made once; products are transposed, keys by queries, so that weights and slopes (the gradients of scores) are left
// factors of the sums of values' and keys' gradients, which stay in registers. Weights are recomputed from the queries'
// lse. They and the slopes are rounded to bfloat16 for the products.
//
// A query's gradient is a sum over tiles of keys, and so over blocks. It is added up in single precision in memory (in the
// second-level cache, mostly), in an order that no schedule changes: the latest keys that a query sees come first, then the
// ones before them. A counter for each tile of queries says whose turn it is. With this order blocks that begin together
// never wait: the block of the next earlier keys is a step behind at every tile. Blocks take their work by a ticket, late
// keys first, so a block only ever waits for one that has begun before it: no schedule can make it wait forever.
//
// Sums lie in the order of fragments: `query_grad_place` says where. The pass that reads them scales and rounds.
//
// PART queries at a time, so that two products of a part (64 registers for heads of 64) fit beside the sums of keys and
// values (128). Slopes go through shared memory to the warps that multiply them with the block's keys. Heads of 64 take 81
// KiB a block, two blocks of 128 threads an SM; heads of 128 take 69 KiB, within the 99 that sm_89 has.

// Queries of a counter: no tile has fewer. Rows of sums are padded to a multiple of the largest tile.
#define TURN_QUERIES 32u
// Queries of scores made at once, and of a warp's part of queries' gradients.
#define PART 32u

// For each row and head, `padded` shifts (-lse in units of log 2) and as many deltas (a query's output times the output's
// gradient). Zero past the end. And zeros `counters`: the ticket and all turns.
//
// Eight threads a query; the blocks cover rows, padded queries and heads exactly.
extern "C" __global__ void tensor_attention_sums(const bf16* mixed, const bf16* grad, const float* lse, float* sums,
                                               u32* counters, u32 seq_len, u32 padded, u32 heads, u32 width) {
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
    if (thread_index() == 0) counters[0] = 0;
    if (query % TURN_QUERIES == 0) counters[1 + ((row * heads + head) * padded + query) / TURN_QUERIES] = 0;
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

// d += a^T b over `inner` rows of two tiles, a multiple of 16: two strips of columns of `a` from `column` on, and CHANNELS
// of `b` from `channel` on.
template <u32 TILE, u32 WIDTH, u32 CHANNELS>
static __device__ void multiply_inner(float (&d)[PART / 16][CHANNELS / 8][4], const bf16* a, const bf16* b, u32 column,
                                      u32 channel, u32 inner) {
    const u32 lane = threadIdx.x % WARP, key = lane % 8 + lane / 16 * 8, row = lane % 16;
    const u32 left_span = column / SPAN + lane / 8 % 2, right_span = channel / SPAN + lane / 16;
    SharedAddress left[PART / 16], right[CHANNELS / 16];
    UNROLL for (u32 s = 0; s < PART / 16; s++) left[s] = a + key * TILE + (left_span + 2 * s ^ twist<TILE>(key)) * SPAN;
    UNROLL for (u32 n = 0; n < CHANNELS / 16; n++) {
        right[n] = b + row * WIDTH + (right_span + 2 * n ^ twist<WIDTH>(row)) * SPAN;
    }
    for (u32 step = 0; step < inner; step += 16) {
        u32 x[PART / 16][4];
        UNROLL for (u32 s = 0; s < PART / 16; s++) {
            load_matrices_transposed(x[s], left[s] + step * TILE * (u32)sizeof(bf16));
        }
        UNROLL for (u32 n = 0; n < CHANNELS / 8; n += 2) {
            u32 y[4];
            load_matrices_transposed(y, right[n / 2] + step * WIDTH * (u32)sizeof(bf16));
            UNROLL for (u32 s = 0; s < PART / 16; s++) {
                mma_bf16(d[s][n], x[s], y[0], y[1]);
                mma_bf16(d[s][n + 1], x[s], y[2], y[3]);
            }
        }
    }
}

// Writes slopes as they were packed, [keys, QUERIES], from column `part` on; the strips' rows begin at `tile`.
template <u32 QUERIES, u32 STRIPS>
static __device__ void put_slopes(bf16* tile, const u32 (&packed)[PART / 16][STRIPS][4], u32 part) {
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    UNROLL for (u32 step = 0; step < PART / 16; step++) {
        UNROLL for (u32 s = 0; s < STRIPS; s++) {
            UNROLL for (u32 i = 0; i < 4; i++) {
                const u32 row = 16 * s + i % 2 * 8 + g, span = part / SPAN + 2 * step + i / 2;
                *(u32*)(tile + row * QUERIES + (span ^ twist<QUERIES>(g)) * SPAN + 2 * t) = packed[step][s][i];
            }
        }
    }
}

// Gradients of a tile of keys and values: over the query heads of their group, over the queries that see them; and what
// the tile adds to the gradients of those queries.
template <u32 WIDTH, u32 STRIPS>
static __device__ void attend_grad_bf16(const bf16* q, const bf16* k, const bf16* v, const float* sums,
                                        const bf16* grad, u32* counters, float* grad_q, bf16* grad_k, bf16* grad_v,
                                        u32 seq_len, u32 padded, u32 heads, u32 kv_heads, u32 v_stride, u32 width,
                                        float scale) {
    const u32 OWN = 16 * STRIPS, ROWS = WARPS * OWN, QUERIES = WIDTH == 128 ? 32 : 64;
    // Values a stage has of queries, of gradients, and of both kinds of sums (two to each float).
    const u32 TILE = QUERIES * WIDTH, STAGE = 2 * TILE + 4 * QUERIES;
    // A warp has PART queries and so many channels of a tile of queries' gradients.
    const u32 PARTS = QUERIES / PART, CHANNELS = WIDTH / (WARPS / PARTS);
    DYNAMIC_SHARED(memory);
    bf16* const keys = (bf16*)memory;
    bf16* const values = keys + ROWS * WIDTH;
    bf16* const slopes = values + ROWS * WIDTH;
    bf16 *queries = slopes + ROWS * QUERIES, *next = queries + STAGE;

    if (threadIdx.x == 0) *(u32*)slopes = take_ticket(counters);
    __syncthreads();
    const u32 ticket = *(const u32*)slopes, blocks = (seq_len + ROWS - 1) / ROWS;
    const u32 own_start = (blocks - 1 - ticket % blocks) * ROWS, own_head = ticket / blocks % kv_heads;
    const u64 own_row = ticket / blocks / kv_heads;

    const u32 stride = heads * width, kv_stride = kv_heads * width, group = heads / kv_heads;
    const u64 kv = own_row * seq_len * kv_stride + own_head * width;
    const u64 of_values = own_row * seq_len * v_stride + own_head * width;
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
    const u32 warp_row = warp * OWN, warp_first = own_start + warp_row;
    bf16 *const own_keys = keys + warp_row * WIDTH, *const own_values = values + warp_row * WIDTH;
    // Tiles of queries of a head, from the first that sees one of the block's keys.
    const u32 tiles = (seq_len - own_start + QUERIES - 1) / QUERIES;
    const auto fetch_queries = [&](u32 tile) {
        const u32 head = own_head * group + tile / tiles, start = own_start + tile % tiles * QUERIES;
        const u64 first = own_row * seq_len * stride + head * width;
        fetch<WIDTH, QUERIES>(next, q + first, stride, start, seq_len, width);
        fetch<WIDTH, QUERIES>(next + TILE, grad + first, stride, start, seq_len, width);
        // Four floats a copy.
        if (threadIdx.x < 2 * QUERIES / 4) {
            const u32 kind = threadIdx.x / (QUERIES / 4), at = threadIdx.x % (QUERIES / 4) * 4;
            const float* from = sums + ((own_row * heads + head) * 2 + kind) * padded + start + at;
            copy_ahead(next + 2 * TILE + 2 * (kind * QUERIES + at), from, true);
        }
    };
    // First of a tile's queries among all rows' and heads'.
    const auto place_of = [&](u32 tile) {
        const u32 head = own_head * group + tile / tiles;
        return (own_row * heads + head) * padded + own_start + tile % tiles * QUERIES;
    };
    const auto turn_of = [&](u32 tile) { return counters + 1 + place_of(tile) / TURN_QUERIES; };
    // Tiles of keys that come before this one in the sums of a tile of queries.
    const auto place_in_line = [&](u32 tile) { return tile % tiles * QUERIES / ROWS; };

    fetch<WIDTH, ROWS>(keys, k + kv, kv_stride, own_start, seq_len, width);
    fetch<WIDTH, ROWS>(values, v + of_values, v_stride, own_start, seq_len, width);
    fetch_queries(0);
    copies_close();
    float key_out[STRIPS][WIDTH / 8][4] = {}, value_out[STRIPS][WIDTH / 8][4] = {};
    const float factor = scale * LOG2_E;
    for (u32 tile = 0; tile < tiles * group; tile++) {
        copies_wait<0>();
        // The tile is there, and everybody has done with the one before: its stage, the slopes, its sums.
        __syncthreads();
        if (tile > 0 && threadIdx.x == 0) set_turn(turn_of(tile - 1), place_in_line(tile - 1) + 1);
        exchange_stages(queries, next);
        if (tile + 1 < tiles * group) fetch_queries(tile + 1);
        copies_close();
        const u32 start = own_start + tile % tiles * QUERIES;
        const bf16* const grads = queries + TILE;
        const float* const shifts = (const float*)(grads + TILE);
        for (u32 part = 0; part < QUERIES; part += PART) {
            const u32 query = start + part;
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
                const Pair delta = *(const Pair*)(shifts + QUERIES + part + 8 * n + 2 * t);
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
            put_slopes<QUERIES, STRIPS>(slopes + warp_row * QUERIES, left, part);
            multiply_columns<WIDTH, STRIPS, PART>(key_out, left, queries + part * WIDTH);
        }
        const u32 line = place_in_line(tile);
        if (threadIdx.x == 0) wait_for_turn(turn_of(tile), line);
        __syncthreads();
        const u32 part = warp % PARTS * PART, channel = warp / PARTS * CHANNELS;
        if (start + part >= seq_len) continue;
        Four* const sum = (Four*)(grad_q + query_grad_place(place_of(tile) + part, channel, WIDTH)) + lane;
        // What was added before is on its way while the products are made.
        Four before[PART / 16][CHANNELS / 16][2] = {};
        if (line > 0) {
            UNROLL for (u32 i = 0; i < PART / 16 * (CHANNELS / 8); i++) {
                const u32 s = i / (CHANNELS / 8), n = i / 2 % (CHANNELS / 16);
                before[s][n][i % 2] = load_fresh(sum + s * 4 * WIDTH + (2 * n + i % 2) * WARP);
            }
        }
        float out[PART / 16][CHANNELS / 8][4] = {};
        // The warps of later keys than its queries see have written none of its slopes.
        const u32 seen = start + part + PART - own_start;
        multiply_inner<QUERIES, WIDTH, CHANNELS>(out, slopes, keys, part, channel, seen < ROWS ? seen : ROWS);
        UNROLL for (u32 i = 0; i < PART / 16 * (CHANNELS / 8); i++) {
            const u32 s = i / (CHANNELS / 8), n = i / 2 % (CHANNELS / 16), lower = i % 2;
            Four more = before[s][n][lower];
            UNROLL for (u32 j = 0; j < 4; j++) more.at[j] += out[s][2 * n + j / 2][2 * lower + j % 2];
            sum[s * 4 * WIDTH + (2 * n + lower) * WARP] = more;
        }
    }
    __syncthreads();
    const u32 last = tiles * group - 1;
    if (threadIdx.x == 0) set_turn(turn_of(last), place_in_line(last) + 1);
    scale_rows<WIDTH, STRIPS>(key_out, scale);
    const u32 present = warp_first < seq_len ? seq_len - warp_first : 0;
    put_rows<WIDTH, STRIPS>(key_out, own_keys, grad_k + kv + (u64)warp_first * kv_stride, kv_stride, present, width);
    put_rows<WIDTH, STRIPS>(value_out, own_values, grad_v + of_values + (u64)warp_first * v_stride, v_stride, present,
                            width);
}

#define TENSOR_ATTENTION(WIDTH, STRIPS)                                                                                  \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 2)                                                 \
        tensor_attention_##WIDTH(const bf16* q, const bf16* k, const bf16* v, bf16* mixed, float* lse, u32 seq_len,  \
                               u32 first_query, u32 heads, u32 kv_heads, u32 v_stride, u32 width, float scale) {       \
        attend_bf16<WIDTH, STRIPS>(q, k, v, mixed, lse, seq_len, first_query, heads, kv_heads, v_stride, width,        \
                                   scale);                                                                             \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 2)                                                 \
        tensor_attention_grad_##WIDTH(const bf16* q, const bf16* k, const bf16* v, const float* sums,                    \
                                    const bf16* grad, u32* counters, float* grad_q, bf16* grad_k, bf16* grad_v,        \
                                    u32 seq_len, u32 padded, u32 heads, u32 kv_heads, u32 v_stride, u32 width,         \
                                    float scale) {                                                                     \
        attend_grad_bf16<WIDTH, STRIPS>(q, k, v, sums, grad, counters, grad_q, grad_k, grad_v, seq_len, padded, heads, \
                                        kv_heads, v_stride, width, scale);                                             \
    }

TENSOR_ATTENTION(32, 2)
TENSOR_ATTENTION(64, 2)
TENSOR_ATTENTION(128, 1)
