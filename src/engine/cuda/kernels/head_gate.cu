// Heads weighed by a gate: y_h = factor * sigmoid(slope * w_h . x[..window]) m_h. A warp has a head of a token; lane l has
// channels l, l + 32, ... of what it reads.

// sigmoid(slope * w . x), the same in every lane.
template <class T>
static __device__ float gate_share(const T* x, const float* w, u32 window, float slope) {
    float sum = 0.0f;
    for (u32 i = threadIdx.x % WARP; i < window; i += WARP) sum += w[i] * get(x[i]);
    return sigmoid(slope * warp_sum(sum));
}

// One row a head of a token; the tokens' inputs are `inputs` wide.
template <class T>
static __device__ void gate_rows(const T* x, const float* weights, const T* mixed, T* y, u32 inputs, u32 window,
                                 u32 heads, u32 width, float factor, float slope, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const float gate = factor * gate_share(x + row / heads * inputs, weights + row % heads * window, window, slope);
    for (u32 i = threadIdx.x % WARP; i < width; i += WARP) put(y + row * width + i, gate * get(mixed[row * width + i]));
}

#define GATE_HEADS(T, SUFFIX)                                                                                  \
    extern "C" __global__ void gate_heads##SUFFIX(const T* x, const float* weights, const T* mixed, T* y,      \
                                                  u32 inputs, u32 window, u32 heads, u32 width, float factor,  \
                                                  float slope, u64 rows) {                                     \
        gate_rows(x, weights, mixed, y, inputs, window, heads, width, factor, slope, rows);                    \
    }
FOR_EACH_DTYPE(GATE_HEADS)

// Turns `grad`, the gradient of y, into that of mixed; replaces along, the gradient of w_h . x[..window].
template <class T>
static __device__ void gate_rows_grad(const T* x, const float* weights, const T* mixed, T* grad, float* along,
                                      u32 inputs, u32 window, u32 heads, u32 width, float factor, float slope,
                                      u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const float share = gate_share(x + row / heads * inputs, weights + row % heads * window, window, slope);
    float sum = 0.0f;
    for (u32 i = threadIdx.x % WARP; i < width; i += WARP) {
        const float g = get(grad[row * width + i]);
        sum += g * get(mixed[row * width + i]);
        put(grad + row * width + i, factor * share * g);
    }
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) along[row] = sum * factor * slope * share * (1.0f - share);
}

#define GATE_HEADS_GRAD(T, SUFFIX)                                                                              \
    extern "C" __global__ void gate_heads_grad##SUFFIX(const T* x, const float* weights, const T* mixed, T* grad, \
                                                       float* along, u32 inputs, u32 window, u32 heads,         \
                                                       u32 width, float factor, float slope, u64 rows) {        \
        gate_rows_grad(x, weights, mixed, grad, along, inputs, window, heads, width, factor, slope, rows);      \
    }
FOR_EACH_DTYPE(GATE_HEADS_GRAD)

// Adds to the first `window` channels of grad_x; one thread a channel of a token.
template <class T>
static __device__ void add_gate_input(const float* along, const float* weights, T* grad_x, u32 inputs, u32 window,
                                      u32 heads, u64 n) {
    const u64 i = thread_index();
    if (i >= n) return;
    const u64 token = i / window;
    const u32 channel = (u32)(i % window);
    float sum = 0.0f;
    for (u32 head = 0; head < heads; head++) sum += along[token * heads + head] * weights[head * window + channel];
    T* to = grad_x + token * inputs + channel;
    put(to, get(*to) + sum);
}

#define GATE_INPUT_GRAD(T, SUFFIX)                                                                             \
    extern "C" __global__ void gate_input_grad##SUFFIX(const float* along, const float* weights, T* grad_x,    \
                                                       u32 inputs, u32 window, u32 heads, u64 n) {             \
        add_gate_input(along, weights, grad_x, inputs, window, heads, n);                                      \
    }
FOR_EACH_DTYPE(GATE_INPUT_GRAD)

// Adds along[t, h] x[t, i] over the tokens, in an order of its own, to grad_weights[h, i]; one row a weight.
template <class T>
static __device__ void add_gate_weights(const float* along, const T* x, float* grad_weights, u32 inputs, u32 window,
                                        u32 heads, u32 tokens, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const u32 head = (u32)(row / window), channel = (u32)(row % window);
    float sum = 0.0f;
    for (u64 token = threadIdx.x % WARP; token < tokens; token += WARP)
        sum += along[token * heads + head] * get(x[token * inputs + channel]);
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) grad_weights[row] += sum;
}

#define GATE_WEIGHT_GRAD(T, SUFFIX)                                                                             \
    extern "C" __global__ void gate_weight_grad##SUFFIX(const float* along, const T* x, float* grad_weights,    \
                                                        u32 inputs, u32 window, u32 heads, u32 tokens,          \
                                                        u64 rows) {                                             \
        add_gate_weights(along, x, grad_weights, inputs, window, heads, tokens, rows);                          \
    }
FOR_EACH_DTYPE(GATE_WEIGHT_GRAD)
