// Kernels for the tests of the shim itself.

extern "C" __global__ void divergent(u32 n) { if (threadIdx.x < n) __syncthreads(); }
extern "C" __global__ void half_a_warp(u32 n) { if (threadIdx.x < n) __syncwarp(); }
extern "C" __global__ void beyond(float* x, u32 n) { x[n] = 1.0f; }
// What a thread reads that has asked for a copy over it: its first number, or that of the copy.
extern "C" __global__ void refilled_too_soon(const u32* from, u32* found) {
    DYNAMIC_SHARED(memory);
    u32* const own = (u32*)memory + 4 * threadIdx.x;
    copy_ahead(own, from + 4 * threadIdx.x, true);
    copies_close();
    copies_wait<0>();
    copy_ahead(own, from + 4 * (blockDim.x + threadIdx.x), true);
    copies_close();
    found[thread_index()] = own[0];
    copies_wait<0>();
}
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

// d [64, 64] = 2 a b, by one warpgroup: b and, unless it comes in registers, a [64, 16] lie in 16 KiB of shared memory as
// their descriptors say, which `image` is copied to. `steps` has bits: what is done of all that must be done.
#define STEP_FENCE 1u
#define STEP_SEES_COPIES 2u
#define STEP_WAIT 4u
extern "C" __global__ void warpgroup_product(const bf16* image, const bf16* a, float* d, u64 a_at, u64 b_at,
                                             u32 b_by_columns, u32 a_in_registers, u32 steps) {
    SWIZZLED_SHARED(memory);
    const u32 lane = threadIdx.x % WARP, row = threadIdx.x / WARP * 16 + lane / 4, t = lane % 4;
    for (u32 i = threadIdx.x; i < 1024; i += WARPGROUP) copy_ahead((bf16*)memory + 8 * i, image + 8 * i, true);
    copies_close();
    copies_wait<0>();
    if (steps & STEP_SEES_COPIES) wgmma_sees_copies();
    __syncthreads();
    u32 left[4];
    for (u32 i = 0; i < 4; i++) left[i] = *(const u32*)(a + (row + i % 2 * 8) * 16 + i / 2 * 8 + 2 * t);
    float sums[8][4];
    for (u32 i = 0; i < 32; i++) sums[i / 4][i % 4] = 7.0f;
    if (steps & STEP_FENCE) wgmma_fence();
    for (u32 again = 0; again < 2; again++) {
        if (a_in_registers && b_by_columns) wgmma<true>(sums, left, b_at, again);
        if (a_in_registers && !b_by_columns) wgmma<false>(sums, left, b_at, again);
        if (!a_in_registers && b_by_columns) wgmma<true>(sums, a_at, b_at, again);
        if (!a_in_registers && !b_by_columns) wgmma<false>(sums, a_at, b_at, again);
    }
    wgmma_close();
    if (steps & STEP_WAIT) wgmma_wait<0>();
    for (u32 i = 0; i < 32; i++) d[(row + i / 2 % 2 * 8) * 64 + i / 4 * 8 + 2 * t + i % 2] = sums[i / 4][i % 4];
}
