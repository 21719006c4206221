// A plain product of single-precision matrices, for dims the library has no algorithm for, and for tests without it.

#define SIDE 64u
#define DEPTH 16u

// c [m, n] = factor * a b + keep * addend, where a[i][l] lies at i * a_row + l * a_column, b[l][j] at l * b_row +
// j * b_column, and c and addend are row-major; addend is not read where keep is 0. Row y of the grid makes the y-th
// product of a batch, whose matrices begin *_matrix values apart, addends as far as results. Blocks of 256 threads make
// 64 x 64 values, each thread 4 x 4; sums run over l in order.
extern "C" __global__ void gemm_f32(const float* a, const float* b, const float* addend, float* c, u32 m, u32 n,
                                   u32 depth, u64 a_row, u64 a_column, u64 b_row, u64 b_column, float factor,
                                   float keep, u64 a_matrix, u64 b_matrix, u64 c_matrix) {
    __shared__ float left[DEPTH][SIDE + 1], right[DEPTH][SIDE + 1];
    a += blockIdx.y * a_matrix;
    b += blockIdx.y * b_matrix;
    c += blockIdx.y * c_matrix;
    addend += blockIdx.y * c_matrix;
    const u32 columns_of_blocks = (n + SIDE - 1) / SIDE;
    const u32 top = blockIdx.x / columns_of_blocks * SIDE, first = blockIdx.x % columns_of_blocks * SIDE;
    const u32 row = threadIdx.x / 16, column = threadIdx.x % 16;
    float sums[4][4] = {};
    for (u32 start = 0; start < depth; start += DEPTH) {
        __syncthreads();
        for (u32 i = threadIdx.x; i < SIDE * DEPTH; i += 256) {
            const u32 l = i % DEPTH, side = i / DEPTH;
            const bool inside = start + l < depth;
            const bool in_left = inside && top + side < m, in_right = inside && first + side < n;
            left[l][side] = in_left ? a[(top + side) * a_row + (start + l) * a_column] : 0.0f;
            right[l][side] = in_right ? b[(start + l) * b_row + (first + side) * b_column] : 0.0f;
        }
        __syncthreads();
        for (u32 l = 0; l < DEPTH; l++) {
            for (u32 i = 0; i < 4; i++) {
                for (u32 j = 0; j < 4; j++) sums[i][j] += left[l][row + 16 * i] * right[l][column + 16 * j];
            }
        }
    }
    for (u32 i = 0; i < 4; i++) {
        for (u32 j = 0; j < 4; j++) {
            const u32 y = top + row + 16 * i, x = first + column + 16 * j;
            if (y >= m || x >= n) continue;
            const u64 at = (u64)y * n + x;
            c[at] = (keep == 0.0f ? 0.0f : keep * addend[at]) + factor * sums[i][j];
        }
    }
}
