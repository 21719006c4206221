// Weights as the network sees them in training: rounded to their grid, and with scales folded in. A warp has a row.
//
// Matrices of `height` rows begin `stride` values apart, and their scales `scale_stride` values apart; a scale of one
// value is every row's. `limit` is the largest magnitude on the grid, 0 for weights that are not rounded.

struct StackedRow {
    u64 start, scale;
};

static __device__ StackedRow stacked_row(u64 row, u32 height, u32 columns, u64 stride, u32 scales, u64 scale_stride) {
    const u64 matrix = row / height, within = row % height;
    const StackedRow place = {matrix * stride + within * columns, matrix * scale_stride + (scales ? within % scales : 0)};
    return place;
}

// The step of a row's grid, in every lane; 0 where there is no grid.
static __device__ float grid_step(const float* row, u32 columns, float limit) {
    if (limit == 0.0f) return 0.0f;
    float largest = 0.0f;
    for (u32 i = threadIdx.x % WARP; i < columns; i += WARP) largest = fmaxf(largest, fabsf(row[i]));
    return fmaxf(warp_max(largest) / limit, 1e-12f);
}

// To the nearest multiple of the step, ties to even, from -(limit + 1) to limit of them.
static __device__ float on_grid(float value, float step, float limit) {
    if (limit == 0.0f) return value;
    const float place = rintf(value / step);
    return (place < -(limit + 1.0f) ? -(limit + 1.0f) : place > limit ? limit : place) * step;
}

static __device__ double warp_sum_of_doubles(double value) {
    for (u32 distance = WARP / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

// out = rounded weight, folded = scale * rounded weight; either may be null.
template <class T>
static __device__ void effective_weight_rows(const float* weight, T* out, T* folded, const float* scale, float limit, u32 height,
                                u32 columns, u64 stride, u32 scales, u64 scale_stride, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const StackedRow at = stacked_row(row, height, columns, stride, scales, scale_stride);
    const float step = grid_step(weight + at.start, columns, limit);
    for (u32 i = threadIdx.x % WARP; i < columns; i += WARP) {
        const float value = on_grid(weight[at.start + i], step, limit);
        if (out) put(out + at.start + i, value);
        if (folded) put(folded + at.start + i, value * scale[at.scale]);
    }
}

#define EFFECTIVE_ROWS(T, SUFFIX)                                                                                   \
    extern "C" __global__ void effective_rows##SUFFIX(const float* weight, T* out, T* folded, const float* scale,   \
                                                      float limit, u32 height, u32 columns, u64 stride, u32 scales, \
                                                      u64 scale_stride, u64 rows) {                                 \
        effective_weight_rows(weight, out, folded, scale, limit, height, columns, stride, scales, scale_stride, rows);           \
    }
FOR_EACH_DTYPE(EFFECTIVE_ROWS)

// From the gradient G of scale * W: dots[row] = W . G, and the gradient of W, scale * G, in the place of G. The
// gradient passes the rounding unchanged.
extern "C" __global__ void unfold_rows(const float* weight, float* gradient, const float* scale, double* dots,
                                       float limit, u32 height, u32 columns, u64 stride, u32 scales, u64 scale_stride,
                                       u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const StackedRow at = stacked_row(row, height, columns, stride, scales, scale_stride);
    const float step = grid_step(weight + at.start, columns, limit);
    double dot = 0.0;
    for (u32 i = threadIdx.x % WARP; i < columns; i += WARP) {
        const float g = gradient[at.start + i];
        dot += (double)g * (double)on_grid(weight[at.start + i], step, limit);
        gradient[at.start + i] = g * scale[at.scale];
    }
    dot = warp_sum_of_doubles(dot);
    if (threadIdx.x % WARP == 0) dots[row] = dot;
}

// The gradient of a scale: the dots of its rows, summed in order. `n` scales in all.
extern "C" __global__ void scale_gradients(const double* dots, float* gradient, u32 height, u32 scales,
                                           u64 scale_stride, u64 n) {
    const u64 i = thread_index();
    if (i >= n) return;
    const u64 matrix = i / scales, within = i % scales;
    double sum = 0.0;
    for (u64 row = within; row < height; row += scales) sum += dots[matrix * height + row];
    gradient[matrix * scale_stride + within] = (float)sum;
}
