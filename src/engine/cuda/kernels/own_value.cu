// What points along the query's own value taken out of attention's output (XSA): y = m - (m . u) u with
// u = v / max(|v|, 1e-12). A warp has a head; lane l has channels l, l + 32, ... of it, eight at most.

#define LEAST_NORM 1e-12f

// A lane's channels of a head; zeros past its end.
template <class T>
static __device__ void load_lane(const T* from, u32 width, float (&x)[SPAN]) {
    for (u32 j = 0; j < SPAN; j++) {
        const u32 column = threadIdx.x % WARP + j * WARP;
        x[j] = column < width ? get(from[column]) : 0.0f;
    }
}

template <class T>
static __device__ void store_lane(T* to, u32 width, const float (&x)[SPAN]) {
    for (u32 j = 0; j < SPAN; j++) {
        const u32 column = threadIdx.x % WARP + j * WARP;
        if (column < width) put(to + column, x[j]);
    }
}

static __device__ float lane_dot(const float (&x)[SPAN], const float (&y)[SPAN]) {
    float sum = 0.0f;
    for (u32 j = 0; j < SPAN; j++) sum += x[j] * y[j];
    return warp_sum(sum);
}

// Makes u out of v; 1 / max(|v|, 1e-12).
static __device__ float to_direction(float (&v)[SPAN]) {
    const float inverse = 1.0f / fmaxf(sqrtf(lane_dot(v, v)), LEAST_NORM);
    for (u32 j = 0; j < SPAN; j++) v[j] *= inverse;
    return inverse;
}

// One row a head of a query; queries begin at position `first` of rows of `seq_len` tokens.
template <class T>
static __device__ void exclude_value(const T* mixed, const T* v, T* y, u32 seq_len, u32 first, u32 heads, u32 kv_heads,
                                     u32 width, u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    const u64 query = row / heads;
    const u32 queries = seq_len - first, kv_head = (u32)(row % heads) / (heads / kv_heads);
    const u64 token = query / queries * seq_len + first + query % queries;
    float u[SPAN], m[SPAN];
    load_lane(v + (token * kv_heads + kv_head) * width, width, u);
    to_direction(u);
    load_lane(mixed + row * width, width, m);
    const float along = lane_dot(m, u);
    for (u32 j = 0; j < SPAN; j++) m[j] -= along * u[j];
    store_lane(y + row * width, width, m);
}

#define EXCLUDE_OWN_VALUE(T, SUFFIX)                                                                             \
    extern "C" __global__ void exclude_own_value##SUFFIX(const T* mixed, const T* v, T* y, u32 seq_len, u32 first, \
                                                         u32 heads, u32 kv_heads, u32 width, u64 rows) {         \
        exclude_value(mixed, v, y, seq_len, first, heads, kv_heads, width, rows);                                \
    }
FOR_EACH_DTYPE(EXCLUDE_OWN_VALUE)

// One row a head of a value: turns the gradients of the outputs of its `group` query heads into those of `mixed`, and
// replaces grad_v.
template <class T>
static __device__ void exclude_value_grad(const T* mixed, const T* v, T* grad, T* grad_v, u32 group, u32 width,
                                          u64 rows) {
    const u64 row = warp_row();
    if (row >= rows) return;
    float u[SPAN], sum[SPAN] = {};
    load_lane(v + row * width, width, u);
    const float inverse = to_direction(u);
    for (u64 head = row * group; head < (row + 1) * group; head++) {
        float m[SPAN], g[SPAN];
        load_lane(mixed + head * width, width, m);
        load_lane(grad + head * width, width, g);
        const float m_along = lane_dot(m, u), g_along = lane_dot(g, u);
        for (u32 j = 0; j < SPAN; j++) {
            sum[j] -= g_along * m[j] + m_along * g[j];
            g[j] -= g_along * u[j];
        }
        store_lane(grad + head * width, width, g);
    }
    // A value too short to be divided by its norm has a constant divisor.
    const float dot = lane_dot(sum, u), along = inverse * LEAST_NORM < 1.0f ? dot : 0.0f;
    for (u32 j = 0; j < SPAN; j++) sum[j] = (sum[j] - along * u[j]) * inverse;
    store_lane(grad_v + row * width, width, sum);
}

#define EXCLUDE_OWN_VALUE_GRAD(T, SUFFIX)                                                                       \
    extern "C" __global__ void exclude_own_value_grad##SUFFIX(const T* mixed, const T* v, T* grad, T* grad_v,  \
                                                              u32 group, u32 width, u64 rows) {                \
        exclude_value_grad(mixed, v, grad, grad_v, group, width, rows);                                        \
    }
FOR_EACH_DTYPE(EXCLUDE_OWN_VALUE_GRAD)
