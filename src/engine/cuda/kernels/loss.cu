// Softcapped logits and cross-entropy. `z` comes in as products divided by the cap; one warp has one token. A lane keeps
// the capped logits of a small vocabulary, and their exponentials, in registers; those of a larger one are made again
// where they are needed: that costs less than to write and read them.

// Logits that a lane keeps: 1,024 of a token.
#define KEPT_LOGITS 32

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

// The same with the lane's capped logits, and their exponentials relative to the largest; the sum has the same order.
template <class T>
static __device__ float kept_nll(const T* z, u32 target, u32 vocab, float cap, float* logits, float* weights,
                                 float* sum) {
    const u32 lane = threadIdx.x % WARP;
    float most = MINUS_INFINITY, total = 0.0f;
    UNROLL for (u32 j = 0; j < KEPT_LOGITS; j++) {
        const u32 i = j * WARP + lane;
        logits[j] = i < vocab ? capped(z[i], cap) : MINUS_INFINITY;
        most = fmaxf(most, logits[j]);
    }
    most = warp_max(most);
    UNROLL for (u32 j = 0; j < KEPT_LOGITS; j++) {
        weights[j] = j * WARP + lane < vocab ? exponential(logits[j] - most) : 0.0f;
        total += weights[j];
    }
    total = warp_sum(total);
    *sum = total;
    return (float)((double)most - (double)capped(z[target], cap) + log((double)total));
}

// The gradient by a product before the cap, given the capped logit and its probability.
static __device__ float logit_grad(float logit, float probability, bool is_target, float cap, float weight) {
    // d(cap * tanh(u / cap)) / du = 1 - (z / cap)^2.
    const float share = logit / cap, slope = weight * (1.0f - share * share);
    if (is_target) probability -= 1.0f;
    return probability * slope;
}

template <class T>
static __device__ void nll_rows(const T* z, const u32* targets, float* out, u32 vocab, float cap, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    z += row * vocab;
    const u32 target = targets[row];
    float value, sum;
    if (vocab <= WARP * KEPT_LOGITS) {
        float logits[KEPT_LOGITS], weights[KEPT_LOGITS];
        value = kept_nll(z, target, vocab, cap, logits, weights, &sum);
    } else {
        float largest;
        value = token_nll(z, target, vocab, cap, &largest, &sum);
    }
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
    const u32 target = targets[row], lane = threadIdx.x % WARP;
    if (vocab <= WARP * KEPT_LOGITS) {
        float logits[KEPT_LOGITS], weights[KEPT_LOGITS], sum;
        const float value = kept_nll(z, target, vocab, cap, logits, weights, &sum);
        if (lane == 0) out[row] = value;
        // Every lane has read the target's logit before its owner overwrites it.
        __syncwarp();
        const float inverse = 1.0f / sum;
        UNROLL for (u32 j = 0; j < KEPT_LOGITS; j++) {
            const u32 i = j * WARP + lane;
            if (i < vocab) put(z + i, logit_grad(logits[j], weights[j] * inverse, i == target, cap, weight));
        }
        return;
    }
    float largest, sum;
    const float value = token_nll(z, target, vocab, cap, &largest, &sum);
    if (lane == 0) out[row] = value;
    __syncwarp();
    const float inverse = 1.0f / sum;
    for (u32 i = lane; i < vocab; i += WARP) {
        const float logit = capped(z[i], cap);
        put(z + i, logit_grad(logit, exponential(logit - largest) * inverse, i == target, cap, weight));
    }
}

#define NLL_GRAD(T, SUFFIX)                                                                                       \
    extern "C" __global__ void nll_grad##SUFFIX(T* z, const u32* targets, float* out, u32 vocab, float cap,       \
                                                float weight, u64 rows) {                                         \
        nll_rows_grad(z, targets, out, vocab, cap, weight, rows);                                                 \
    }
FOR_EACH_DTYPE(NLL_GRAD)
