// AdamW, to the bit what src/train/adamw.rs computes. Scalars come ready from the host, which has them in double.

// `factor` is `clip_factor`'s: gradients are multiplied by it, and where it is negative nothing is done.
extern "C" __global__ void adamw(float* weight, float* first, float* second, const float* gradient,
                                 const float* factor, float keep, float step_size, float mix1, float beta2, float mix2,
                                 float second_root, float eps, u64 n) {
    const u64 i = thread_index();
    if (i >= n || *factor < 0.0f) return;
    const float g = gradient[i] * *factor;
    const float mean = first[i] + mix1 * (g - first[i]);
    const float square = second[i] * beta2 + mix2 * g * g;
    first[i] = mean;
    second[i] = square;
    weight[i] = weight[i] * keep - step_size * mean / (sqrtf(square) / second_root + eps);
}
