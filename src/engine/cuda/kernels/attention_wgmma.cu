// Causal attention of heads of up to 64 channels by Hopper's warpgroup instructions, for what attention_bf16.cu does by
// `mma.sync` elsewhere: the same steps, roundings and masks.
//
// A block has two warpgroups of 64 queries each: of two heads that share keys and values, whose tiles are then read once
// for both; where heads do not come in such pairs, of one head. Queries stay in registers as the left side; scores become
// weights in registers, which are the left side of the product with the values. Two blocks an SM: while one warpgroup
// makes weights, products of the other three run.

#define WGMMA_ATTENTION_STAGES 3u
#define WGMMA_QUERIES 64u

// Which queries a warpgroup has, and where its block's tiles end.
struct Queries {
    u32 start, head;
};

static __device__ void wgmma_attend(const bf16* q, const bf16* k, const bf16* v, bf16* mixed, float* lse, u32 seq_len,
                                    u32 first_query, u32 heads, u32 kv_heads, u32 v_stride, u32 width, float scale) {
    const u32 WIDTH = 64, TILE = TILE_KEYS * WIDTH, STEPS = WIDTH / WGMMA_INNER;
    SWIZZLED_SHARED(tiles);
    bf16 *const queries = (bf16*)tiles, *const stages = queries + 2 * WGMMA_QUERIES * WIDTH;
    const u32 count = seq_len - first_query, stride = heads * width, kv_stride = kv_heads * width;
    const bool is_paired = heads / kv_heads % 2 == 0;
    const Task own = is_paired ? late_first<WGMMA_QUERIES>(count, heads / 2) : late_first<2 * WGMMA_QUERIES>(count, heads);
    auto queries_of = [&](u32 group) {
        return is_paired ? Queries{own.start, 2 * own.head + group} : Queries{own.start + group * WGMMA_QUERIES, own.head};
    };
    const u32 group = threadIdx.x / WARPGROUP, lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const Queries mine = queries_of(group);
    const u64 first_row = own.row * count;
    const u32 kv_channel = mine.head / (heads / kv_heads) * width;
    const u64 of_keys = own.row * seq_len * kv_stride + kv_channel, of_values = own.row * seq_len * v_stride + kv_channel;
    // One past the last key that any of the block's queries sees.
    const u32 last = own.start + (is_paired ? WGMMA_QUERIES : 2 * WGMMA_QUERIES);
    const u32 end = first_query + (last < count ? last : count);
    // The last keys that the warpgroup's first query sees, and the warp's.
    const u32 seen = first_query + mine.start, warp_first = mine.start + threadIdx.x % WARPGROUP / WARP * 16;

    u32 next = 0, next_stage = 0;
    auto copy_next = [&] {
        if (next < end) {
            bf16* stage = stages + next_stage * 2 * TILE;
            copy_tile<TILE_KEYS>(stage, k + of_keys, kv_stride, next, seq_len, 0, width);
            copy_tile<TILE_KEYS>(stage + TILE, v + of_values, v_stride, next, seq_len, 0, width);
            next += TILE_KEYS;
        }
        copies_close();
        next_stage = (next_stage + 1) % WGMMA_ATTENTION_STAGES;
    };

    UNROLL for (u32 i = 0; i < 2; i++) {
        const Queries part = queries_of(i);
        copy_tile<WGMMA_QUERIES>(queries + i * WGMMA_QUERIES * WIDTH, q + first_row * stride + part.head * width, stride,
                                 part.start, count, 0, width);
    }
    copies_close();
    for (u32 i = 0; i + 1 < WGMMA_ATTENTION_STAGES; i++) copy_next();
    copies_wait<WGMMA_ATTENTION_STAGES - 1>();
    __syncthreads();
    bf16* const own_queries = queries + threadIdx.x / WARP * 16 * WIDTH;
    u32 left[STEPS][1][4];
    UNROLL for (u32 step = 0; step < STEPS; step++) load_left<WIDTH, 1>(left[step], own_queries, step);

    Running<WIDTH, 1> running = {};
    running.largest[0][0] = running.largest[0][1] = MINUS_INFINITY;
    const float factor = scale * LOG2_E;
    u32 stage = 0;
    for (u32 start = 0; start < end; start += TILE_KEYS) {
        copies_wait<WGMMA_ATTENTION_STAGES - 2>();
        wgmma_sees_copies();
        // This tile is there, and both warpgroups are done with the one before it, whose stage is filled again.
        __syncthreads();
        copy_next();
        const bf16 *keys = stages + stage * 2 * TILE, *values = keys + TILE;
        stage = (stage + 1) % WGMMA_ATTENTION_STAGES;
        if (mine.start >= count || start > seen + WGMMA_QUERIES - 1) continue;
        float scores[1][TILE_KEYS / 8][4];
        wgmma_fence();
        UNROLL for (u32 step = 0; step < STEPS; step++) {
            wgmma<false>(scores[0], left[step][0], descriptor_along(keys, step * WGMMA_INNER), step > 0);
        }
        wgmma_close();
        wgmma_wait<0>();
        hold(scores[0]);
        if (start + TILE_KEYS - 1 > seen) {
            mask_later_keys<1, TILE_KEYS>(scores, (int)(first_query + warp_first + g) - (int)(start + 2 * t));
        }
        online_softmax<WIDTH, 1>(scores, factor, running);
        u32 weights[TILE_KEYS / WGMMA_INNER][1][4];
        pack_left<1, TILE_KEYS>(weights, scores);
        hold(weights);
        hold(running.out[0]);
        wgmma_fence();
        UNROLL for (u32 step = 0; step < TILE_KEYS / WGMMA_INNER; step++) {
            wgmma<true>(running.out[0], weights[step][0], descriptor_across<TILE_KEYS>(values, step * WGMMA_INNER), 1);
        }
        wgmma_close();
        wgmma_wait<0>();
        hold(running.out[0]);
    }

    UNROLL for (u32 lower = 0; lower < 2; lower++) {
        const u32 query = warp_first + 8 * lower + g;
        const float sum = quad_sum(running.sum[0][lower]), inverse = 1.0f / sum;
        UNROLL for (u32 n = 0; n < WIDTH / 8; n++) {
            running.out[0][n][2 * lower] *= inverse;
            running.out[0][n][2 * lower + 1] *= inverse;
        }
        if (t == 0 && query < count) {
            lse[(first_row + query) * heads + mine.head] = running.largest[0][lower] * scale + logf(sum);
        }
    }
    const u32 present = warp_first < count ? count - warp_first : 0;
    bf16* const out = mixed + (first_row + warp_first) * stride + mine.head * width;
    put_rows<WIDTH, 1>(running.out, own_queries, out, stride, present, width);
}

extern "C" __global__ void __launch_bounds__(WGMMA_THREADS, 2)
    wgmma_attention_64(const bf16* q, const bf16* k, const bf16* v, bf16* mixed, float* lse, u32 seq_len, u32 first_query,
                       u32 heads, u32 kv_heads, u32 v_stride, u32 width, float scale) {
    if constexpr (HAS_WGMMA) {
        wgmma_attend(q, k, v, mixed, lse, seq_len, first_query, heads, kv_heads, v_stride, width, scale);
    }
}
