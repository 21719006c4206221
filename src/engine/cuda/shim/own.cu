// Kernels for the tests of the shim itself.

extern "C" __global__ void divergent(u32 n) { if (threadIdx.x < n) __syncthreads(); }
extern "C" __global__ void half_a_warp(u32 n) { if (threadIdx.x < n) __syncwarp(); }
extern "C" __global__ void beyond(float* x, u32 n) { x[n] = 1.0f; }
// d [16, 16] = a [16, 16] b^T, or a b; one warp. Copies are waited for if `waits`.
extern "C" __global__ void tensor_product(const bf16* a, const bf16* b, float* d, u32 b_transposed, u32 waits) {
    DYNAMIC_SHARED(memory);
    bf16* tiles = (bf16*)memory;
    const u32 lane = threadIdx.x, g = lane / 4, t = lane % 4;
    copy_ahead(tiles + 8 * lane, a + 8 * lane, true);
    copies_close();
    copy_ahead(tiles + 256 + 8 * lane, b + 8 * lane, true);
    copies_close();
    if (waits) copies_wait<0>();
    __syncwarp();
    u32 left[4], right[4];
    load_matrices(left, tiles + lane % 16 * 16 + lane / 16 * 8);
    const bf16* own = tiles + 256;
    if (b_transposed) {
        load_matrices(right, own + (lane % 8 + lane / 16 * 8) * 16 + lane / 8 % 2 * 8);
    } else {
        load_matrices_transposed(right, own + lane % 16 * 16 + lane / 16 * 8);
    }
    for (u32 half = 0; half < 2; half++) {
        float sums[4] = {};
        mma_bf16(sums, left, right[2 * half], right[2 * half + 1]);
        for (u32 i = 0; i < 4; i++) d[(g + i / 2 * 8) * 16 + half * 8 + 2 * t + i % 2] = sums[i];
    }
}
// Every block adds its ticket to those of the blocks before: sum = 2 sum + ticket, `waits` for its turn or not. Tickets past
// `last` wait for a turn that never comes.
extern "C" __global__ void turns(u32* counters, u32* sum, u32 last, u32 waits) {
    DYNAMIC_SHARED(memory);
    u32* const ticket = (u32*)memory;
    if (threadIdx.x == 0) *ticket = take_ticket(counters);
    __syncthreads();
    const u32 own = *ticket;
    if (threadIdx.x == 0 && waits) wait_for_turn(counters + 1, own < last ? own : ~0u);
    __syncthreads();
    const u32 before = *sum;
    __syncthreads();
    if (threadIdx.x == 0) *sum = 2 * before + own;
    __syncthreads();
    if (threadIdx.x == 0) set_turn(counters + 1, own + 1);
}
