// Matrices in shared memory as a warpgroup's products read them.
//
// A tile is rows of 64 values, 128 bytes, in chunks of 16 bytes: chunk c of row r lies where chunk c ^ r % 8 would. That
// is the 128-byte swizzling of the PTX ISA (section "Shared Memory Matrix Layout") where a tile begins at a multiple of
// 1,024 bytes. Along a row the values are neighbors in memory: inner values of one row or column of the product, or
// columns of one inner value.

// Threads of a block: two warpgroups.
#define WARPGROUP 128u
#define WGMMA_THREADS (2u * WARPGROUP)
// Values of a tile's row, and of a chunk.
#define TILE_ROW 64u
#define TILE_CHUNK 8u
// Inner values of one product.
#define WGMMA_INNER 16u

// Where a matrix lies and how far its parts are apart, in bytes (PTX ISA, "Matrix Descriptor Format"): from eight rows of a
// tile to the next eight, and from 64 columns to the next 64 where rows are inner values; elsewhere that is not looked at.
static __device__ u64 matrix_descriptor(u32 address, u32 eight_rows, u32 next_columns) {
    const u64 swizzled_by_128_bytes = 1;
    return (u64)((address & 0x3ffffu) >> 4) | (u64)(next_columns >> 4) << 16 | (u64)(eight_rows >> 4) << 32 |
           swizzled_by_128_bytes << 62;
}

#define EIGHT_ROWS (8u * TILE_ROW * 2u)

// A factor whose rows are the product's rows or columns, from the inner value `inner` of the tile on.
static __device__ u64 descriptor_along(const bf16* tile, u32 inner) {
    return matrix_descriptor(shared_address(tile) + inner * 2, EIGHT_ROWS, 16);
}

// A factor whose rows are inner values, INNERS in each tile, and whose tiles have 64 columns each.
template <u32 INNERS>
static __device__ u64 descriptor_across(const bf16* tile, u32 inner) {
    return matrix_descriptor(shared_address(tile) + inner * TILE_ROW * 2, EIGHT_ROWS, INNERS * TILE_ROW * 2);
}

// Begins to copy a tile of ROWS rows: from row `first_row` of `rows` and column `first` of `columns` of a matrix whose rows
// are `stride` values apart. Zeros stand for what lies beyond; chunks are inside or outside as a whole.
template <u32 ROWS>
static __device__ void copy_tile(bf16* tile, const bf16* matrix, u64 stride, u32 first_row, u32 rows, u32 first,
                                 u32 columns) {
    const u32 CHUNKS = TILE_ROW / TILE_CHUNK, ROWS_AT_ONCE = WGMMA_THREADS / CHUNKS;
    const u32 chunk = threadIdx.x % CHUNKS, own = threadIdx.x / CHUNKS;
    const u32 row = first_row + own, column = first + chunk * TILE_CHUNK;
    tile += own * TILE_ROW + (chunk ^ own % 8) * TILE_CHUNK;
    const bf16* from = matrix + (row * stride + column);
    UNROLL for (u32 i = 0; i < ROWS; i += ROWS_AT_ONCE) {
        copy_ahead(tile + i * TILE_ROW, from, row + i < rows && column < columns);
        from += ROWS_AT_ONCE * stride;
    }
}
