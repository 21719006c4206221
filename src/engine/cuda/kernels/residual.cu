// The residual stream around a block's two branches, a warp a row. A branch is a product that has not been added yet.

// a += scale * more by channel, as memory of T would give it back.
template <class T>
static __device__ void add_span(float (&a)[SPAN], const T* more, const float* scale, u32 count) {
    float b[SPAN], w[SPAN];
    load_span(more, count, b);
    load_span(scale, count, w);
    for (u32 j = 0; j < count; j++) a[j] = kept<T>(a[j] + w[j] * b[j]);
}

// Adds what is there of a branch and a skip, mixes in the network's first activations and normalises.
//
//   x += scale * branch; x += skip_weights * skip; mixed = mix[0] * x + mix[1] * x0; normed = norm(mixed)
//
// `branch`, `skip` and `input`, where x goes, may be null.
template <class T>
static __device__ void enter_block(const T* x, const T* branch, const float* scale, const T* skip,
                                   const float* skip_weights, const T* x0, const float* mix, T* input, T* mixed,
                                   T* normed, u32 width, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const u64 start = row * width;
    float squares = 0.0f;
    row_spans(width, [&](u32 column, u32 count) {
        const u64 i = start + column;
        float a[SPAN], first[SPAN], keep[SPAN], from_first[SPAN];
        load_span(x + i, count, a);
        if (branch) add_span(a, branch + i, scale + column, count);
        if (skip) add_span(a, skip + i, skip_weights + column, count);
        if (input) store_span(input + i, count, a);
        load_span(x0 + i, count, first);
        load_span(mix + column, count, keep);
        load_span(mix + width + column, count, from_first);
        for (u32 j = 0; j < count; j++) {
            a[j] = kept<T>(keep[j] * a[j] + from_first[j] * first[j]);
            squares += a[j] * a[j];
        }
        store_span(mixed + i, count, a);
    });
    scaled_row(mixed + start, inverse_rms_of(warp_sum(squares), width), normed + start, width);
}

#define ENTER(T, SUFFIX)                                                                                              \
    extern "C" __global__ void enter##SUFFIX(const T* x, const T* branch, const float* scale, const T* skip,          \
                                             const float* skip_weights, const T* x0, const float* mix, T* input,      \
                                             T* mixed, T* normed, u32 width, u64 rows) {                              \
        enter_block(x, branch, scale, skip, skip_weights, x0, mix, input, mixed, normed, width, rows);                \
    }
BOTH(ENTER)

// x += scale * branch; normed = norm(x)
template <class T>
static __device__ void add_and_norm(T* x, const T* branch, const float* scale, T* normed, u32 width, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const u64 start = row * width;
    float squares = 0.0f;
    row_spans(width, [&](u32 column, u32 count) {
        const u64 i = start + column;
        float a[SPAN];
        load_span(x + i, count, a);
        add_span(a, branch + i, scale + column, count);
        for (u32 j = 0; j < count; j++) squares += a[j] * a[j];
        store_span(x + i, count, a);
    });
    scaled_row(x + start, inverse_rms_of(warp_sum(squares), width), normed + start, width);
}

#define ADD_NORM(T, SUFFIX)                                                                                  \
    extern "C" __global__ void add_norm##SUFFIX(T* x, const T* branch, const float* scale, T* normed, u32 width, \
                                                u64 rows) {                                                  \
        add_and_norm(x, branch, scale, normed, width, rows);                                                 \
    }
BOTH(ADD_NORM)
