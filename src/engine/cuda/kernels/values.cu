// Eight values at a time: as many bfloat16 values as one access to memory holds.
//
// Arrays begin at multiples of 16 bytes. A span is up to eight values of which the first has an index that is a multiple
// of eight; what is past its end counts as zero and is not written.

#define SPAN 8u

struct __align__(16) Words {
    u32 at[4];
};

// Two neighbors in single precision, one access.
struct __align__(8) Pair {
    float x, y;
};

// The two bfloat16 values of a word.
static __device__ float low_of(u32 word) {
    return __uint_as_float(word << 16);
}

static __device__ float high_of(u32 word) {
    return __uint_as_float(word & 0xffff0000u);
}

// A value as that type stores it.
template <class T>
static __device__ float rounded_to(float x);
template <>
__device__ float rounded_to<float>(float x) {
    return x;
}
template <>
__device__ float rounded_to<bf16>(float x) {
    return nearest_bf16(x);
}

static __device__ void load_whole(const float* from, float (&x)[SPAN]) {
    const Words* words = (const Words*)from;
    const Words low = words[0], high = words[1];
    for (u32 i = 0; i < 4; i++) {
        x[i] = __uint_as_float(low.at[i]);
        x[i + 4] = __uint_as_float(high.at[i]);
    }
}

static __device__ void load_whole(const bf16* from, float (&x)[SPAN]) {
    const Words words = *(const Words*)from;
    for (u32 i = 0; i < 4; i++) {
        x[2 * i] = low_of(words.at[i]);
        x[2 * i + 1] = high_of(words.at[i]);
    }
}

static __device__ void store_whole(float* to, const float (&x)[SPAN]) {
    Words low, high;
    for (u32 i = 0; i < 4; i++) {
        low.at[i] = __float_as_uint(x[i]);
        high.at[i] = __float_as_uint(x[i + 4]);
    }
    ((Words*)to)[0] = low;
    ((Words*)to)[1] = high;
}

static __device__ void store_whole(bf16* to, const float (&x)[SPAN]) {
    Words words;
    for (u32 i = 0; i < 4; i++) words.at[i] = pack_bf16(x[2 * i], x[2 * i + 1]);
    *(Words*)to = words;
}

template <class T>
static __device__ void load_span(const T* from, u32 count, float (&x)[SPAN]) {
    if (count == SPAN) return load_whole(from, x);
    for (u32 i = 0; i < SPAN; i++) x[i] = i < count ? get(from[i]) : 0.0f;
}

template <class T>
static __device__ void store_span(T* to, u32 count, const float (&x)[SPAN]) {
    if (count == SPAN) return store_whole(to, x);
    // Every index is known at compile time, so that the values stay in registers.
    UNROLL for (u32 i = 0; i < SPAN; i++) {
        if (i < count) put(to + i, x[i]);
    }
}

// The first value of this thread's span, and how many it has of `n`.
static __device__ u64 span_start() {
    return thread_index() * SPAN;
}

static __device__ u32 span_count(u64 start, u64 n) {
    return start >= n ? 0 : n - start < SPAN ? (u32)(n - start) : SPAN;
}

// Weights of the channels of a span that begins anywhere in rows of `width`.
static __device__ void load_channels(const float* weights, u64 start, u32 width, float (&w)[SPAN]) {
    if (width % SPAN == 0) return load_whole(weights + start % width, w);
    for (u32 i = 0; i < SPAN; i++) w[i] = weights[(start + i) % width];
}

// Calls f(first column, columns) until a warp has been through a row. Rows whose width is no multiple of eight do not
// begin where a span may: there a span is one value.
template <class F>
static __device__ void row_spans(u32 width, F f) {
    const u32 lane = threadIdx.x % WARP;
    if (width % SPAN == 0) {
        for (u32 column = lane * SPAN; column < width; column += WARP * SPAN) f(column, SPAN);
    } else {
        for (u32 column = lane; column < width; column += WARP) f(column, 1u);
    }
}

// Instantiates a kernel for single precision and for bfloat16.
#define FOR_EACH_DTYPE(KERNEL) \
    KERNEL(float, )  \
    KERNEL(bf16, _bf16)
