// Softcapped logits and cross-entropy. `z` comes in as products divided by the cap; one warp has one token. Capped
// logits are made again where they are needed: that costs less than to write and read them.

template <class T>
static __device__ float capped(T z, float cap) {
    return rounded_to<T>(cap * hyperbolic_tangent(get(z)));
}

template <class T>
static __device__ void cap_values(T* z, float cap, u64 n) {
    const u64 i = thread_index();
    if (i < n) put(z + i, capped(z[i], cap));
}

#define SOFTCAP(T, SUFFIX) \
    extern "C" __global__ void softcap##SUFFIX(T* z, float cap, u64 n) { cap_values(z, cap, n); }
FOR_EACH_DTYPE(SOFTCAP)

// Negative log-likelihood of a token's target, and the largest logit and sum it was made of.
template <class T>
static __device__ float token_nll(const T* z, u32 target, u32 vocab, float cap, float* largest, float* sum) {
    float most = MINUS_INFINITY, total = 0.0f;
    for (u32 i = threadIdx.x % WARP; i < vocab; i += WARP) most = fmaxf(most, capped(z[i], cap));
    most = warp_max(most);
    for (u32 i = threadIdx.x % WARP; i < vocab; i += WARP) total += exponential(capped(z[i], cap) - most);
    total = warp_sum(total);
    *largest = most;
    *sum = total;
    return (float)((double)most - (double)capped(z[target], cap) + log((double)total));
}

template <class T>
static __device__ void nll_rows(const T* z, const u32* targets, float* out, u32 vocab, float cap, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    float largest, sum;
    const float value = token_nll(z + row * vocab, targets[row], vocab, cap, &largest, &sum);
    if (threadIdx.x % WARP == 0) out[row] = value;
}

#define NLL(T, SUFFIX)                                                                                              \
    extern "C" __global__ void nll##SUFFIX(const T* z, const u32* targets, float* out, u32 vocab, float cap, u64 rows) { \
        nll_rows(z, targets, out, vocab, cap, rows);                                                                \
    }
FOR_EACH_DTYPE(NLL)

// The same, and z becomes the gradient of `weight` times the likelihoods' sum by the products before the cap.
template <class T>
static __device__ void nll_rows_grad(T* z, const u32* targets, float* out, u32 vocab, float cap, float weight,
                                     u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    z += row * vocab;
    float largest, sum;
    const u32 target = targets[row];
    const float value = token_nll(z, target, vocab, cap, &largest, &sum);
    if (threadIdx.x % WARP == 0) out[row] = value;
    // Every lane has read the target's logit before its owner overwrites it.
    __syncwarp();
    const float inverse = 1.0f / sum;
    for (u32 i = threadIdx.x % WARP; i < vocab; i += WARP) {
        // d(cap * tanh(u / cap)) / du = 1 - (z / cap)^2.
        const float logit = capped(z[i], cap), share = logit / cap, slope = weight * (1.0f - share * share);
        float probability = exponential(logit - largest) * inverse;
        if (i == target) probability -= 1.0f;
        put(z + i, probability * slope);
    }
}

#define NLL_GRAD(T, SUFFIX)                                                                                       \
    extern "C" __global__ void nll_grad##SUFFIX(T* z, const u32* targets, float* out, u32 vocab, float cap,       \
                                                float weight, u64 rows) {                                         \
        nll_rows_grad(z, targets, out, vocab, cap, weight, rows);                                                 \
    }
FOR_EACH_DTYPE(NLL_GRAD)
