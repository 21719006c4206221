// Root-mean-square normalisation, of rows and of heads before attention. One warp has one row.

static __device__ float row_dot(const float* a, const float* b, u32 width) {
    float sum = 0.0f;
    for (u32 i = threadIdx.x % WARP; i < width; i += WARP) sum += a[i] * b[i];
    return warp_sum(sum);
}

static __device__ float inverse_rms(const float* x, u32 width) {
    return 1.0f / sqrtf(row_dot(x, x, width) / (float)width + EPSILON);
}

// y = x / sqrt(mean(x^2) + eps)
extern "C" __global__ void rms_norm(const float* x, float* y, u32 width, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    x += row * width;
    y += row * width;
    const float inverse = inverse_rms(x, width);
    for (u32 i = threadIdx.x % WARP; i < width; i += WARP) y[i] = x[i] * inverse;
}

// grad_x += (g - x (x . g) inverse^2 / n) inverse
extern "C" __global__ void rms_norm_grad(const float* x, const float* grad_y, float* grad_x, u32 width, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    x += row * width;
    grad_y += row * width;
    grad_x += row * width;
    const float inverse = inverse_rms(x, width);
    const float pull = row_dot(x, grad_y, width) * inverse * inverse / (float)width;
    for (u32 i = threadIdx.x % WARP; i < width; i += WARP) grad_x[i] += (grad_y[i] - x[i] * pull) * inverse;
}

// Where head `row` of [tokens, heads] finds its cosines and sines, `half` of each.
static __device__ u64 table_row(u64 row, u32 heads, u32 half, u32 tokens_per_row, u32 first) {
    return (first + row / heads % tokens_per_row) * half;
}

// Each head normalised, rotated by its position and multiplied by its gain; no gain where `gain` is null.
extern "C" __global__ void prepare(const float* x, float* y, const float* cosines, const float* sines,
                                   const float* gain, u32 heads, u32 width, u32 tokens_per_row, u32 first, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const u32 half = width / 2;
    const u64 angles = table_row(row, heads, half, tokens_per_row, first);
    x += row * width;
    y += row * width;
    const float factor = inverse_rms(x, width) * (gain ? gain[row % heads] : 1.0f);
    for (u32 i = threadIdx.x % WARP; i < half; i += WARP) {
        const float x1 = x[i] * factor, x2 = x[i + half] * factor;
        y[i] = x1 * cosines[angles + i] + x2 * sines[angles + i];
        y[i + half] = x2 * cosines[angles + i] - x1 * sines[angles + i];
    }
}

// Replaces grad_x, and gain_terms [tokens, heads] by each head's share of its gain's gradient where it is not null.
extern "C" __global__ void prepare_grad(const float* x, const float* grad_y, float* grad_x, float* gain_terms,
                                        const float* cosines, const float* sines, const float* gain, u32 heads,
                                        u32 width, u32 tokens_per_row, u32 first, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const u32 half = width / 2, lane = threadIdx.x % WARP;
    const u64 angles = table_row(row, heads, half, tokens_per_row, first);
    x += row * width;
    grad_y += row * width;
    grad_x += row * width;
    const float inverse = inverse_rms(x, width);
    // Through the rotation; what is left is gain * normed.
    float dot = 0.0f;
    for (u32 i = lane; i < half; i += WARP) {
        const float c = cosines[angles + i], s = sines[angles + i];
        dot += x[i] * (grad_y[i] * c - grad_y[i + half] * s);
        dot += x[i + half] * (grad_y[i + half] * c + grad_y[i] * s);
    }
    dot = warp_sum(dot);
    if (gain_terms && lane == 0) gain_terms[row] = dot * inverse;
    const float factor = gain ? gain[row % heads] : 1.0f;
    const float pull = dot * factor * inverse * inverse / (float)width;
    for (u32 i = lane; i < half; i += WARP) {
        const float c = cosines[angles + i], s = sines[angles + i];
        const float g1 = (grad_y[i] * c - grad_y[i + half] * s) * factor;
        const float g2 = (grad_y[i + half] * c + grad_y[i] * s) * factor;
        grad_x[i] = (g1 - x[i] * pull) * inverse;
        grad_x[i + half] = (g2 - x[i + half] * pull) * inverse;
    }
}

// mean[row] = a . b: the mean of a query's gradient under its weights is its output times the output's gradient.
extern "C" __global__ void row_dots(const float* a, const float* b, float* out, u32 width, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const float dot = row_dot(a + row * width, b + row * width, width);
    if (threadIdx.x % WARP == 0) out[row] = dot;
}
