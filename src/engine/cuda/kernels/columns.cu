// Sums down the columns of a matrix in two passes of fixed order: chunks of rows first, then the chunks.
//
// In the first pass blockIdx.x is the chunk and each thread has a span of columns, or one where the width is no multiple
// of a span; `partial` is [chunks, columns].

struct Columns {
    u32 first, count;
};

static __device__ Columns own_columns(u32 width) {
    const u32 each = width % SPAN == 0 ? SPAN : 1, first = (blockIdx.y * blockDim.x + threadIdx.x) * each;
    const Columns own = {first, first < width ? each : 0};
    return own;
}

static __device__ u64 chunk_start() {
    return (u64)blockIdx.x * ROWS_A_CHUNK;
}

static __device__ u64 chunk_end(u64 rows) {
    const u64 end = chunk_start() + ROWS_A_CHUNK;
    return end < rows ? end : rows;
}

extern "C" __global__ void column_partials(const float* x, float* partial, u32 width, u64 rows) {
    const Columns own = own_columns(width);
    if (own.count == 0) return;
    float sums[SPAN] = {}, a[SPAN];
    for (u64 row = chunk_start(); row < chunk_end(rows); row++) {
        load_span(x + row * width + own.first, own.count, a);
        for (u32 j = 0; j < SPAN; j++) sums[j] += a[j];
    }
    store_span(partial + (u64)blockIdx.x * width + own.first, own.count, sums);
}

// out += the sums of the chunks; blocks of 256 threads have 32 columns and eight running sums for each.
extern "C" __global__ void column_sums(const float* partial, float* out, u32 columns, u32 chunks) {
    __shared__ float sums[8][WARP];
    const u32 lane = threadIdx.x % WARP, share = threadIdx.x / WARP;
    const u32 column = blockIdx.x * WARP + lane;
    float sum = 0.0f;
    if (column < columns) {
        for (u32 chunk = share; chunk < chunks; chunk += 8) sum += partial[(u64)chunk * columns + column];
    }
    sums[share][lane] = sum;
    __syncthreads();
    if (share > 0 || column >= columns) return;
    for (u32 other = 1; other < 8; other++) sum += sums[other][lane];
    out[column] += sum;
}

// Turns `grad`, the gradient of the mixture, into that of x; adds to grad_x0; partial is [chunks, 2 * width].
template <class T>
static __device__ void mix_columns_grad(const T* x, const T* x0, const float* weights, T* grad, T* grad_x0,
                                        float* partial, u32 width, u64 rows) {
    const Columns own = own_columns(width);
    if (own.count == 0) return;
    float keep[SPAN], from_input[SPAN], keep_sums[SPAN] = {}, input_sums[SPAN] = {};
    load_span(weights + own.first, own.count, keep);
    load_span(weights + width + own.first, own.count, from_input);
    for (u64 row = chunk_start(); row < chunk_end(rows); row++) {
        const u64 i = row * width + own.first;
        float a[SPAN], a0[SPAN], g[SPAN], g0[SPAN];
        load_span(x + i, own.count, a);
        load_span(x0 + i, own.count, a0);
        load_span(grad + i, own.count, g);
        load_span(grad_x0 + i, own.count, g0);
        for (u32 j = 0; j < SPAN; j++) {
            keep_sums[j] += g[j] * a[j];
            input_sums[j] += g[j] * a0[j];
            g0[j] += from_input[j] * g[j];
            g[j] *= keep[j];
        }
        store_span(grad_x0 + i, own.count, g0);
        store_span(grad + i, own.count, g);
    }
    float* sums = partial + (u64)blockIdx.x * 2 * width + own.first;
    store_span(sums, own.count, keep_sums);
    store_span(sums + width, own.count, input_sums);
}

#define MIX_GRAD(T, SUFFIX)                                                                                       \
    extern "C" __global__ void mix_grad##SUFFIX(const T* x, const T* x0, const float* weights, T* grad, T* grad_x0, \
                                                float* partial, u32 width, u64 rows) {                            \
        mix_columns_grad(x, x0, weights, grad, grad_x0, partial, width, rows);                                    \
    }
FOR_EACH_DTYPE(MIX_GRAD)

// Replaces grad_skip; partial is [chunks, width].
template <class T>
static __device__ void skip_columns_grad(const T* skip, const float* weights, const T* grad_x, T* grad_skip,
                                         float* partial, u32 width, u64 rows) {
    const Columns own = own_columns(width);
    if (own.count == 0) return;
    float w[SPAN], sums[SPAN] = {};
    load_span(weights + own.first, own.count, w);
    for (u64 row = chunk_start(); row < chunk_end(rows); row++) {
        const u64 i = row * width + own.first;
        float a[SPAN], g[SPAN];
        load_span(skip + i, own.count, a);
        load_span(grad_x + i, own.count, g);
        for (u32 j = 0; j < SPAN; j++) {
            sums[j] += a[j] * g[j];
            g[j] *= w[j];
        }
        store_span(grad_skip + i, own.count, g);
    }
    store_span(partial + (u64)blockIdx.x * width + own.first, own.count, sums);
}

#define ADD_SKIP_GRAD(T, SUFFIX)                                                                              \
    extern "C" __global__ void add_skip_grad##SUFFIX(const T* skip, const float* weights, const T* grad_x,    \
                                                     T* grad_skip, float* partial, u32 width, u64 rows) {     \
        skip_columns_grad(skip, weights, grad_x, grad_skip, partial, width, rows);                            \
    }
FOR_EACH_DTYPE(ADD_SKIP_GRAD)

// Adds to grad_a; partial is [chunks, width], the gradient of the sigmoid.
template <class T>
static __device__ void smear_columns_grad(const T* a, const float* gate, const T* grad_y, const u32* ids, T* grad_a,
                                          float* partial, u32 width, u32 seq_len, u64 rows) {
    const Columns own = own_columns(width);
    if (own.count == 0) return;
    float g[SPAN], sums[SPAN] = {};
    load_span(gate + own.first, own.count, g);
    for (u32 j = 0; j < SPAN; j++) g[j] = sigmoid(g[j]);
    for (u64 row = chunk_start(); row < chunk_end(rows); row++) {
        const u64 i = row * width + own.first, position = row % seq_len;
        float value[SPAN], before[SPAN] = {}, grad[SPAN], next[SPAN] = {}, out[SPAN];
        load_span(a + i, own.count, value);
        load_span(grad_y + i, own.count, grad);
        load_span(grad_a + i, own.count, out);
        const bool has_next = position + 1 < seq_len && !is_begin(ids, row + 1);
        const bool has_before = position > 0 && !is_begin(ids, row);
        if (has_next) load_span(grad_y + i + width, own.count, next);
        if (has_before) load_span(a + i - width, own.count, before);
        for (u32 j = 0; j < SPAN; j++) {
            float sum = out[j] + (1.0f - g[j]) * grad[j];
            if (has_next) sum += g[j] * next[j];
            out[j] = sum;
            sums[j] -= value[j] * grad[j];
            if (has_before) sums[j] += before[j] * grad[j];
        }
        store_span(grad_a + i, own.count, out);
    }
    store_span(partial + (u64)blockIdx.x * width + own.first, own.count, sums);
}

#define SMEAR_GRAD(T, SUFFIX)                                                                             \
    extern "C" __global__ void smear_grad##SUFFIX(const T* a, const float* gate, const T* grad_y,         \
                                                  const u32* ids, T* grad_a, float* partial, u32 width,   \
                                                  u32 seq_len, u64 rows) {                                \
        smear_columns_grad(a, gate, grad_y, ids, grad_a, partial, width, seq_len, rows);                  \
    }
FOR_EACH_DTYPE(SMEAR_GRAD)

// grad_gate += sum * g (1 - g)
extern "C" __global__ void smear_gate_grad(const float* sum, const float* gate, float* grad_gate, u64 n) {
    const u64 i = thread_index();
    if (i >= n) return;
    const float g = sigmoid(gate[i]);
    grad_gate[i] += sum[i] * g * (1.0f - g);
}
