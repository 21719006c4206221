// Products of bfloat16 matrices by Hopper's warpgroup instructions, for what gemm_bf16.cu does by `mma.sync` elsewhere.
//
// A block of two warpgroups makes tiles of 128 rows and 128 or 256 columns, one after another along a strip of columns;
// each warpgroup has 64 rows of a tile. Factors come through shared memory in stages of 64 inner values. While the products
// of one stage run, those of the next are begun, and the stage before both is filled again, at the end of a tile with what
// the next tile begins with.
//
// Wide tiles: 128 registers of sums, four stages of 48 KiB, one block an SM. Narrow ones: 64 registers, three stages of
// 32 KiB, two blocks an SM.
//
// Each sum runs over the inner values in order, sixteen at a time, wherever its row lies and whatever the tile's width.

#define WGMMA_STEP 64u

// Bytes of shared memory are reckoned in backend/gemm_bf16/plan.rs.
template <bool B_ALONG, u32 COLUMNS, u32 STAGES>
static __device__ void wgmma_tiles(const Gemm& p, const bf16* a, const bf16* b) {
    const u32 a_values = GEMM_ROWS * WGMMA_STEP, stage_values = a_values + COLUMNS * WGMMA_STEP;
    SWIZZLED_SHARED(tiles);
    bf16* stages = (bf16*)tiles;
    const Strip strip = own_strip<COLUMNS>(p);
    const u32 top = strip.top, columns_end = strip.columns_end, start = strip.start, end = strip.end;
    u32 first = strip.first;

    // Copies are asked for in the order in which they are used.
    u32 next_first = first, next_inner = start, next_stage = 0;
    auto copy_next = [&] {
        if (next_first < columns_end) {
            bf16* stage = stages + next_stage * stage_values;
            copy_tile<GEMM_ROWS>(stage, a, p.k, top, p.m, next_inner, end);
            if constexpr (B_ALONG) {
                copy_tile<COLUMNS>(stage + a_values, b, p.k, next_first, p.n, next_inner, end);
            } else {
                UNROLL for (u32 i = 0; i < COLUMNS / TILE_ROW; i++) {
                    copy_tile<WGMMA_STEP>(stage + a_values + i * WGMMA_STEP * TILE_ROW, b, p.n, next_inner, end,
                                          next_first + i * TILE_ROW, p.n);
                }
            }
            next_inner += WGMMA_STEP;
            if (next_inner >= end) {
                next_inner = start;
                next_first += COLUMNS;
            }
        }
        copies_close();
        next_stage = (next_stage + 1) % STAGES;
    };

    const u32 own_rows = threadIdx.x / WARPGROUP * 64, warp_row = threadIdx.x / WARP * 16;
    for (u32 i = 0; i + 2 < STAGES; i++) copy_next();
    u32 stage = 0;
    for (; first < columns_end; first += COLUMNS) {
        float sums[1][COLUMNS / 8][4] = {};
        hold(sums[0]);
        for (u32 inner = start; inner < end; inner += WGMMA_STEP) {
            copies_wait<STAGES - 3>();
            wgmma_sees_copies();
            __syncthreads();
            const bf16* left = stages + stage * stage_values + own_rows * TILE_ROW;
            const bf16* right = stages + stage * stage_values + a_values;
            wgmma_fence();
            UNROLL for (u32 i = 0; i < WGMMA_STEP; i += WGMMA_INNER) {
                const u64 b_part = B_ALONG ? descriptor_along(right, i) : descriptor_across<WGMMA_STEP>(right, i);
                wgmma<!B_ALONG>(sums[0], descriptor_along(left, i), b_part, 1);
            }
            wgmma_close();
            // Into the stage before the last one, whose products both warpgroups had waited for when they came to the
            // barrier.
            copy_next();
            wgmma_wait<1>();
            stage = (stage + 1) % STAGES;
        }
        wgmma_wait<0>();
        hold(sums[0]);
        if (p.epilogue == EPILOGUE_SINGLE) {
            store_single(p, sums, top + warp_row, first);
        } else {
            const u32 forward = 1u << EPILOGUE_SQUARED | 1u << EPILOGUE_RESIDUAL_ADD, back = 1u << EPILOGUE_SQUARED_GRAD;
            store_narrow<(B_ALONG ? forward : back)>(p, sums, top + warp_row, first);
        }
    }
}

template <bool B_ALONG, u32 COLUMNS, u32 STAGES>
static __device__ void wgmma_gemm_of(GEMM_ARGUMENTS) {
    if constexpr (HAS_WGMMA) {
        const u64 skipped = blockIdx.y * out_matrix * (epilogue == EPILOGUE_SINGLE ? 4 : 2);
        other = other && epilogue != EPILOGUE_RESIDUAL_ADD ? (char*)other + skipped : other;
        const Gemm p = {other, (char*)out + skipped, m, n, k, part, strip, epilogue, factor, keep};
        wgmma_tiles<B_ALONG, COLUMNS, STAGES>(p, a + blockIdx.y * a_matrix, b + blockIdx.y * b_matrix);
    }
}

#define GEMM_WGMMA(NAME, B_ALONG, COLUMNS, STAGES)                                                                     \
    extern "C" __global__ void __launch_bounds__(WGMMA_THREADS, 256 / COLUMNS) NAME(GEMM_ARGUMENTS) {               \
        wgmma_gemm_of<B_ALONG, COLUMNS, STAGES>(a, b, other, out, m, n, k, part, strip, epilogue, factor, keep,        \
                                                a_matrix, b_matrix, out_matrix, a_transposed, b_transposed);           \
    }

GEMM_WGMMA(wgmma_gemm_bf16_nn, false, 128, 3)
GEMM_WGMMA(wgmma_gemm_bf16_nt, true, 128, 3)
GEMM_WGMMA(wide_wgmma_gemm_bf16_nn, false, 256, 4)
GEMM_WGMMA(wide_wgmma_gemm_bf16_nt, true, 256, 4)
