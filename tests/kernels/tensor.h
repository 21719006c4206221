// What src/engine/cuda/kernels/intrinsics.cu is on a GPU, on the processor: the same names, the same layouts of
// fragments, as the PTX ISA states them.
//
// Products of a fragment are added in double precision and rounded once; a GPU's order is its own. Copies ahead are made
// when they are waited for and not before, so that a missing wait is seen; in every other block at once, too, so that it
// is seen where they write over what is still read.

namespace shim {

// What each lane of a warp gives to the others; two sets of each kind, as for shuffles.
template <class T>
static T given[2][MOST_THREADS];

// Gives something to the warp's other lanes; what all of them gave.
template <class T>
static const T* share(const T& own) {
    const unsigned thread = running->thread, turn = block->turns[thread] ^= 1;
    given<T>[turn][thread] = own;
    wait_as(State::AtWarp);
    return &given<T>[turn][thread / LANES * LANES];
}

// A lane's part of a factor: a word holds two values.
template <unsigned WORDS>
struct Part {
    double values[WORDS][2];
    bool is_zero, is_finite;
};
struct Fragment {
    Part<4> a;
    Part<2> b;
};

// What runs on by itself is done, in some blocks, as soon as it is asked for, and in the others as late as it may be: of
// every four blocks each has another pair of both.
static bool copies_are_early() {
    return (blockIdx.x ^ blockIdx.y) & 1;
}

static bool products_are_early() {
    return (blockIdx.x ^ blockIdx.y) & 2;
}

static void make(const Copy& copy) {
    if (copy.from) {
        memcpy(copy.to, copy.from, 16);
    } else {
        memset(copy.to, 0, 16);
    }
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

template <unsigned WORDS>
static Part<WORDS> part(const uint32_t (&words)[WORDS]) {
    Part<WORDS> part = {{}, true, true};
    for (unsigned i = 0; i < WORDS; i++) {
        for (unsigned half = 0; half < 2; half++) part.values[i][half] = bf16_value(words[i], half);
        part.is_zero = part.is_zero && words[i] == 0;
        part.is_finite = part.is_finite && (words[i] & 0x7f80) != 0x7f80 && (words[i] >> 16 & 0x7f80) != 0x7f80;
    }
    return part;
}

// Element [row][column] of the i-th 8 x 8 matrix whose rows the lanes point to.
static uint32_t matrix_element(const char* const* rows, unsigned matrix, unsigned row, unsigned column) {
    uint16_t value;
    memcpy(&value, rows[8 * matrix + row] + 2 * column, 2);
    return value;
}

static const char* const* share_row(const char* row) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
        fprintf(stderr, "a row of a matrix in shared memory is not aligned to 16 bytes\n");
        abort();
    }
    return share(row);
}

}  // namespace shim

#define DYNAMIC_SHARED(name) unsigned char* const name = shim::block->dynamic
#define UNROLL

struct SharedAddress {
    const char* address;

    SharedAddress() {}
    SharedAddress(const void* shared) : address(static_cast<const char*>(shared)) {}
};

static inline SharedAddress operator+(SharedAddress place, uint32_t bytes) {
    place.address += bytes;
    return place;
}

static inline unsigned __ballot_sync(unsigned, bool holds) {
    const bool* lanes = shim::share(holds);
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < shim::LANES; lane++) ballot |= unsigned{lanes[lane]} << lane;
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
    const shim::Fragment* lanes = shim::share<shim::Fragment>({shim::part(a), shim::part({b0, b1})});
    const unsigned g = threadIdx.x % shim::LANES / 4, t = threadIdx.x % 4;
    // Most of a small matrix's tile is zeros, whose products with numbers add nothing.
    bool a_is_zero = true, a_is_finite = true, b_is_zero = true, b_is_finite = true;
    for (unsigned i = 0; i < 4; i++) {
        a_is_zero = a_is_zero && lanes[4 * g + i].a.is_zero;
        a_is_finite = a_is_finite && lanes[4 * g + i].a.is_finite;
    }
    for (unsigned i = 0; i < 8; i++) {
        b_is_zero = b_is_zero && lanes[8 * t + i].b.is_zero;
        b_is_finite = b_is_finite && lanes[8 * t + i].b.is_finite;
    }
    if ((a_is_zero && b_is_finite) || (b_is_zero && a_is_finite)) return;
    for (unsigned i = 0; i < 4; i++) {
        // This lane's rows g and g + 8, columns 2t and 2t + 1.
        const unsigned lower = i / 2, column = 2 * t + i % 2;
        double sum = 0.0;
        for (unsigned k = 0; k < 16; k++) {
            const unsigned owner = k % 8 / 2, half = k % 2, upper = k / 8;
            sum += lanes[4 * g + owner].a.values[lower + 2 * upper][half] *
                   lanes[4 * column + owner].b.values[upper][half];
        }
        d[i] = static_cast<float>(d[i] + sum);
    }
}

static inline void load_matrices(uint32_t (&r)[4], SharedAddress row) {
    const char* const* rows = shim::share_row(row.address);
    const unsigned g = threadIdx.x % shim::LANES / 4, t = threadIdx.x % 4;
    for (unsigned i = 0; i < 4; i++) {
        r[i] = shim::matrix_element(rows, i, g, 2 * t) | shim::matrix_element(rows, i, g, 2 * t + 1) << 16;
    }
    // No lane goes on to overwrite a row that another still reads.
    __syncwarp();
}

static inline void load_matrices_transposed(uint32_t (&r)[4], SharedAddress row) {
    const char* const* rows = shim::share_row(row.address);
    const unsigned g = threadIdx.x % shim::LANES / 4, t = threadIdx.x % 4;
    for (unsigned i = 0; i < 4; i++) {
        r[i] = shim::matrix_element(rows, i, 2 * t, g) | shim::matrix_element(rows, i, 2 * t + 1, g) << 16;
    }
    __syncwarp();
}

static inline void copy_ahead(void* shared, const void* global, bool present) {
    const shim::Copy copy = {shared, present ? global : nullptr};
    if (shim::copies_are_early()) shim::make(copy);
    shim::block->copies[shim::running->thread].back().push_back(copy);
}

static inline void copies_close() {
    shim::block->copies[shim::running->thread].emplace_back();
}

template <int PENDING>
static inline void copies_wait() {
    auto& groups = shim::block->copies[shim::running->thread];
    // The last group is the one not closed yet.
    while (groups.size() > PENDING + 1) {
        for (const shim::Copy& copy : groups.front()) {
            shim::make(copy);
            const size_t place = static_cast<unsigned char*>(copy.to) - shim::block->dynamic;
            if (place < shim::DYNAMIC_BYTES) {
                shim::block->unseen[place / 16] = shim::block->has_unseen = true;
                shim::block->arrived[shim::running->thread].push_back(place / 16);
            }
        }
        groups.erase(groups.begin());
    }
}

static inline unsigned take_ticket(unsigned* counter) {
    return (*counter)++;
}

static inline void wait_for_turn(const unsigned* counter, unsigned turn) {
    shim::wait_for(counter, turn);
}

static inline void set_turn(unsigned* counter, unsigned turn) {
    *counter = turn;
}

template <class T>
static inline T load_fresh(const T* from) {
    return *from;
}
