// Muon around the products of its Newton-Schulz iteration: many matrices at once, `n` values in all. Updates are stored in
// the iteration's precision, and rounded to it here; within the iteration products round their results.

// Nesterov momentum: buffer = momentum * buffer + g, update = g + momentum * buffer (a fused multiply-add in PyTorch).
// `factor` is `clip_factor`'s.
template <class T>
static __device__ void momentum_step(float* buffer, const float* gradient, T* update, const float* factor,
                                     float momentum, u64 n) {
    const u64 i = thread_index();
    if (i >= n || *factor < 0.0f) return;
    const float g = gradient[i] * *factor, mean = buffer[i] * momentum + g;
    buffer[i] = mean;
    put(update + i, fmaf(mean, momentum, g));
}

#define MUON_MOMENTUM(T, SUFFIX)                                                                                  \
    extern "C" __global__ void muon_momentum##SUFFIX(float* buffer, const float* gradient, T* update,             \
                                                     const float* factor, float momentum, u64 n) {                \
        momentum_step(buffer, gradient, update, factor, momentum, n);                                             \
    }
FOR_EACH_DTYPE(MUON_MOMENTUM)

// Divides each matrix by its Frobenius norm, given the sums of squares; matrices begin `stride` values apart.
template <class T>
static __device__ void normalize(T* x, const double* squares, u64 stride, u64 n) {
    const u64 i = thread_index();
    if (i >= n) return;
    const float norm = rounded_to<T>((float)sqrt(squares[i / stride]));
    put(x + i, get(x[i]) / rounded_to<T>(norm + 1e-7f));
}

#define UNIT_NORM(T, SUFFIX)                                                                            \
    extern "C" __global__ void unit_norm##SUFFIX(T* x, const double* squares, u64 stride, u64 n) { \
        normalize(x, squares, stride, n);                                                               \
    }
FOR_EACH_DTYPE(UNIT_NORM)

// weight = keep * weight + rate * (aspect * update), with a fused multiply-add as in PyTorch.
template <class T>
static __device__ void update_step(float* weight, const T* update, const float* factor, float keep, float aspect,
                                   float rate, u64 n) {
    const u64 i = thread_index();
    if (i >= n || *factor < 0.0f) return;
    weight[i] = fmaf(rounded_to<T>(get(update[i]) * aspect), rate, weight[i] * keep);
}

#define MUON_UPDATE(T, SUFFIX)                                                                                    \
    extern "C" __global__ void muon_update##SUFFIX(float* weight, const T* update, const float* factor, float keep, \
                                                   float aspect, float rate, u64 n) {                             \
        update_step(weight, update, factor, keep, aspect, rate, n);                                               \
    }
FOR_EACH_DTYPE(MUON_UPDATE)
