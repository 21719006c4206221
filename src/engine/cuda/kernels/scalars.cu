// Activations weighed by parameters of one value: the value embedding, and the merging of two lanes.

// x += a b y
template <class T>
static __device__ void add_product(const T* y, const float* a, const float* b, T* x, u64 n) {
    const u64 i = span_start();
    const u32 count = span_count(i, n);
    const float factor = *a * *b;
    float more[SPAN], sum[SPAN];
    load_span(y + i, count, more);
    load_span(x + i, count, sum);
    for (u32 j = 0; j < SPAN; j++) sum[j] += factor * more[j];
    store_span(x + i, count, sum);
}

#define ADD_BY_SCALARS(T, SUFFIX)                                                                                 \
    extern "C" __global__ void add_by_scalars##SUFFIX(const T* y, const float* a, const float* b, T* x, u64 n) { \
        add_product(y, a, b, x, n);                                                                               \
    }
FOR_EACH_DTYPE(ADD_BY_SCALARS)

// Adds the gradients of two factors, given that of their product.
extern "C" __global__ void factor_gradients(const float* grad, const float* a, const float* b, float* grad_a,
                                            float* grad_b, u64 n) {
    if (thread_index() >= n) return;
    *grad_a += *grad * *b;
    *grad_b += *grad * *a;
}

// out = m x + (1 - m) y
template <class T>
static __device__ void merge_values(const T* x, const T* y, const float* m, T* out, u64 n) {
    const u64 i = span_start();
    const u32 count = span_count(i, n);
    const float share = *m;
    float a[SPAN], b[SPAN];
    load_span(x + i, count, a);
    load_span(y + i, count, b);
    for (u32 j = 0; j < SPAN; j++) a[j] = share * a[j] + (1.0f - share) * b[j];
    store_span(out + i, count, a);
}

#define MERGE_LANES(T, SUFFIX)                                                                              \
    extern "C" __global__ void merge_lanes##SUFFIX(const T* x, const T* y, const float* m, T* out, u64 n) { \
        merge_values(x, y, m, out, n);                                                                      \
    }
FOR_EACH_DTYPE(MERGE_LANES)

// grad_x = m grad, grad_y = (1 - m) grad
template <class T>
static __device__ void merge_values_grad(const T* grad, const float* m, T* grad_x, T* grad_y, u64 n) {
    const u64 i = span_start();
    const u32 count = span_count(i, n);
    const float share = *m;
    float a[SPAN], b[SPAN];
    load_span(grad + i, count, a);
    for (u32 j = 0; j < SPAN; j++) {
        b[j] = (1.0f - share) * a[j];
        a[j] *= share;
    }
    store_span(grad_x + i, count, a);
    store_span(grad_y + i, count, b);
}

#define MERGE_LANES_GRAD(T, SUFFIX)                                                                               \
    extern "C" __global__ void merge_lanes_grad##SUFFIX(const T* grad, const float* m, T* grad_x, T* grad_y, u64 n) { \
        merge_values_grad(grad, m, grad_x, grad_y, n);                                                            \
    }
FOR_EACH_DTYPE(MERGE_LANES_GRAD)

// out[row] = (x - y) . grad: a row's share of the gradient of m.
template <class T>
static __device__ void dot_differences(const T* x, const T* y, const T* grad, float* out, u32 width, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    float sum = 0.0f;
    row_spans(width, [&](u32 column, u32 count) {
        const u64 i = row * width + column;
        float a[SPAN], b[SPAN], g[SPAN];
        load_span(x + i, count, a);
        load_span(y + i, count, b);
        load_span(grad + i, count, g);
        for (u32 j = 0; j < count; j++) sum += (a[j] - b[j]) * g[j];
    });
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) out[row] = sum;
}

#define DIFFERENCE_DOTS(T, SUFFIX)                                                                             \
    extern "C" __global__ void difference_dots##SUFFIX(const T* x, const T* y, const T* grad, float* out,      \
                                                       u32 width, u64 rows) {                                  \
        dot_differences(x, y, grad, out, width, rows);                                                         \
    }
FOR_EACH_DTYPE(DIFFERENCE_DOTS)
