// What src/engine/cuda/kernels/intrinsics.cu is on a GPU, on the processor: the same names, the same layouts of
// fragments, as the PTX ISA states them.
//
// Products of a fragment are added in double precision and rounded once; a GPU's order is its own. Copies ahead are made
// when they are waited for and not before, so that a missing wait is seen.

namespace shim {

// What each lane of a warp gives to the others; two sets, as for shuffles.
struct Given {
    uint32_t words[6];
    const void* row;
};
static Given given[2][MOST_THREADS];

// Gives something to the warp's other lanes; what all of them gave.
static const Given* share(const Given& own) {
    const unsigned thread = running->thread, turn = turns[thread] ^= 1;
    given[turn][thread] = own;
    wait_as(State::AtWarp);
    return &given[turn][thread / LANES * LANES];
}

static double bf16_value(uint32_t word, unsigned half) {
    const uint32_t bits = (half ? word >> 16 : word & 0xffffu) << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static uint32_t bf16_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (value != value) return 0x7fff;
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

// Element [row][column] of the i-th 8 x 8 matrix whose rows the lanes point to.
static uint32_t matrix_element(const Given* lanes, unsigned matrix, unsigned row, unsigned column) {
    uint16_t value;
    memcpy(&value, static_cast<const char*>(lanes[8 * matrix + row].row) + 2 * column, 2);
    return value;
}

static const Given* share_rows(const void* row) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
        fprintf(stderr, "a row of a matrix in shared memory is not aligned to 16 bytes\n");
        abort();
    }
    Given own = {};
    own.row = row;
    return share(own);
}

}  // namespace shim

#define DYNAMIC_SHARED(name) unsigned char* const name = shim::dynamic
#define UNROLL

struct Place {
    const char* address;

    Place() {}
    Place(const void* shared) : address(static_cast<const char*>(shared)) {}
};

static inline Place operator+(Place place, uint32_t bytes) {
    place.address += bytes;
    return place;
}

static inline unsigned __ballot_sync(unsigned, bool holds) {
    const shim::Given* lanes = shim::share({{holds}, nullptr});
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < shim::LANES; lane++) ballot |= lanes[lane].words[0] << lane;
    return ballot;
}

static inline unsigned __popc(unsigned bits) {
    return __builtin_popcount(bits);
}

static inline uint32_t pack_bf16(float low, float high) {
    return shim::bf16_bits(low) | shim::bf16_bits(high) << 16;
}

static inline float exp2_fast(float x) {
    return exp2f(x);
}

static inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    const shim::Given own = {{a[0], a[1], a[2], a[3], b0, b1}, nullptr};
    const shim::Given* lanes = shim::share(own);
    const unsigned g = threadIdx.x % shim::LANES / 4, t = threadIdx.x % 4;
    for (unsigned i = 0; i < 4; i++) {
        // This lane's rows g and g + 8, columns 2t and 2t + 1.
        const unsigned lower = i / 2, column = 2 * t + i % 2;
        double sum = 0.0;
        for (unsigned k = 0; k < 16; k++) {
            const unsigned owner = k % 8 / 2, half = k % 2, upper = k / 8;
            sum += shim::bf16_value(lanes[4 * g + owner].words[lower + 2 * upper], half) *
                   shim::bf16_value(lanes[4 * column + owner].words[4 + upper], half);
        }
        d[i] = static_cast<float>(d[i] + sum);
    }
}

static inline void load_matrices(uint32_t (&r)[4], Place row) {
    const shim::Given* lanes = shim::share_rows(row.address);
    const unsigned g = threadIdx.x % shim::LANES / 4, t = threadIdx.x % 4;
    for (unsigned i = 0; i < 4; i++) {
        r[i] = shim::matrix_element(lanes, i, g, 2 * t) | shim::matrix_element(lanes, i, g, 2 * t + 1) << 16;
    }
    // No lane goes on to overwrite a row that another still reads.
    __syncwarp();
}

static inline void load_matrices_transposed(uint32_t (&r)[4], Place row) {
    const shim::Given* lanes = shim::share_rows(row.address);
    const unsigned g = threadIdx.x % shim::LANES / 4, t = threadIdx.x % 4;
    for (unsigned i = 0; i < 4; i++) {
        r[i] = shim::matrix_element(lanes, i, 2 * t, g) | shim::matrix_element(lanes, i, 2 * t + 1, g) << 16;
    }
    __syncwarp();
}

static inline void copy_ahead(void* shared, const void* global, bool present) {
    shim::copies[shim::running->thread].back().push_back({shared, present ? global : nullptr});
}

static inline void copies_close() {
    shim::copies[shim::running->thread].emplace_back();
}

template <int PENDING>
static inline void copies_wait() {
    auto& groups = shim::copies[shim::running->thread];
    // The last group is the one not closed yet.
    while (groups.size() > PENDING + 1) {
        for (const shim::Copy& copy : groups.front()) {
            if (copy.from) {
                memcpy(copy.to, copy.from, 16);
            } else {
                memset(copy.to, 0, 16);
            }
        }
        groups.erase(groups.begin());
    }
}
