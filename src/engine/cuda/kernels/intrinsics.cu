// Instructions that C++ has no words for. On the processor tests/kernels/tensor.h takes this file's place.
//
// Fragments of a 16 x 8 x 16 product (PTX ISA, "Matrix Fragments for mma.m16n8k16"), g = lane / 4, t = lane % 4, two
// bfloat16 values a register, the lower column (or inner index) in the low half:
//   a[0] row g, columns 2t and 2t + 1; a[1] row g + 8; a[2] and a[3] the same rows, columns 2t + 8 and 2t + 9
//   b[0] inner 2t and 2t + 1 of column g; b[1] inner 2t + 8 and 2t + 9
//   d[0], d[1] row g, columns 2t and 2t + 1; d[2], d[3] row g + 8

// Memory of a block beyond what is declared, as many bytes as the launch says.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]

// Before a loop whose fragments are to stay in registers.
#define UNROLL _Pragma("unroll")

// By the compiler's own conversion rather than by `cvta`: it then reckons addresses in 32 bits.
static __device__ u32 shared_address(const void* generic) {
    return (u32)__cvta_generic_to_shared(generic);
}

// An address in shared memory. Constants added to it become part of the instructions that use it: the compiler does not
// see where it comes from, and so does not make every sum anew.
struct SharedAddress {
    u32 address;

    __device__ SharedAddress() {}
    __device__ SharedAddress(const void* shared) : address(shared_address(shared)) {
        asm("" : "+r"(address));
    }
};

static __device__ SharedAddress operator+(SharedAddress place, u32 bytes) {
    place.address += bytes;
    return place;
}

// Two values rounded to bfloat16, ties to even.
static __device__ u32 pack_bf16(float low, float high) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

// 2^x to two units in the last place; 0 for minus infinity.
static __device__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// d += a b, a warp at once.
static __device__ void mma_bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 matrices of 16-bit values out of shared memory; lanes 8i to 8i + 7 give the addresses of the rows of the
// i-th, 16 bytes each. A lane gets columns 2t and 2t + 1 of row g of each.
static __device__ void load_matrices(u32 (&r)[4], SharedAddress row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row.address)
                 : "memory");
}

// The same of their transposes: a lane gets rows 2t and 2t + 1 of column g.
static __device__ void load_matrices_transposed(u32 (&r)[4], SharedAddress row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row.address)
                 : "memory");
}

// Begins a copy of 16 bytes to shared memory, or of zeros where nothing is present. Both addresses are multiples of 16.
static __device__ void copy_ahead(void* shared, const void* global, bool present) {
    const u32 bytes = present ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes)
                 : "memory");
}

// Ends a group of copies.
static __device__ void copies_close() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits for this thread's copies but those of the last PENDING groups. Others' are seen after a barrier.
template <int PENDING>
static __device__ void copies_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// A number that no other block has taken, from 0 on, in the order of asking.
static __device__ u32 take_ticket(u32* counter) {
    return atomicAdd(counter, 1u);
}

// Waits until a counter is at `turn`. What the block that set it had written before is seen after the next barrier.
static __device__ void wait_for_turn(const u32* counter, u32 turn) {
    u32 found;
    do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(found) : "l"(counter) : "memory");
    } while (found != turn);
}

// Sets a counter after all that the block has written before the last barrier.
static __device__ void set_turn(u32* counter, u32 turn) {
    asm volatile("fence.acq_rel.gpu;\n\tst.release.gpu.global.u32 [%0], %1;" ::"l"(counter), "r"(turn) : "memory");
}

// What other blocks may have written meanwhile: past this SM's own cache.
template <class T>
static __device__ T load_fresh(const T* from) {
    static_assert(sizeof(T) == 16, "one access");
    T value;
    u32* words = (u32*)&value;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "l"(from)
                 : "memory");
    return value;
}
