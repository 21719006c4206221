// Softcapped logits and cross-entropy. `z` comes in as products divided by the cap; one warp has one token.
//
// With `rounded`, products and capped logits are rounded to bfloat16, as `--precision bf16` asks.

static __device__ float capped(float z, float cap, u32 rounded) {
    if (rounded) z = nearest_bf16(z);
    z = cap * hyperbolic_tangent(z);
    return rounded ? nearest_bf16(z) : z;
}

extern "C" __global__ void softcap(float* z, float cap, u32 rounded, u64 n) {
    const u64 i = place();
    if (i < n) z[i] = capped(z[i], cap, rounded);
}

// Negative log-likelihood of each token's target; z becomes the capped logits.
static __device__ float token_nll(float* z, u32 target, u32 vocab, float cap, u32 rounded, float* largest, float* sum) {
    float most = MINUS_INFINITY, total = 0.0f;
    for (u32 i = threadIdx.x % WARP; i < vocab; i += WARP) {
        z[i] = capped(z[i], cap, rounded);
        most = fmaxf(most, z[i]);
    }
    most = warp_max(most);
    for (u32 i = threadIdx.x % WARP; i < vocab; i += WARP) total += exponential(z[i] - most);
    total = warp_sum(total);
    __syncwarp();
    *largest = most;
    *sum = total;
    return (float)((double)most - (double)z[target] + log((double)total));
}

extern "C" __global__ void nll(float* z, const u32* targets, float* out, u32 vocab, float cap, u32 rounded, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    float largest, sum;
    const float value = token_nll(z + row * vocab, targets[row], vocab, cap, rounded, &largest, &sum);
    if (threadIdx.x % WARP == 0) out[row] = value;
}

// The same, and z becomes the gradient of `weight` times the likelihoods' sum by the products before the cap.
extern "C" __global__ void nll_grad(float* z, const u32* targets, float* out, u32 vocab, float cap, float weight,
                                    u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    z += row * vocab;
    float largest, sum;
    const u32 target = targets[row];
    const float value = token_nll(z, target, vocab, cap, 0, &largest, &sum);
    if (threadIdx.x % WARP == 0) out[row] = value;
    // Every lane has read the target's logit before its owner overwrites it.
    __syncwarp();
    const float inverse = 1.0f / sum;
    for (u32 i = threadIdx.x % WARP; i < vocab; i += WARP) {
        // d(cap * tanh(u / cap)) / du = 1 - (z / cap)^2.
        const float share = z[i] / cap, slope = weight * (1.0f - share * share);
        float probability = exponential(z[i] - largest) * inverse;
        if (i == target) probability -= 1.0f;
        z[i] = probability * slope;
    }
}
