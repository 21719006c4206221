// Sums of many values in double precision, in an order fixed by their number, and what a step makes of them.
//
// First 256 threads sum VALUES_A_BLOCK values, each every 256th of them; then a block adds up a sum's parts.

#define VALUES_A_BLOCK 8192u

// The sum over 256 threads, in thread 0.
static __device__ double block_sum(double value) {
    __shared__ double sums[256];
    sums[threadIdx.x] = value;
    for (u32 half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    return sums[0];
}

// Parts of the sums of values, or of their squares, over arrays of `n` values that begin `stride` values apart: `parts`
// blocks an array, one part each.
template <class T>
static __device__ void part_of_sum(const T* x, double* partial, u32 squares, u32 parts, u64 stride, u64 n) {
    x += blockIdx.x / parts * stride;
    const u64 start = (u64)(blockIdx.x % parts) * VALUES_A_BLOCK;
    const u64 end = start + VALUES_A_BLOCK < n ? start + VALUES_A_BLOCK : n;
    double sum = 0.0;
    for (u64 i = start + threadIdx.x; i < end; i += 256) {
        const double value = get(x[i]);
        sum += squares ? value * value : value;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

#define SUM_PARTS(T, SUFFIX)                                                                                         \
    extern "C" __global__ void sum_parts##SUFFIX(const T* x, double* partial, u32 squares, u32 parts, u64 stride, u64 n) { \
        part_of_sum(x, partial, squares, parts, stride, n);                                                          \
    }
FOR_EACH_DTYPE(SUM_PARTS)

// out[i] (+)= the sum of array i's parts; a block an array.
extern "C" __global__ void sum_totals(const double* partial, double* out, u32 parts, u32 accumulate) {
    partial += (u64)blockIdx.x * parts;
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < parts; i += 256) sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = (accumulate ? out[blockIdx.x] : 0.0) + sum;
}

// x *= factor
extern "C" __global__ void scale(float* x, float factor, u64 n) {
    const u64 i = thread_index();
    if (i < n) x[i] *= factor;
}

// How many doubles are no finite numbers.
extern "C" __global__ void count_bad(const double* x, u32 count, float* out) {
    if (thread_index() > 0) return;
    // Infinity and NaN are the values whose difference from themselves is not zero.
    float bad = 0.0f;
    for (u32 i = 0; i < count; i++) bad += x[i] - x[i] == 0.0 ? 0.0f : 1.0f;
    *out = bad;
}

// What gradients are multiplied by before the update, min(1, max_norm / (norm + 1e-6)) as PyTorch has it; max_norm 0
// turns clipping off. Negative where the norm is not a finite number or a loss was not: then the step is not taken.
extern "C" __global__ void clip_factor(const double* squares, const float* bad, double max_norm, float* factor) {
    if (thread_index() > 0) return;
    const double norm = sqrt(*squares);
    const bool finite = norm - norm == 0.0 && *bad == 0.0f;
    const float clipped = (float)(max_norm / (norm + 1e-6));
    *factor = !finite ? -1.0f : max_norm > 0.0 && clipped < 1.0f ? clipped : 1.0f;
}
