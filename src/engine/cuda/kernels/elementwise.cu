// Operations that look at each activation once. `n` counts values, `width` the values of a row.

// sum += x
extern "C" __global__ void add(const float* x, float* sum, u64 n) {
    const u64 i = place();
    if (i < n) sum[i] += x[i];
}

extern "C" __global__ void round_bf16(float* x, u64 n) {
    const u64 i = place();
    if (i < n) x[i] = nearest_bf16(x[i]);
}

// The last `keep` values of every `row` values.
extern "C" __global__ void tails(const float* x, float* y, u64 row, u64 keep, u64 n) {
    const u64 i = place();
    if (i < n) y[i] = x[i / keep * row + (row - keep) + i % keep];
}

// Rows `ids` of a table.
extern "C" __global__ void gather(const float* table, const u32* ids, float* y, u32 width, u64 n) {
    const u64 i = place();
    if (i < n) y[i] = table[(u64)ids[i / width] * width + i % width];
}

// Adds rows of `grad` to the rows of a table, a block for each table row and 128 columns: `order` lists the rows of
// `grad` by table row, then by position, and those of segment s are order[starts[s]] to order[starts[s + 1] - 1].
extern "C" __global__ void scatter(const float* grad, const u32* order, const u32* starts, const u32* table_rows,
                                   float* table, u32 width) {
    const u32 column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= width) return;
    const u64 target = (u64)table_rows[blockIdx.x] * width + column;
    float sum = table[target];
    for (u32 i = starts[blockIdx.x]; i < starts[blockIdx.x + 1]; i++) sum += grad[(u64)order[i] * width + column];
    table[target] = sum;
}

extern "C" __global__ void relu_squared(const float* x, float* y, u64 n) {
    const u64 i = place();
    if (i >= n) return;
    const float positive = fmaxf(x[i], 0.0f);
    y[i] = positive * positive;
}

// Turns the gradient of the square into that of its argument.
extern "C" __global__ void relu_squared_grad(const float* x, float* grad, u64 n) {
    const u64 i = place();
    if (i < n) grad[i] *= 2.0f * fmaxf(x[i], 0.0f);
}

// y = mix[0] * x + mix[1] * x0 by channel
extern "C" __global__ void mix(const float* x, const float* x0, const float* weights, float* y, u32 width, u64 n) {
    const u64 i = place();
    if (i >= n) return;
    const u64 column = i % width;
    y[i] = weights[column] * x[i] + weights[width + column] * x0[i];
}

// x += weights * skip by channel
extern "C" __global__ void add_skip(const float* skip, const float* weights, float* x, u32 width, u64 n) {
    const u64 i = place();
    if (i < n) x[i] += weights[i % width] * skip[i];
}

// y[t] = (1 - g) a[t] + g a[t - 1], nothing before a row's first token
extern "C" __global__ void smear(const float* a, const float* gate, float* y, u32 width, u32 seq_len, u64 n) {
    const u64 i = place();
    if (i >= n) return;
    const float g = sigmoid(gate[i % width]);
    float value = (1.0f - g) * a[i];
    if (i / width % seq_len > 0) value += g * a[i - width];
    y[i] = value;
}
