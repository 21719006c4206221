// Gradients of a mixture and of its norm in one pass over rows that a warp holds in its registers: `rms_norm_grad` and then
// `mix_grad`, with their roundings. The mixture is made again.

// Spans of a lane: rows of up to 512 channels, in whole spans.
#define MIX_SPANS 2u
#define MIX_WARPS 4u

// Turns `grad`, the gradient of the mixture that does not come from its norm, into that of x; adds to grad_x0; partial is
// [chunks, 2 * width]. A block of MIX_WARPS warps has a chunk of rows.
template <class T>
static __device__ void mix_norm_rows_grad(const T* x, const T* x0, const float* weights, const T* grad_normed, T* grad,
                                          T* grad_x0, float* partial, u32 width, float factor, u64 rows) {
    __shared__ float sums[2][MIX_SPANS * WARP * SPAN];
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    float keep[MIX_SPANS][SPAN] = {}, from_first[MIX_SPANS][SPAN] = {};
    float keep_sums[MIX_SPANS][SPAN] = {}, first_sums[MIX_SPANS][SPAN] = {};
    UNROLL for (u32 s = 0; s < MIX_SPANS; s++) {
        const u32 column = (s * WARP + lane) * SPAN;
        if (column >= width) continue;
        load_whole(weights + column, keep[s]);
        load_whole(weights + width + column, from_first[s]);
    }
    for (u64 row = chunk_start() + warp; row < chunk_end(rows); row += MIX_WARPS) {
        float a[MIX_SPANS][SPAN] = {}, first[MIX_SPANS][SPAN] = {}, g[MIX_SPANS][SPAN] = {};
        float squares = 0.0f, dot = 0.0f;
        UNROLL for (u32 s = 0; s < MIX_SPANS; s++) {
            const u32 column = (s * WARP + lane) * SPAN;
            if (column >= width) continue;
            load_whole(x + row * width + column, a[s]);
            load_whole(x0 + row * width + column, first[s]);
            load_whole(grad_normed + row * width + column, g[s]);
            for (u32 j = 0; j < SPAN; j++) {
                const float mixed = rounded_to<T>(keep[s][j] * a[s][j] + from_first[s][j] * first[s][j]);
                squares += mixed * mixed;
                dot += mixed * g[s][j];
            }
        }
        const float inverse = inverse_rms_of(warp_sum(squares), width);
        const float pull = warp_sum(dot) * inverse * inverse / (float)width, scale = inverse * factor;
        UNROLL for (u32 s = 0; s < MIX_SPANS; s++) {
            const u32 column = (s * WARP + lane) * SPAN;
            if (column >= width) continue;
            float h[SPAN], h0[SPAN];
            load_whole(grad + row * width + column, h);
            load_whole(grad_x0 + row * width + column, h0);
            for (u32 j = 0; j < SPAN; j++) {
                const float mixed = rounded_to<T>(keep[s][j] * a[s][j] + from_first[s][j] * first[s][j]);
                const float sum = rounded_to<T>(h[j] + (g[s][j] - mixed * pull) * scale);
                keep_sums[s][j] += sum * a[s][j];
                first_sums[s][j] += sum * first[s][j];
                h0[j] += from_first[s][j] * sum;
                h[j] = sum * keep[s][j];
            }
            store_whole(grad_x0 + row * width + column, h0);
            store_whole(grad + row * width + column, h);
        }
    }
    // One warp after another.
    for (u32 turn = 0; turn < MIX_WARPS; turn++) {
        UNROLL for (u32 s = 0; s < MIX_SPANS; s++) {
            for (u32 j = 0; j < SPAN && turn == warp; j++) {
                const u32 column = (s * WARP + lane) * SPAN + j;
                sums[0][column] = (turn == 0 ? 0.0f : sums[0][column]) + keep_sums[s][j];
                sums[1][column] = (turn == 0 ? 0.0f : sums[1][column]) + first_sums[s][j];
            }
        }
        __syncthreads();
    }
    for (u32 i = threadIdx.x; i < 2 * width; i += blockDim.x) {
        partial[(u64)blockIdx.x * 2 * width + i] = sums[i / width][i % width];
    }
}

#define MIX_RMS_NORM_GRAD(T, SUFFIX)                                                                                   \
    extern "C" __global__ void mix_rms_norm_grad##SUFFIX(const T* x, const T* x0, const float* weights,                \
                                                         const T* grad_normed, T* grad, T* grad_x0, float* partial,    \
                                                         u32 width, float factor, u64 rows) {                          \
        mix_norm_rows_grad(x, x0, weights, grad_normed, grad, grad_x0, partial, width, factor, rows);                  \
    }
FOR_EACH_DTYPE(MIX_RMS_NORM_GRAD)
