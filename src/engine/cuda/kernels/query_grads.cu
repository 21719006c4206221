// Queries' gradients as attention_bf16_grad.cu adds them up: single precision, in the order of fragments, not scaled.
//
// For each row and head of the batch they are `padded` queries of `tile_width` channels. 16 queries and 16 channels lie
// together: those of queries g (0 to 7), then those of queries g + 8, as the 32 lanes 4g + t have them. A lane has four
// values, channels 2t, 2t + 1, 2t + 8 and 2t + 9: one access of 16 bytes, and a warp's accesses are neighbors.

// Four neighbors in single precision, one access.
struct __align__(16) Four {
    float at[4];
};

// Where the first lane's values are: of `query`, a multiple of 16 counted over all rows, heads and padded queries, and
// `channel`, a multiple of 16. The queries g + 8 follow after 32 lanes.
static __device__ u64 query_grad_place(u64 query, u32 channel, u32 tile_width) {
    return query * tile_width + channel * 16;
}

// Gradients of heads, a head of one token a row: as they are stored, or added up as above.
template <class T>
struct HeadGrads {
    const T* grads;
    u32 width;

    __device__ void span(u64 row, u32 column, float (&x)[SPAN]) const {
        load_whole(grads + row * width + column, x);
    }
    __device__ float value(u64 row, u32 column) const {
        return get(grads[row * width + column]);
    }
};

struct QueryGrads {
    const float* sums;
    u32 heads, seq_len, padded, tile_width;
    float scale;

    // The two channels 2t and 2t + 1 of the span that `column` is in.
    __device__ Pair pair(u64 row, u32 column, u32 t) const {
        const u64 token = row / heads, query = token % seq_len;
        const u64 among_all = (token / seq_len * heads + row % heads) * padded + query / 16 * 16;
        const float* const first = sums + query_grad_place(among_all, column / 16 * 16, tile_width);
        const u32 in_strip = (u32)(query % 16), lane = in_strip / 8 * WARP + in_strip % 8 * 4 + t;
        const Pair sum = ((const Pair*)first)[2 * lane + column / SPAN % 2];
        const Pair rounded = {nearest_bf16(sum.x * scale), nearest_bf16(sum.y * scale)};
        return rounded;
    }
    __device__ void span(u64 row, u32 column, float (&x)[SPAN]) const {
        UNROLL for (u32 t = 0; t < SPAN / 2; t++) {
            const Pair two = pair(row, column, t);
            x[2 * t] = two.x;
            x[2 * t + 1] = two.y;
        }
    }
    __device__ float value(u64 row, u32 column) const {
        const Pair two = pair(row, column, column % SPAN / 2);
        return column % 2 ? two.y : two.x;
    }
};

// grad_q as bfloat16, [tokens, heads, width]. A thread has a span, of n values.
extern "C" __global__ void tensor_query_grads(const float* sums, bf16* grad_q, u32 seq_len, u32 padded, u32 heads,
                                              u32 tile_width, u32 width, float scale, u64 n) {
    const u64 start = span_start();
    if (start >= n) return;
    const QueryGrads grads = {sums, heads, seq_len, padded, tile_width, scale};
    float x[SPAN];
    grads.span(start / width, (u32)(start % width), x);
    store_whole(grad_q + start, x);
}
