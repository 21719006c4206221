// Heads before attention: normalized, rotated by position, multiplied by a gain. A head of one token is a row.
//
// Where the width is a power of two from 16 to 256, a row has as many lanes as spans, and a warp several rows; elsewhere a
// warp has a row. A lane of the first half of a row is paired with the one that has the same channels of the second.
//
// Rows are read and written where activations have them: a token's heads side by side, tokens `stride` values apart.
//
// `half` is how many pairs of channels are rotated, i and i + half; where that is not all of a head, a warp has a row, and
// the rest is not rotated.

// Lanes of a row, 0 where a warp has it.
static __device__ u32 lanes_of(u32 width, u32 half) {
    const bool is_power = (width & (width - 1)) == 0;
    return is_power && 2 * half == width && width >= 2 * SPAN && width <= WARP * SPAN ? width / SPAN : 0;
}

// Sum over the lanes of a row, the same bits in each.
static __device__ float lanes_sum(float value, u32 lanes) {
    for (u32 distance = lanes / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

// Where head `row` of [tokens, heads] finds its cosines and sines, `half` of each.
static __device__ u64 table_row(u64 row, u32 heads, u32 half, u32 tokens_per_row, u32 first) {
    return (first + row / heads % tokens_per_row) * half;
}

// Where head `row` of [tokens, heads] begins among activations.
static __device__ u64 head_place(u64 row, u32 heads, u32 width, u32 stride) {
    return row / heads * stride + row % heads * width;
}

// A lane's span of a row, with the angles of its channels. Lanes past the last row have zeros.
struct HeadSpan {
    u64 row;
    u32 count, column;
    // 1 in the first half of the head, -1 in the second.
    float sign;
    float cosines[SPAN], sines[SPAN];
};

static __device__ void find_span(HeadSpan& own, const float* cosines, const float* sines, u32 lanes, u32 heads,
                                 u32 width, u32 tokens_per_row, u32 first, u64 rows) {
    own.row = thread_index() / lanes;
    own.count = own.row < rows ? SPAN : 0;
    own.column = (u32)(thread_index() % lanes) * SPAN;
    own.sign = own.column < width / 2 ? 1.0f : -1.0f;
    const u64 angle = own.count == 0 ? 0 : table_row(own.row, heads, width / 2, tokens_per_row, first);
    load_span(cosines + angle + own.column % (width / 2), own.count, own.cosines);
    load_span(sines + angle + own.column % (width / 2), own.count, own.sines);
}

// No gain where `gain` is null.
template <class T>
static __device__ void norm_rope_heads(const T* x, T* y, const float* cosines, const float* sines, const float* gain,
                                     u32 heads, u32 width, u32 half, u32 tokens_per_row, u32 first, u32 stride,
                                     u64 rows) {
    if (const u32 lanes = lanes_of(width, half)) {
        HeadSpan own;
        find_span(own, cosines, sines, lanes, heads, width, tokens_per_row, first, rows);
        float a[SPAN], squares = 0.0f;
        load_span(x + head_place(own.row, heads, width, stride) + own.column, own.count, a);
        for (u32 i = 0; i < SPAN; i++) squares += a[i] * a[i];
        const float inverse = inverse_rms_of(lanes_sum(squares, lanes), width);
        const float factor = inverse * (gain && own.count ? gain[own.row % heads] : 1.0f);
        for (u32 i = 0; i < SPAN; i++) {
            const float value = a[i] * factor, other = __shfl_xor_sync(ALL_LANES, value, lanes / 2);
            a[i] = value * own.cosines[i] + own.sign * other * own.sines[i];
        }
        store_span(y + own.row * width + own.column, own.count, a);
        return;
    }
    const u64 row = warp_row();
    if (row >= rows) return;
    const u32 lane = threadIdx.x % WARP;
    const u64 angles = table_row(row, heads, half, tokens_per_row, first);
    x += head_place(row, heads, width, stride);
    y += row * width;
    float squares = 0.0f;
    for (u32 i = lane; i < width; i += WARP) squares += get(x[i]) * get(x[i]);
    const float factor = inverse_rms_of(warp_sum(squares), width) * (gain ? gain[row % heads] : 1.0f);
    for (u32 i = lane; i < half; i += WARP) {
        const float x1 = get(x[i]) * factor, x2 = get(x[i + half]) * factor;
        put(y + i, x1 * cosines[angles + i] + x2 * sines[angles + i]);
        put(y + i + half, x2 * cosines[angles + i] - x1 * sines[angles + i]);
    }
    for (u32 i = 2 * half + lane; i < width; i += WARP) put(y + i, get(x[i]) * factor);
}

#define QK_NORM_ROPE(T, SUFFIX)                                                                                    \
    extern "C" __global__ void qk_norm_rope##SUFFIX(const T* x, T* y, const float* cosines, const float* sines,    \
                                                    const float* gain, u32 heads, u32 width, u32 half,             \
                                                    u32 tokens_per_row, u32 first, u32 stride, u64 rows) {         \
        norm_rope_heads(x, y, cosines, sines, gain, heads, width, half, tokens_per_row, first, stride, rows);      \
    }
FOR_EACH_DTYPE(QK_NORM_ROPE)

// Replaces grad_x, and gain_terms [tokens, heads] by each head's share of its gain's gradient where it is not null.
template <class T, class Grads>
static __device__ void norm_rope_heads_grad(const T* x, const Grads& grad_y, T* grad_x, float* gain_terms,
                                          const float* cosines, const float* sines, const float* gain, u32 heads,
                                          u32 width, u32 half, u32 tokens_per_row, u32 first, u32 stride, u64 rows) {
    if (const u32 lanes = lanes_of(width, half)) {
        HeadSpan own;
        find_span(own, cosines, sines, lanes, heads, width, tokens_per_row, first, rows);
        float a[SPAN] = {}, g[SPAN] = {}, squares = 0.0f, dot = 0.0f;
        const u64 place = head_place(own.row, heads, width, stride) + own.column;
        if (own.count != 0) {
            load_whole(x + place, a);
            grad_y.span(own.row, own.column, g);
        }
        // Through the rotation; what is left is gain * normed.
        for (u32 i = 0; i < SPAN; i++) {
            const float other = __shfl_xor_sync(ALL_LANES, g[i], lanes / 2);
            g[i] = g[i] * own.cosines[i] - own.sign * other * own.sines[i];
            squares += a[i] * a[i];
            dot += a[i] * g[i];
        }
        const float inverse = inverse_rms_of(lanes_sum(squares, lanes), width);
        dot = lanes_sum(dot, lanes);
        if (own.count == 0) return;
        if (gain_terms && own.column == 0) gain_terms[own.row] = dot * inverse;
        const float factor = gain ? gain[own.row % heads] : 1.0f;
        const float pull = dot * factor * inverse * inverse / (float)width;
        for (u32 i = 0; i < SPAN; i++) g[i] = (g[i] * factor - a[i] * pull) * inverse;
        store_whole(grad_x + place, g);
        return;
    }
    const u64 row = warp_row();
    if (row >= rows) return;
    const u32 lane = threadIdx.x % WARP;
    const u64 angles = table_row(row, heads, half, tokens_per_row, first);
    x += head_place(row, heads, width, stride);
    grad_x += head_place(row, heads, width, stride);
    float squares = 0.0f, dot = 0.0f;
    for (u32 i = lane; i < half; i += WARP) {
        const float c = cosines[angles + i], s = sines[angles + i];
        const float x1 = get(x[i]), x2 = get(x[i + half]), g1 = grad_y.value(row, i), g2 = grad_y.value(row, i + half);
        squares += x1 * x1;
        squares += x2 * x2;
        dot += x1 * (g1 * c - g2 * s);
        dot += x2 * (g2 * c + g1 * s);
    }
    for (u32 i = 2 * half + lane; i < width; i += WARP) {
        squares += get(x[i]) * get(x[i]);
        dot += get(x[i]) * grad_y.value(row, i);
    }
    const float inverse = inverse_rms_of(warp_sum(squares), width);
    dot = warp_sum(dot);
    if (gain_terms && lane == 0) gain_terms[row] = dot * inverse;
    const float factor = gain ? gain[row % heads] : 1.0f;
    const float pull = dot * factor * inverse * inverse / (float)width;
    for (u32 i = lane; i < half; i += WARP) {
        const float c = cosines[angles + i], s = sines[angles + i];
        const float x1 = get(x[i]), x2 = get(x[i + half]), g1 = grad_y.value(row, i), g2 = grad_y.value(row, i + half);
        put(grad_x + i, ((g1 * c - g2 * s) * factor - x1 * pull) * inverse);
        put(grad_x + i + half, ((g2 * c + g1 * s) * factor - x2 * pull) * inverse);
    }
    for (u32 i = 2 * half + lane; i < width; i += WARP) {
        put(grad_x + i, (grad_y.value(row, i) * factor - get(x[i]) * pull) * inverse);
    }
}

#define QK_NORM_ROPE_GRAD(T, SUFFIX)                                                                                   \
    extern "C" __global__ void qk_norm_rope_grad##SUFFIX(const T* x, const T* grad_y, T* grad_x, float* gain_terms,    \
                                                         const float* cosines, const float* sines, const float* gain,  \
                                                         u32 heads, u32 width, u32 half, u32 tokens_per_row, u32 first, \
                                                         u32 stride, u64 rows) {                                       \
        const HeadGrads<T> grads = {grad_y, width};                                                                    \
        norm_rope_heads_grad(x, grads, grad_x, gain_terms, cosines, sines, gain, heads, width, half, tokens_per_row,   \
                             first, stride, rows);                                                                     \
    }
FOR_EACH_DTYPE(QK_NORM_ROPE_GRAD)

// The same of queries, from their gradients as attention adds them up.
extern "C" __global__ void tensor_qk_norm_rope_grad(const bf16* x, const float* sums, bf16* grad_x, float* gain_terms,
                                                    const float* cosines, const float* sines, const float* gain,
                                                    u32 padded, u32 tile_width, u32 heads, u32 width, u32 half,
                                                    u32 tokens_per_row, u32 first, u32 stride, float scale, u64 rows) {
    const QueryGrads grads = {sums, heads, tokens_per_row, padded, tile_width, scale};
    norm_rope_heads_grad(x, grads, grad_x, gain_terms, cosines, sines, gain, heads, width, half, tokens_per_row, first,
                         stride, rows);
}
