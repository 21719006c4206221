// Causal attention, a tile of queries (or keys) a block. The square of scores never exists: the forward pass keeps a
// running maximum and sum over the tiles of keys (online softmax), the backward pass recomputes the weights from each
// query's logsumexp.
//
// Activations are [tokens, heads, width]. A block has TILE rows and eight threads for each: thread (r, c) makes the
// scores c, c + 8, ... of row r and keeps the channels c, c + 8, ... of its output. The eight lie in one warp.
// WIDTH is the head's width rounded up to what is compiled; channels past `width` are zero. Everything is computed in
// single precision, whatever stores it: the kernels of attention_bf16.cu are for heads that tensor cores can have.

#define THREADS_A_ROW 8u

// Sum and maximum over a row's eight threads.
static __device__ float row_sum(float value) {
    for (u32 distance = THREADS_A_ROW / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(ALL_LANES, value, distance);
    }
    return value;
}

static __device__ float row_max(float value) {
    for (u32 distance = THREADS_A_ROW / 2; distance > 0; distance /= 2) {
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, distance));
    }
    return value;
}

// A tile's rows `start`... of one head; rows past `count` and channels past `width` become zero. `x` points to the
// head's channels of row 0, rows are `stride` values apart.
template <u32 WIDTH, u32 TILE, class T>
static __device__ void load(const T* x, u64 stride, u32 start, u32 count, u32 width, float (*tile)[WIDTH + 1]) {
    for (u32 i = threadIdx.x; i < TILE * WIDTH; i += TILE * THREADS_A_ROW) {
        const u32 row = i / WIDTH, channel = i % WIDTH;
        const bool present = start + row < count && channel < width;
        tile[row][channel] = present ? get(x[(start + row) * stride + channel]) : 0.0f;
    }
}

template <u32 WIDTH>
static __device__ float dot(const float* a, const float* b) {
    float sum = 0.0f;
    for (u32 i = 0; i < WIDTH; i++) sum += a[i] * b[i];
    return sum;
}

// What a block works on: tiles of a row's tokens, heads, rows, in that order.
struct Task {
    u32 start, head;
    u64 row;
};

template <u32 TILE>
static __device__ Task task(u32 tokens, u32 heads) {
    const u32 tiles = (tokens + TILE - 1) / TILE;
    Task own;
    own.start = blockIdx.x % tiles * TILE;
    own.head = blockIdx.x / tiles % heads;
    own.row = blockIdx.x / tiles / heads;
    return own;
}

template <u32 WIDTH, u32 TILE, class T>
static __device__ void attend(const T* q, const T* k, const T* v, T* mixed, float* lse,
                              u32 seq_len, u32 first_query, u32 heads, u32 kv_heads, u32 width, float scale) {
    __shared__ float queries[TILE][WIDTH + 1], keys[TILE][WIDTH + 1], values[TILE][WIDTH + 1];
    __shared__ float weights[TILE][TILE + 1];
    const u32 count = seq_len - first_query;
    const Task own = task<TILE>(count, heads);
    const u32 r = threadIdx.x / THREADS_A_ROW, c = threadIdx.x % THREADS_A_ROW;
    const u64 stride = (u64)heads * width, kv_stride = (u64)kv_heads * width;
    const u64 kv = own.row * seq_len * kv_stride + own.head / (heads / kv_heads) * width;
    const u64 first = own.row * count * stride + (u64)own.head * width;
    load<WIDTH, TILE, T>(q + first, stride, own.start, count, width, queries);

    // The last key this thread's query sees, and one past the last any of the tile's queries does.
    const u32 seen = first_query + own.start + r;
    const u32 end = first_query + (own.start + TILE < count ? own.start + TILE : count);
    float out[WIDTH / THREADS_A_ROW] = {}, scores[TILE / THREADS_A_ROW];
    float largest = MINUS_INFINITY, sum = 0.0f;
    for (u32 start = 0; start < end; start += TILE) {
        __syncthreads();
        load<WIDTH, TILE, T>(k + kv, kv_stride, start, seq_len, width, keys);
        load<WIDTH, TILE, T>(v + kv, kv_stride, start, seq_len, width, values);
        __syncthreads();
        float tile_largest = MINUS_INFINITY;
        for (u32 j = 0; j < TILE / THREADS_A_ROW; j++) {
            const u32 key = c + j * THREADS_A_ROW;
            const float score = dot<WIDTH>(queries[r], keys[key]) * scale;
            scores[j] = start + key <= seen ? score : MINUS_INFINITY;
            tile_largest = fmaxf(tile_largest, scores[j]);
        }
        // Finite: every query sees the first key of the first tile.
        const float next = fmaxf(largest, row_max(tile_largest));
        const float shrink = exponential(largest - next);
        float tile_sum = 0.0f;
        for (u32 j = 0; j < TILE / THREADS_A_ROW; j++) {
            const float weight = exponential(scores[j] - next);
            weights[r][c + j * THREADS_A_ROW] = weight;
            tile_sum += weight;
        }
        sum = sum * shrink + row_sum(tile_sum);
        largest = next;
        __syncwarp();
        for (u32 i = 0; i < WIDTH / THREADS_A_ROW; i++) {
            float value = out[i] * shrink;
            for (u32 t = 0; t < TILE; t++) value += weights[r][t] * values[t][c + i * THREADS_A_ROW];
            out[i] = value;
        }
    }
    if (own.start + r >= count) return;
    const float inverse = 1.0f / sum;
    mixed += first + (own.start + r) * stride;
    for (u32 i = 0; i < WIDTH / THREADS_A_ROW; i++) {
        const u32 channel = c + i * THREADS_A_ROW;
        if (channel < width) put(mixed + channel, out[i] * inverse);
    }
    if (c == 0) lse[(own.row * count + own.start + r) * heads + own.head] = largest + (float)log((double)sum);
}

// Gradient of a tile of queries, given each query's lse and delta (its output times the output's gradient).
template <u32 WIDTH, u32 TILE, class T>
static __device__ void attend_grad_q(const T* q, const T* k, const T* v, const float* lse,
                                     const float* delta, const T* grad, T* grad_q, u32 seq_len, u32 heads,
                                     u32 kv_heads, u32 width, float scale) {
    __shared__ float queries[TILE][WIDTH + 1], keys[TILE][WIDTH + 1], values[TILE][WIDTH + 1];
    __shared__ float grads[TILE][WIDTH + 1], grad_scores[TILE][TILE + 1];
    const Task own = task<TILE>(seq_len, heads);
    const u32 r = threadIdx.x / THREADS_A_ROW, c = threadIdx.x % THREADS_A_ROW;
    const u64 stride = (u64)heads * width, kv_stride = (u64)kv_heads * width;
    const u64 kv = own.row * seq_len * kv_stride + own.head / (heads / kv_heads) * width;
    const u64 first = own.row * seq_len * stride + (u64)own.head * width;
    load<WIDTH, TILE, T>(q + first, stride, own.start, seq_len, width, queries);
    load<WIDTH, TILE, T>(grad + first, stride, own.start, seq_len, width, grads);
    const u32 query = own.start + r;
    const bool present = query < seq_len;
    const u64 place_of_sums = (own.row * seq_len + query) * heads + own.head;
    const float own_lse = present ? lse[place_of_sums] : 0.0f, own_delta = present ? delta[place_of_sums] : 0.0f;
    const u32 end = own.start + TILE < seq_len ? own.start + TILE : seq_len;
    float out[WIDTH / THREADS_A_ROW] = {};
    for (u32 start = 0; start < end; start += TILE) {
        __syncthreads();
        load<WIDTH, TILE, T>(k + kv, kv_stride, start, seq_len, width, keys);
        load<WIDTH, TILE, T>(v + kv, kv_stride, start, seq_len, width, values);
        __syncthreads();
        for (u32 j = 0; j < TILE / THREADS_A_ROW; j++) {
            const u32 key = c + j * THREADS_A_ROW;
            float grad_score = 0.0f;
            if (present && start + key <= query) {
                const float weight = exponential(dot<WIDTH>(queries[r], keys[key]) * scale - own_lse);
                grad_score = weight * (dot<WIDTH>(grads[r], values[key]) - own_delta);
            }
            grad_scores[r][key] = grad_score;
        }
        __syncwarp();
        for (u32 i = 0; i < WIDTH / THREADS_A_ROW; i++) {
            float value = out[i];
            for (u32 t = 0; t < TILE; t++) value += grad_scores[r][t] * keys[t][c + i * THREADS_A_ROW];
            out[i] = value;
        }
    }
    if (!present) return;
    grad_q += first + query * stride;
    for (u32 i = 0; i < WIDTH / THREADS_A_ROW; i++) {
        const u32 channel = c + i * THREADS_A_ROW;
        if (channel < width) put(grad_q + channel, out[i] * scale);
    }
}

// Gradients of a tile of keys and values: over the query heads of their group, over the queries that see them.
template <u32 WIDTH, u32 TILE, class T>
static __device__ void attend_grad_kv(const T* q, const T* k, const T* v, const float* lse,
                                      const float* delta, const T* grad, T* grad_k, T* grad_v, u32 seq_len,
                                      u32 heads, u32 kv_heads, u32 width, float scale) {
    __shared__ float queries[TILE][WIDTH + 1], keys[TILE][WIDTH + 1], values[TILE][WIDTH + 1];
    __shared__ float grads[TILE][WIDTH + 1], weights[TILE][TILE + 1], grad_scores[TILE][TILE + 1];
    const Task own = task<TILE>(seq_len, kv_heads);
    const u32 r = threadIdx.x / THREADS_A_ROW, c = threadIdx.x % THREADS_A_ROW, group = heads / kv_heads;
    const u64 stride = (u64)heads * width, kv_stride = (u64)kv_heads * width;
    const u64 kv = own.row * seq_len * kv_stride + (u64)own.head * width;
    load<WIDTH, TILE, T>(k + kv, kv_stride, own.start, seq_len, width, keys);
    load<WIDTH, TILE, T>(v + kv, kv_stride, own.start, seq_len, width, values);
    const u32 key = own.start + r;
    float key_out[WIDTH / THREADS_A_ROW] = {}, value_out[WIDTH / THREADS_A_ROW] = {};
    for (u32 head = own.head * group; head < (own.head + 1) * group; head++) {
        const u64 first = own.row * seq_len * stride + (u64)head * width;
        for (u32 start = own.start; start < seq_len; start += TILE) {
            __syncthreads();
            load<WIDTH, TILE, T>(q + first, stride, start, seq_len, width, queries);
            load<WIDTH, TILE, T>(grad + first, stride, start, seq_len, width, grads);
            __syncthreads();
            for (u32 j = 0; j < TILE / THREADS_A_ROW; j++) {
                const u32 t = c + j * THREADS_A_ROW, query = start + t;
                float weight = 0.0f, grad_score = 0.0f;
                if (query < seq_len && key <= query) {
                    const u64 place_of_sums = (own.row * seq_len + query) * heads + head;
                    weight = exponential(dot<WIDTH>(queries[t], keys[r]) * scale - lse[place_of_sums]);
                    grad_score = weight * (dot<WIDTH>(grads[t], values[r]) - delta[place_of_sums]);
                }
                weights[r][t] = weight;
                grad_scores[r][t] = grad_score;
            }
            __syncwarp();
            UNROLL for (u32 i = 0; i < WIDTH / THREADS_A_ROW; i++) {
                const u32 channel = c + i * THREADS_A_ROW;
                float key_sum = key_out[i], value_sum = value_out[i];
                for (u32 t = 0; t < TILE; t++) {
                    key_sum += grad_scores[r][t] * queries[t][channel];
                    value_sum += weights[r][t] * grads[t][channel];
                }
                key_out[i] = key_sum;
                value_out[i] = value_sum;
            }
        }
    }
    if (key >= seq_len) return;
    UNROLL for (u32 i = 0; i < WIDTH / THREADS_A_ROW; i++) {
        const u32 channel = c + i * THREADS_A_ROW;
        if (channel >= width) continue;
        put(grad_k + (kv + key * kv_stride + channel), key_out[i] * scale);
        put(grad_v + (kv + key * kv_stride + channel), value_out[i]);
    }
}

// Tiles of 32 rows, or of 16 where heads are so wide that 32 would not fit in 48 KiB of shared memory.
#define ATTENTION(WIDTH, TILE, T, SUFFIX)                                                                             \
    extern "C" __global__ void __launch_bounds__(TILE* THREADS_A_ROW)                                                 \
        attention_##WIDTH##SUFFIX(const T* q, const T* k, const T* v, T* mixed, float* lse, u32 seq_len,          \
                                  u32 first_query, u32 heads, u32 kv_heads, u32 width, float scale) {                 \
        attend<WIDTH, TILE>(q, k, v, mixed, lse, seq_len, first_query, heads, kv_heads, width, scale);            \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(TILE* THREADS_A_ROW)                                                 \
        attention_grad_q_##WIDTH##SUFFIX(const T* q, const T* k, const T* v, const float* lse, const float* delta, \
                                         const T* grad, T* grad_q, u32 seq_len, u32 heads, u32 kv_heads, u32 width,   \
                                         float scale) {                                                               \
        attend_grad_q<WIDTH, TILE>(q, k, v, lse, delta, grad, grad_q, seq_len, heads, kv_heads, width, scale);     \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(TILE* THREADS_A_ROW)                                                 \
        attention_grad_kv_##WIDTH##SUFFIX(const T* q, const T* k, const T* v, const float* lse,                   \
                                          const float* delta, const T* grad, T* grad_k, T* grad_v, u32 seq_len,        \
                                          u32 heads, u32 kv_heads, u32 width, float scale) {                          \
        attend_grad_kv<WIDTH, TILE>(q, k, v, lse, delta, grad, grad_k, grad_v, seq_len, heads, kv_heads, width,    \
                                    scale);                                                                           \
    }

ATTENTION(32, 32, float, )
ATTENTION(64, 32, float, )
ATTENTION(128, 16, float, )
ATTENTION(32, 32, bf16, _bf16)
ATTENTION(64, 32, bf16, _bf16)
ATTENTION(128, 16, bf16, _bf16)
