// What the kernels share. Plain CUDA C++ without headers: NVRTC needs no include folder, and g++ runs the same text.
//
// Nothing here is contracted (`--fmad=false`) and no sum depends on timing: equal inputs give equal bits.

typedef unsigned int u32;
typedef unsigned long long u64;

#define WARP 32u
#define ALL_LANES 0xffffffffu
// Rows whose column sums one block makes, in order; part of the result, like the 256 threads of `column_sums`.
#define ROWS_A_CHUNK 64u
// Added to a mean square before its root: single-precision epsilon, PyTorch's default.
#define EPSILON 1.1920928955078125e-7f
// Begins a document (`BEGIN_ID` in `data`).
#define BEGIN_ID 1u
#define MINUS_INFINITY __uint_as_float(0xff800000u)

// This thread's place in a one-dimensional grid.
static __device__ u64 thread_index() {
    return (u64)blockIdx.x * blockDim.x + threadIdx.x;
}

// Whether a token begins a document, and takes nothing from the one before it; none does where there are no ids.
static __device__ bool is_begin(const u32* ids, u64 token) {
    return ids && ids[token] == BEGIN_ID;
}

// The row this warp works on, where each warp has one.
static __device__ u64 warp_row() {
    return thread_index() / WARP;
}

// Sum over a warp's lanes, the same bits in every lane.
static __device__ float warp_sum(float value) {
    for (u32 distance = WARP / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

static __device__ float warp_max(float value) {
    for (u32 distance = WARP / 2; distance > 0; distance /= 2) {
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, distance));
    }
    return value;
}

// e^x by the polynomial of the CPU kernels, bit for bit (cpu/exponential.rs derives it). NaN stays NaN.
static __device__ float exponential(float x) {
    const float limit = 87.0f, rounder = 12582912.0f;
    const float clamped = x < -limit ? -limit : x > limit ? limit : x;
    const float shifted = clamped * 1.44269504f + rounder;
    const float n = shifted - rounder;
    const float r = (clamped - n * 0.6933594f) - n * -2.1219444e-4f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = (p * r) * r + r + 1.0f;
    const float scale = __uint_as_float((__float_as_uint(shifted) - __float_as_uint(rounder) + 127u) << 23);
    return x < -limit ? 0.0f : p * scale;
}

// tanh x = (1 - e^-2|x|) / (1 + e^-2|x|).
static __device__ float hyperbolic_tangent(float x) {
    const float e = exponential(-2.0f * fabsf(x));
    return copysignf((1.0f - e) / (1.0f + e), x);
}

static __device__ float sigmoid(float gate) {
    return 1.0f / (1.0f + exponential(-gate));
}

// To the nearest bfloat16, ties to even.
static __device__ float nearest_bf16(float x) {
    const u32 bits = __float_as_uint(x);
    const float rounded = __uint_as_float((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
    return x != x ? x : rounded;
}

// A bfloat16 value in memory. Arithmetic is in single precision: `get` widens, `put` rounds.
struct bf16 {
    unsigned short bits;
};

static __device__ float get(float x) {
    return x;
}

static __device__ float get(bf16 x) {
    return __uint_as_float((u32)x.bits << 16);
}

static __device__ void put(float* place, float x) {
    *place = x;
}

static __device__ void put(bf16* place, float x) {
    place->bits = (unsigned short)(__float_as_uint(nearest_bf16(x)) >> 16);
}
