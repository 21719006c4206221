// Root-mean-square normalization, of rows and of heads before attention. One warp has one row.

template <class T>
static __device__ float row_dot(const T* a, const T* b, u32 width) {
    float sum = 0.0f;
    row_spans(width, [&](u32 column, u32 count) {
        float x[SPAN], y[SPAN];
        load_span(a + column, count, x);
        load_span(b + column, count, y);
        for (u32 i = 0; i < count; i++) sum += x[i] * y[i];
    });
    return warp_sum(sum);
}

static __device__ float inverse_rms_of(float squares, u32 width) {
    return 1.0f / sqrtf(squares / (float)width + EPSILON);
}

template <class T>
static __device__ float inverse_rms(const T* x, u32 width) {
    return inverse_rms_of(row_dot(x, x, width), width);
}

// y = x * factor, a row
template <class T>
static __device__ void scaled_row(const T* x, float factor, T* y, u32 width) {
    row_spans(width, [&](u32 column, u32 count) {
        float a[SPAN];
        load_span(x + column, count, a);
        for (u32 i = 0; i < count; i++) a[i] *= factor;
        store_span(y + column, count, a);
    });
}

// y = factor x / sqrt(mean(x^2) + eps)
template <class T>
static __device__ void norm_rows(const T* x, T* y, u32 width, float factor, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    x += row * width;
    scaled_row(x, inverse_rms(x, width) * factor, y + row * width, width);
}

#define RMS_NORM(T, SUFFIX)                                                                          \
    extern "C" __global__ void rms_norm##SUFFIX(const T* x, T* y, u32 width, float factor, u64 rows) { \
        norm_rows(x, y, width, factor, rows);                                                        \
    }
FOR_EACH_DTYPE(RMS_NORM)

// grad_x (+)= (g - x (x . g) inverse^2 / n) (inverse factor)
template <class T>
static __device__ void norm_rows_grad(const T* x, const T* grad_y, T* grad_x, u32 width, float factor, u32 accumulate,
                                      u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    x += row * width;
    grad_y += row * width;
    grad_x += row * width;
    const float inverse = inverse_rms(x, width);
    const float pull = row_dot(x, grad_y, width) * inverse * inverse / (float)width, scale = inverse * factor;
    row_spans(width, [&](u32 column, u32 count) {
        float a[SPAN], g[SPAN], sum[SPAN] = {};
        load_span(x + column, count, a);
        load_span(grad_y + column, count, g);
        if (accumulate) load_span(grad_x + column, count, sum);
        for (u32 i = 0; i < count; i++) sum[i] += (g[i] - a[i] * pull) * scale;
        store_span(grad_x + column, count, sum);
    });
}

#define RMS_NORM_GRAD(T, SUFFIX)                                                                              \
    extern "C" __global__ void rms_norm_grad##SUFFIX(const T* x, const T* grad_y, T* grad_x, u32 width,       \
                                                     float factor, u32 accumulate, u64 rows) {               \
        norm_rows_grad(x, grad_y, grad_x, width, factor, accumulate, rows);                                   \
    }
FOR_EACH_DTYPE(RMS_NORM_GRAD)

// out[row] = a . b; of a query's output and its gradient that is the delta of the softmax's gradient.
template <class T>
static __device__ void dot_rows(const T* a, const T* b, float* out, u32 width, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const float dot = row_dot(a + row * width, b + row * width, width);
    if (threadIdx.x % WARP == 0) out[row] = dot;
}

#define ROW_DOTS(T, SUFFIX)                                                                              \
    extern "C" __global__ void row_dots##SUFFIX(const T* a, const T* b, float* out, u32 width, u64 rows) { \
        dot_rows(a, b, out, width, rows);                                                                \
    }
FOR_EACH_DTYPE(ROW_DOTS)
