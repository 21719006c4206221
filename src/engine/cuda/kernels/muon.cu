// Muon around the products of its Newton-Schulz iteration: many matrices at once, `n` values in all.
//
// Every operation is rounded to bfloat16 where `rounds` says so, at the places src/train/newton_schulz.rs does.

static __device__ float held(float value, u32 rounds) {
    return rounds ? nearest_bf16(value) : value;
}

// Nesterov momentum: buffer = momentum * buffer + g, update = g + momentum * buffer (a fused multiply-add in PyTorch).
// `factor` is `clip_factor`'s.
extern "C" __global__ void muon_momentum(float* buffer, const float* gradient, float* update, const float* factor,
                                         float momentum, u32 rounds, u64 n) {
    const u64 i = place();
    if (i >= n || *factor < 0.0f) return;
    const float g = gradient[i] * *factor, mean = buffer[i] * momentum + g;
    buffer[i] = mean;
    update[i] = held(fmaf(mean, momentum, g), rounds);
}

// Divides each matrix by its Frobenius norm, given the sums of squares; matrices begin `stride` values apart.
extern "C" __global__ void unit_norm(float* x, const double* squares, u32 rounds, u64 stride, u64 n) {
    const u64 i = place();
    if (i >= n) return;
    const float norm = held((float)sqrt(squares[i / stride]), rounds);
    x[i] = held(x[i] / held(norm + 1e-7f, rounds), rounds);
}

// Rounds A = X X^T; scaled = c A.
extern "C" __global__ void schulz_scaled(float* gram, float* scaled, float c, u32 rounds, u64 n) {
    const u64 i = place();
    if (i >= n) return;
    const float a = held(gram[i], rounds);
    gram[i] = a;
    scaled[i] = held(c * a, rounds);
}

// Turns (c A) A into the polynomial b A + (c A) A.
extern "C" __global__ void schulz_polynomial(const float* gram, float* square, float b, u32 rounds, u64 n) {
    const u64 i = place();
    if (i < n) square[i] = held(held(b * gram[i], rounds) + held(square[i], rounds), rounds);
}

// x = a x + correction
extern "C" __global__ void schulz_step(float* x, const float* correction, float a, u32 rounds, u64 n) {
    const u64 i = place();
    if (i < n) x[i] = held(held(a * x[i], rounds) + held(correction[i], rounds), rounds);
}

// weight = keep * weight + rate * (aspect * update), with a fused multiply-add as in PyTorch.
extern "C" __global__ void muon_update(float* weight, const float* update, const float* factor, float keep,
                                       float aspect, float rate, u32 rounds, u64 n) {
    const u64 i = place();
    if (i >= n || *factor < 0.0f) return;
    weight[i] = fmaf(held(update[i] * aspect, rounds), rate, weight[i] * keep);
}
