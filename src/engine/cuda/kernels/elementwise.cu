// Operations that look at each activation once. `n` counts values, `width` the values of a row.

// sum += x
template <class T>
static __device__ void add_values(const T* x, T* sum, u64 n) {
    const u64 i = span_start();
    const u32 count = span_count(i, n);
    float a[SPAN], b[SPAN];
    load_span(x + i, count, a);
    load_span(sum + i, count, b);
    for (u32 j = 0; j < SPAN; j++) b[j] += a[j];
    store_span(sum + i, count, b);
}

#define ADD(T, SUFFIX) \
    extern "C" __global__ void add##SUFFIX(const T* x, T* sum, u64 n) { add_values(x, sum, n); }
FOR_EACH_DTYPE(ADD)

// y = x, rounded
extern "C" __global__ void narrow(const float* x, bf16* y, u64 n) {
    const u64 i = span_start();
    const u32 count = span_count(i, n);
    float a[SPAN];
    load_span(x + i, count, a);
    store_span(y + i, count, a);
}

// Every value of y becomes x.
extern "C" __global__ void repeat(const float* x, float* y, u64 n) {
    const u64 i = thread_index();
    if (i < n) y[i] = *x;
}

// The last `keep` values of every `row` values.
template <class T>
static __device__ void keep_tails(const T* x, T* y, u64 row, u64 keep, u64 n) {
    const u64 i = span_start();
    const u32 count = span_count(i, n);
    if (row % SPAN == 0 && keep % SPAN == 0) {
        float a[SPAN];
        load_span(x + (i / keep * row + (row - keep) + i % keep), count, a);
        store_span(y + i, count, a);
        return;
    }
    for (u64 j = i; j < i + count; j++) y[j] = x[j / keep * row + (row - keep) + j % keep];
}

#define TAILS(T, SUFFIX)                                                                    \
    extern "C" __global__ void tails##SUFFIX(const T* x, T* y, u64 row, u64 keep, u64 n) { \
        keep_tails(x, y, row, keep, n);                                                     \
    }
FOR_EACH_DTYPE(TAILS)

// Rows `ids` of a table.
template <class T>
static __device__ void gather_rows(const T* table, const u32* ids, T* y, u32 width, u64 n) {
    const u64 i = span_start();
    const u32 count = span_count(i, n);
    if (width % SPAN == 0) {
        if (count == 0) return;
        float a[SPAN];
        load_span(table + ((u64)ids[i / width] * width + i % width), count, a);
        store_span(y + i, count, a);
        return;
    }
    for (u64 j = i; j < i + count; j++) y[j] = table[(u64)ids[j / width] * width + j % width];
}

#define GATHER(T, SUFFIX)                                                                                  \
    extern "C" __global__ void gather##SUFFIX(const T* table, const u32* ids, T* y, u32 width, u64 n) { \
        gather_rows(table, ids, y, width, n);                                                              \
    }
FOR_EACH_DTYPE(GATHER)

static __device__ float leaky_relu(float x, float slope) {
    return fmaxf(x, 0.0f) + slope * fminf(x, 0.0f);
}

// y = (max(x, 0) + slope min(x, 0))^2
template <class T>
static __device__ void square_leaky(const T* x, T* y, float slope, u64 n) {
    const u64 i = span_start();
    const u32 count = span_count(i, n);
    float a[SPAN];
    load_span(x + i, count, a);
    for (u32 j = 0; j < SPAN; j++) {
        const float active = leaky_relu(a[j], slope);
        a[j] = active * active;
    }
    store_span(y + i, count, a);
}

#define LEAKY_RELU_SQUARED(T, SUFFIX)                                                             \
    extern "C" __global__ void leaky_relu_squared##SUFFIX(const T* x, T* y, float slope, u64 n) { \
        square_leaky(x, y, slope, n);                                                             \
    }
FOR_EACH_DTYPE(LEAKY_RELU_SQUARED)

// Turns the gradient of the square into that of its argument.
template <class T>
static __device__ void square_leaky_grad(const T* x, T* grad, float slope, u64 n) {
    const u64 i = span_start();
    const u32 count = span_count(i, n);
    float a[SPAN], g[SPAN];
    load_span(x + i, count, a);
    load_span(grad + i, count, g);
    for (u32 j = 0; j < SPAN; j++) g[j] *= 2.0f * leaky_relu(a[j], slope * slope);
    store_span(grad + i, count, g);
}

#define LEAKY_RELU_SQUARED_GRAD(T, SUFFIX)                                                                \
    extern "C" __global__ void leaky_relu_squared_grad##SUFFIX(const T* x, T* grad, float slope, u64 n) { \
        square_leaky_grad(x, grad, slope, n);                                                             \
    }
FOR_EACH_DTYPE(LEAKY_RELU_SQUARED_GRAD)

// x += weights * skip by channel
template <class T>
static __device__ void add_scaled(const T* skip, const float* weights, T* x, u32 width, u64 n) {
    const u64 i = span_start();
    const u32 count = span_count(i, n);
    if (count == 0) return;
    float s[SPAN], w[SPAN], a[SPAN];
    load_span(skip + i, count, s);
    load_channels(weights, i, width, w);
    load_span(x + i, count, a);
    for (u32 j = 0; j < SPAN; j++) a[j] += w[j] * s[j];
    store_span(x + i, count, a);
}

#define ADD_SKIP(T, SUFFIX)                                                                                    \
    extern "C" __global__ void add_skip##SUFFIX(const T* skip, const float* weights, T* x, u32 width, u64 n) { \
        add_scaled(skip, weights, x, width, n);                                                                \
    }
FOR_EACH_DTYPE(ADD_SKIP)
