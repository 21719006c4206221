// A skip weighed against the stream by a gate: x = g x + (1 - g) (weight * skip) by channel, g = sigmoid(gate).

template <class T>
static __device__ void add_gated(const T* skip, const float* weights, const float* gates, T* x, u32 width, u64 n) {
    const u64 i = span_start();
    const u32 count = span_count(i, n);
    if (count == 0) return;
    float s[SPAN], w[SPAN], g[SPAN], a[SPAN];
    load_span(skip + i, count, s);
    load_channels(weights, i, width, w);
    load_channels(gates, i, width, g);
    load_span(x + i, count, a);
    for (u32 j = 0; j < SPAN; j++) {
        const float gate = sigmoid(g[j]);
        a[j] = gate * a[j] + (1.0f - gate) * (w[j] * s[j]);
    }
    store_span(x + i, count, a);
}

#define ADD_GATED_SKIP(T, SUFFIX)                                                                             \
    extern "C" __global__ void add_gated_skip##SUFFIX(const T* skip, const float* weights, const float* gates, \
                                                      T* x, u32 width, u64 n) {                               \
        add_gated(skip, weights, gates, x, width, n);                                                         \
    }
FOR_EACH_DTYPE(ADD_GATED_SKIP)

// Turns `grad`, the gradient of the sum, into that of x, given as it was before; replaces grad_skip; partial is
// [chunks, 2 * width]: of grad * skip, and of grad * (x - weight * skip).
template <class T>
static __device__ void gated_columns_grad(const T* x, const T* skip, const float* weights, const float* gates, T* grad,
                                          T* grad_skip, float* partial, u32 width, u64 rows) {
    const Columns own = own_columns(width);
    if (own.count == 0) return;
    float w[SPAN], gate[SPAN], by_weight[SPAN] = {}, by_gate[SPAN] = {};
    load_span(weights + own.first, own.count, w);
    load_span(gates + own.first, own.count, gate);
    for (u32 j = 0; j < SPAN; j++) gate[j] = sigmoid(gate[j]);
    for (u64 row = chunk_start(); row < chunk_end(rows); row++) {
        const u64 i = row * width + own.first;
        float a[SPAN], s[SPAN], g[SPAN];
        load_span(x + i, own.count, a);
        load_span(skip + i, own.count, s);
        load_span(grad + i, own.count, g);
        for (u32 j = 0; j < SPAN; j++) {
            by_weight[j] += g[j] * s[j];
            by_gate[j] += g[j] * (a[j] - w[j] * s[j]);
            s[j] = (1.0f - gate[j]) * w[j] * g[j];
            g[j] *= gate[j];
        }
        store_span(grad_skip + i, own.count, s);
        store_span(grad + i, own.count, g);
    }
    float* sums = partial + (u64)blockIdx.x * 2 * width + own.first;
    store_span(sums, own.count, by_weight);
    store_span(sums + width, own.count, by_gate);
}

#define ADD_GATED_SKIP_GRAD(T, SUFFIX)                                                                         \
    extern "C" __global__ void add_gated_skip_grad##SUFFIX(const T* x, const T* skip, const float* weights,    \
                                                           const float* gates, T* grad, T* grad_skip,          \
                                                           float* partial, u32 width, u64 rows) {              \
        gated_columns_grad(x, skip, weights, gates, grad, grad_skip, partial, width, rows);                    \
    }
FOR_EACH_DTYPE(ADD_GATED_SKIP_GRAD)

// Adds the gradients of weights and gates, given the sums of the rows.
extern "C" __global__ void gated_skip_channels(const float* sums, const float* gates, float* grad_weights,
                                               float* grad_gates, u64 n) {
    const u64 i = thread_index();
    if (i >= n) return;
    const float g = sigmoid(gates[i]);
    grad_weights[i] += (1.0f - g) * sums[i];
    grad_gates[i] += g * (1.0f - g) * sums[n + i];
}
