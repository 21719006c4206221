// The way into the network: first norm, smear, and gradients of tables.

// y[t] = (1 - g) a[t] + g a[t - 1], nothing before a row's first token, nor a begin mark where ids are given
template <class T>
static __device__ void smear_rows(const T* a, const float* gate, const u32* ids, T* y, u32 width, u32 seq_len, u64 n) {
    const u64 i = span_start();
    const u32 count = span_count(i, n);
    for (u64 j = i; j < i + count; j++) {
        const float g = sigmoid(gate[j % width]);
        float value = (1.0f - g) * get(a[j]);
        if (j / width % seq_len > 0 && !is_begin(ids, j / width)) value += g * get(a[j - width]);
        put(y + j, value);
    }
}

#define SMEAR(T, SUFFIX)                                                                                  \
    extern "C" __global__ void smear##SUFFIX(const T* a, const float* gate, const u32* ids, T* y,         \
                                             u32 width, u32 seq_len, u64 n) {                             \
        smear_rows(a, gate, ids, y, width, seq_len, n);                                                   \
    }
FOR_EACH_DTYPE(SMEAR)

// The smear of normalized rows; a warp has a row and normalizes the one before it again.
template <class T>
static __device__ void norm_and_smear(const T* x, const float* gate, const u32* ids, T* y, u32 width, u32 seq_len, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    x += row * width;
    y += row * width;
    const bool is_first = row % seq_len == 0 || is_begin(ids, row);
    const float inverse = inverse_rms(x, width), before = is_first ? 0.0f : inverse_rms(x - width, width);
    row_spans(width, [&](u32 column, u32 count) {
        float a[SPAN], b[SPAN], g[SPAN];
        load_span(x + column, count, a);
        load_span(gate + column, count, g);
        if (!is_first) load_span(x + column - width, count, b);
        for (u32 j = 0; j < count; j++) {
            const float share = sigmoid(g[j]);
            float value = (1.0f - share) * rounded_to<T>(a[j] * inverse);
            if (!is_first) value += share * rounded_to<T>(b[j] * before);
            a[j] = value;
        }
        store_span(y + column, count, a);
    });
}

#define NORM_SMEAR(T, SUFFIX)                                                                             \
    extern "C" __global__ void norm_smear##SUFFIX(const T* x, const float* gate, const u32* ids, T* y,    \
                                                  u32 width, u32 seq_len, u64 rows) {                     \
        norm_and_smear(x, gate, ids, y, width, seq_len, rows);                                            \
    }
FOR_EACH_DTYPE(NORM_SMEAR)

// Where each of `n` ids stands: order lists positions by id, then by position; those of id r are order[starts[r]] to
// order[starts[r + 1] - 1]. First counts, one warp an id; then sums of counts; then the places.
extern "C" __global__ void count_ids(const u32* ids, u32* counts, u32 n, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    u32 count = 0;
    for (u32 i = threadIdx.x % WARP; i < n; i += WARP) count += ids[i] == row;
    for (u32 distance = WARP / 2; distance > 0; distance /= 2) count += __shfl_xor_sync(ALL_LANES, count, distance);
    if (threadIdx.x % WARP == 0) counts[row] = count;
}

// Turns counts into where each id's positions begin, one more place than there are ids; one block of 256 threads with a
// run of ids each.
extern "C" __global__ void start_ids(u32* counts, u32 rows) {
    __shared__ u32 starts[256];
    const u32 each = (rows + 255) / 256, first = threadIdx.x * each, end = first + each < rows ? first + each : rows;
    u32 sum = 0;
    for (u32 row = first; row < end; row++) sum += counts[row];
    starts[threadIdx.x] = sum;
    __syncthreads();
    u32 start = 0;
    for (u32 i = 0; i < threadIdx.x; i++) start += starts[i];
    for (u32 row = first; row < end; row++) {
        const u32 count = counts[row];
        counts[row] = start;
        start += count;
    }
    if (threadIdx.x == 255) counts[rows] = start;
}

extern "C" __global__ void order_ids(const u32* ids, const u32* starts, u32* order, u32 n, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const u32 lane = threadIdx.x % WARP;
    u32 next = starts[row];
    for (u32 first = 0; first < n; first += WARP) {
        const bool is_here = first + lane < n && ids[first + lane] == row;
        const u32 here = __ballot_sync(ALL_LANES, is_here);
        if (is_here) order[next + __popc(here & ((1u << lane) - 1u))] = first + lane;
        next += __popc(here);
    }
}

// Adds rows of `grad` to the rows of a table, a block for each table row and 128 columns, in the order of positions.
template <class T>
static __device__ void scatter_rows(const T* grad, const u32* order, const u32* starts, float* table, u32 width) {
    const u32 column = blockIdx.y * blockDim.x + threadIdx.x;
    const u32 start = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    if (column >= width || start == end) return;
    const u64 target = (u64)blockIdx.x * width + column;
    float sum = table[target];
    for (u32 i = start; i < end; i++) sum += get(grad[(u64)order[i] * width + column]);
    table[target] = sum;
}

#define SCATTER(T, SUFFIX)                                                                                      \
    extern "C" __global__ void scatter##SUFFIX(const T* grad, const u32* order, const u32* starts, float* table, \
                                               u32 width) {                                                     \
        scatter_rows(grad, order, starts, table, width);                                                        \
    }
FOR_EACH_DTYPE(SCATTER)
