// What src/engine/cuda/kernels/wgmma.cu is on Hopper, on the processor: products of a warpgroup, as the PTX ISA states them
// ("Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions").
//
// A descriptor is taken apart bit by bit, and every value is read at the address that it and the swizzling give. Products
// are made when they are waited for and not before, with what shared memory and registers hold then: a missing wait is
// seen, and so is a stage that is filled again too early. In some blocks they are made at once, so that one that begins too
// early is seen. What a product must not see is not a number to it: what lies outside shared memory, copies
// without a `wgmma_sees_copies` after their wait, everything where the fence before it is missing.

namespace shim {

// A matrix in shared memory, 16 inner values each of its rows or columns (`side`).
struct Matrix {
    uint32_t start, leading, stride, base, chunks, chunk_bits;
    bool by_sides;

    Matrix(uint64_t descriptor, bool by_sides) : by_sides(by_sides) {
        const unsigned mode = descriptor >> 62;
        start = (descriptor & 0x3fff) << 4;
        leading = (descriptor >> 16 & 0x3fff) << 4;
        stride = (descriptor >> 32 & 0x3fff) << 4;
        base = descriptor >> 49 & 7;
        // Chunks of 16 bytes that swizzling exchanges: none, or those of 128, 64 or 32 bytes.
        chunk_bits = mode == 0 ? 0 : 4 - mode;
        chunks = 1u << chunk_bits;
    }

    // The canonical layouts, for values of two bytes.
    uint32_t address(unsigned side, unsigned inner) const {
        uint32_t offset;
        if (by_sides) {
            const unsigned neighbors = 8 * chunks, next = side >> (3 + chunk_bits), eight = inner / 8;
            offset = 2 * (side & (neighbors - 1)) + inner % 8 * (16 * chunks) +
                     (chunks == 1 ? next * stride + eight * leading : next * leading + eight * stride);
        } else {
            offset = side % 8 * (16 * chunks) + side / 8 * stride +
                     (chunks == 1 ? inner % 8 * 2 + inner / 8 * leading : inner * 2);
        }
        const uint32_t at = start + offset;
        // Address bits 4 to 6 are exchanged by bits 7 to 9, as many of them as there are chunks for.
        return at ^ ((at >> 7) & (chunks - 1)) << 4;
    }

    double value(unsigned side, unsigned inner) const {
        const uint32_t at = address(side, inner);
        // Patterns that begin elsewhere than at their own size (a base offset) are not emulated.
        if (base != 0 || at + 2 > DYNAMIC_BYTES || block->unseen[at / 16]) return NAN;
        uint16_t bits;
        memcpy(&bits, block->dynamic + at, 2);
        return bf16_value(bits, 0);
    }
};

// This thread's part of a product: rows g and g + 8 of its warp's sixteen, columns 2t and 2t + 1 of every eight.
static void multiply(const Product& product) {
    const unsigned lane = running->thread % LANES, warp = running->thread / LANES % 4, g = lane / 4, t = lane % 4;
    const Matrix a(product.a, false), b(product.b, product.b_by_columns);
    double left[2][16];
    for (unsigned lower = 0; lower < 2; lower++) {
        for (unsigned k = 0; k < 16; k++) {
            if (product.left[0]) {
                const uint32_t word = product.left[k % 8 / 2][lower + k / 8 * 2];
                left[lower][k] = bf16_value(word, k % 2);
            } else {
                left[lower][k] = a.value(16 * warp + 8 * lower + g, k);
            }
        }
    }
    for (unsigned j = 0; j < product.fragments; j++) {
        for (unsigned side = 0; side < 2; side++) {
            double right[16], sums[2] = {};
            for (unsigned k = 0; k < 16; k++) right[k] = b.value(8 * j + 2 * t + side, k);
            for (unsigned lower = 0; lower < 2; lower++) {
                for (unsigned k = 0; k < 16; k++) sums[lower] += left[lower][k] * right[k];
                float& d = product.d[j][2 * lower + side];
                const double before = product.accumulates ? d : 0.0;
                d = product.is_fenced ? static_cast<float>(before + sums[lower]) : NAN;
            }
        }
    }
}

static void begin_product(float (*d)[4], unsigned fragments, const uint32_t* left, uint64_t a, uint64_t b, bool by_columns,
                          bool accumulates) {
    Warpgroup& own = block->warpgroups[running->thread];
    Product product = {d, fragments, own.is_fenced, accumulates, by_columns, a, b, {}};
    const uint32_t* const* lanes = share(left);
    for (unsigned i = 0; i < QUAD; i++) product.left[i] = lanes[running->thread % LANES / QUAD * QUAD + i];
    if (products_are_early()) return multiply(product);
    own.groups.back().push_back(product);
}

}  // namespace shim

#define HAS_WGMMA true
#define SWIZZLED_SHARED(name) unsigned char* const name = shim::block->dynamic

// Where something lies in a block's shared memory.
static inline uint32_t shared_address(const void* shared) {
    return static_cast<const unsigned char*>(shared) - shim::block->dynamic;
}

static inline void wgmma_fence() {
    __syncwarp();
    shim::block->warpgroups[shim::running->thread].is_fenced = true;
}

static inline void wgmma_close() {
    shim::block->warpgroups[shim::running->thread].groups.emplace_back();
}

// Registers may be used after it, so that the next product needs another fence.
template <int PENDING>
static inline void wgmma_wait() {
    auto& own = shim::block->warpgroups[shim::running->thread];
    // Lanes read one another's registers, which are to stay until all have.
    __syncwarp();
    while (own.groups.size() > PENDING + 1) {
        for (const shim::Product& product : own.groups.front()) shim::multiply(product);
        own.groups.erase(own.groups.begin());
    }
    own.is_fenced = false;
    __syncwarp();
}

static inline void wgmma_sees_copies() {
    for (const uint32_t chunk : shim::block->arrived[shim::running->thread]) shim::block->unseen[chunk] = false;
    shim::block->arrived[shim::running->thread].clear();
}

template <uint32_t FRAGMENTS>
static inline void hold(float (&)[FRAGMENTS][4]) {}

template <uint32_t STEPS>
static inline void hold(uint32_t (&)[STEPS][1][4]) {}

template <bool B_BY_COLUMNS, uint32_t FRAGMENTS>
static inline void wgmma(float (&d)[FRAGMENTS][4], uint64_t a, uint64_t b, uint32_t accumulate) {
    shim::begin_product(d, FRAGMENTS, nullptr, a, b, B_BY_COLUMNS, accumulate);
}

template <bool B_BY_COLUMNS, uint32_t FRAGMENTS>
static inline void wgmma(float (&d)[FRAGMENTS][4], const uint32_t (&a)[4], uint64_t b, uint32_t accumulate) {
    shim::begin_product(d, FRAGMENTS, a, 0, b, B_BY_COLUMNS, accumulate);
}
