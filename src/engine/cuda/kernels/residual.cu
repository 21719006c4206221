// The residual stream between the parts of a block, one warp a row. `residual` is the product of a residual projection
// that has not been added yet.

// a += scale * more by channel, rounded to what T stores.
template <class T>
static __device__ void add_span(float (&a)[SPAN], const T* more, const float* scale, u32 count) {
    float b[SPAN], w[SPAN];
    load_span(more, count, b);
    load_span(scale, count, w);
    for (u32 j = 0; j < count; j++) a[j] = rounded_to<T>(a[j] + w[j] * b[j]);
}

// Adds residual and skip where they are given, mixes in the network's first activations and normalizes.
//
//   x += scale * residual; x += skip_weights * skip; mixed = mix[0] * x + mix[1] * x0; normed = factor * norm(mixed)
//
// `residual`, `skip` and `input`, where x goes, may be null.
template <class T>
static __device__ void fused_mix_rms_norm_rows(const T* x, const T* residual, const float* scale, const T* skip,
                                   const float* skip_weights, const T* x0, const float* mix, T* input, T* mixed,
                                   T* normed, u32 width, float factor, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const u64 start = row * width;
    float squares = 0.0f;
    row_spans(width, [&](u32 column, u32 count) {
        const u64 i = start + column;
        float a[SPAN], first[SPAN], keep[SPAN], from_first[SPAN];
        load_span(x + i, count, a);
        if (residual) add_span(a, residual + i, scale + column, count);
        if (skip) add_span(a, skip + i, skip_weights + column, count);
        if (input) store_span(input + i, count, a);
        load_span(x0 + i, count, first);
        load_span(mix + column, count, keep);
        load_span(mix + width + column, count, from_first);
        for (u32 j = 0; j < count; j++) {
            a[j] = rounded_to<T>(keep[j] * a[j] + from_first[j] * first[j]);
            squares += a[j] * a[j];
        }
        store_span(mixed + i, count, a);
    });
    scaled_row(mixed + start, inverse_rms_of(warp_sum(squares), width) * factor, normed + start, width);
}

#define FUSED_MIX_RMS_NORM(T, SUFFIX)                                                                                  \
    extern "C" __global__ void fused_mix_rms_norm##SUFFIX(const T* x, const T* residual, const float* scale,          \
                                                          const T* skip, const float* skip_weights, const T* x0,      \
                                                          const float* mix, T* input, T* mixed, T* normed, u32 width, \
                                                          float factor, u64 rows) {                                   \
        fused_mix_rms_norm_rows(x, residual, scale, skip, skip_weights, x0, mix, input, mixed, normed, width, factor, \
                                rows);                                                                                \
    }
FOR_EACH_DTYPE(FUSED_MIX_RMS_NORM)

// x += scale * residual; normed = factor * norm(x)
template <class T>
static __device__ void add_residual_and_normalize(T* x, const T* residual, const float* scale, T* normed, u32 width,
                                                  float factor, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const u64 start = row * width;
    float squares = 0.0f;
    row_spans(width, [&](u32 column, u32 count) {
        const u64 i = start + column;
        float a[SPAN];
        load_span(x + i, count, a);
        add_span(a, residual + i, scale + column, count);
        for (u32 j = 0; j < count; j++) squares += a[j] * a[j];
        store_span(x + i, count, a);
    });
    scaled_row(x + start, inverse_rms_of(warp_sum(squares), width) * factor, normed + start, width);
}

#define ADD_RESIDUAL_RMS_NORM(T, SUFFIX)                                                                             \
    extern "C" __global__ void add_residual_rms_norm##SUFFIX(T* x, const T* residual, const float* scale, T* normed, \
                                                             u32 width, float factor, u64 rows) {                    \
        add_residual_and_normalize(x, residual, scale, normed, width, factor, rows);                                 \
    }
FOR_EACH_DTYPE(ADD_RESIDUAL_RMS_NORM)
