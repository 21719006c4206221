// Sums down the columns of a matrix in two passes of fixed order: chunks of rows first, then the chunks.
//
// In the first pass blockIdx.x is the chunk and each thread has a column of its own; `partial` is [chunks, columns].

static __device__ u32 own_column() {
    return blockIdx.y * blockDim.x + threadIdx.x;
}

static __device__ u64 chunk_end(u64 start, u64 rows) {
    return start + ROWS_A_CHUNK < rows ? start + ROWS_A_CHUNK : rows;
}

extern "C" __global__ void column_partials(const float* x, float* partial, u32 columns, u64 rows) {
    const u32 column = own_column();
    if (column >= columns) return;
    const u64 start = (u64)blockIdx.x * ROWS_A_CHUNK, end = chunk_end(start, rows);
    float sum = 0.0f;
    for (u64 row = start; row < end; row++) sum += x[row * columns + column];
    partial[(u64)blockIdx.x * columns + column] = sum;
}

// out += the sums of the chunks; blocks of 256 threads have 32 columns and eight running sums for each.
extern "C" __global__ void column_sums(const float* partial, float* out, u32 columns, u32 chunks) {
    __shared__ float sums[8][WARP];
    const u32 lane = threadIdx.x % WARP, share = threadIdx.x / WARP;
    const u32 column = blockIdx.x * WARP + lane;
    float sum = 0.0f;
    if (column < columns) {
        for (u32 chunk = share; chunk < chunks; chunk += 8) sum += partial[(u64)chunk * columns + column];
    }
    sums[share][lane] = sum;
    __syncthreads();
    if (share > 0 || column >= columns) return;
    for (u32 other = 1; other < 8; other++) sum += sums[other][lane];
    out[column] += sum;
}

// Turns `grad`, the gradient of the mixture, into that of x; adds to grad_x0; partial is [chunks, 2 * width].
extern "C" __global__ void mix_grad(const float* x, const float* x0, const float* weights, float* grad, float* grad_x0,
                                    float* partial, u32 width, u64 rows) {
    const u32 column = own_column();
    if (column >= width) return;
    const float keep = weights[column], from_input = weights[width + column];
    const u64 start = (u64)blockIdx.x * ROWS_A_CHUNK, end = chunk_end(start, rows);
    float keep_sum = 0.0f, input_sum = 0.0f;
    for (u64 row = start; row < end; row++) {
        const u64 i = row * width + column;
        const float g = grad[i];
        keep_sum += g * x[i];
        input_sum += g * x0[i];
        grad_x0[i] += from_input * g;
        grad[i] = g * keep;
    }
    float* own = partial + (u64)blockIdx.x * 2 * width + column;
    own[0] = keep_sum;
    own[width] = input_sum;
}

// Replaces grad_skip; partial is [chunks, width].
extern "C" __global__ void add_skip_grad(const float* skip, const float* weights, const float* grad_x,
                                         float* grad_skip, float* partial, u32 width, u64 rows) {
    const u32 column = own_column();
    if (column >= width) return;
    const float weight = weights[column];
    const u64 start = (u64)blockIdx.x * ROWS_A_CHUNK, end = chunk_end(start, rows);
    float sum = 0.0f;
    for (u64 row = start; row < end; row++) {
        const u64 i = row * width + column;
        const float g = grad_x[i];
        grad_skip[i] = weight * g;
        sum += skip[i] * g;
    }
    partial[(u64)blockIdx.x * width + column] = sum;
}

// Adds to grad_a; partial is [chunks, width], the gradient of the sigmoid.
extern "C" __global__ void smear_grad(const float* a, const float* gate, const float* grad_y, float* grad_a,
                                      float* partial, u32 width, u32 seq_len, u64 rows) {
    const u32 column = own_column();
    if (column >= width) return;
    const float g = sigmoid(gate[column]);
    const u64 start = (u64)blockIdx.x * ROWS_A_CHUNK, end = chunk_end(start, rows);
    float sum = 0.0f;
    for (u64 row = start; row < end; row++) {
        const u64 i = row * width + column, position = row % seq_len;
        float grad = grad_a[i] + (1.0f - g) * grad_y[i];
        if (position + 1 < seq_len) grad += g * grad_y[i + width];
        grad_a[i] = grad;
        sum -= a[i] * grad_y[i];
        if (position > 0) sum += a[i - width] * grad_y[i];
    }
    partial[(u64)blockIdx.x * width + column] = sum;
}

// grad_gate += sum * g (1 - g)
extern "C" __global__ void smear_gate_grad(const float* sum, const float* gate, float* grad_gate, u64 n) {
    const u64 i = place();
    if (i >= n) return;
    const float g = sigmoid(gate[i]);
    grad_gate[i] += sum[i] * g * (1.0f - g);
}
