// Hopper's products of a warpgroup (four warps), on sm_90a and nowhere else. On the processor tests/kernels/wgmma.h takes
// this file's place.
//
// Left sides have 64 rows, right sides 64, 128 or 256 columns; 16 inner values each time. Warp w of the four has rows
// 16 w to 16 w + 15 of what is summed, and of a left side in registers, in the fragments of `mma_bf16` (PTX ISA, "Matrix
// Fragments for wgmma.mma_async.m64nNk16"): d[j] is the one of columns 8j to 8j + 7.
//
// The instructions run on by themselves. Registers they use belong to them from `wgmma_fence` until `wgmma_wait`; what
// copies have written to shared memory is seen by them after `wgmma_sees_copies` of the thread that waited for the copies,
// and a barrier.

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define HAS_WGMMA true
#else
#define HAS_WGMMA false
#endif

// Memory of a block beyond what is declared, where the pattern of 128-byte swizzling begins.
#define SWIZZLED_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]

// Before products whose registers were read or written.
static __device__ void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// Ends a group of products.
static __device__ void wgmma_close() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits for all groups but the last PENDING.
template <int PENDING>
static __device__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

// This thread's copies that have arrived come before products that begin after the next barrier.
static __device__ void wgmma_sees_copies() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Keeps a compiler from moving what is done with sums past this place.
template <u32 FRAGMENTS>
static __device__ void hold(float (&d)[FRAGMENTS][4]) {
    UNROLL for (u32 j = 0; j < FRAGMENTS; j++) {
        asm volatile("" : "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])::"memory");
    }
}

// The same for a left side in registers, which has to be written before the fence that hands it to the products.
template <u32 STEPS>
static __device__ void hold(u32 (&left)[STEPS][1][4]) {
    UNROLL for (u32 step = 0; step < STEPS; step++) {
        u32(&a)[4] = left[step][0];
        asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory");
    }
}

#define WGMMA_1(d, j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define WGMMA_4(d, j) WGMMA_1(d, j), WGMMA_1(d, j + 1), WGMMA_1(d, j + 2), WGMMA_1(d, j + 3)
#define WGMMA_8(d, j) WGMMA_4(d, j), WGMMA_4(d, j + 4)
#define WGMMA_16(d, j) WGMMA_8(d, j), WGMMA_8(d, j + 8)
#define WGMMA_32(d, j) WGMMA_16(d, j), WGMMA_16(d, j + 16)

#define WGMMA_NAMES_8 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_NAMES_16 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_NAMES_32 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// d = a b, or d += a b; both factors lie in shared memory as their descriptors say (`matrix_descriptor`), `a` with
// neighbors along the inner index, `b` along its columns (B_BY_COLUMNS) or along the inner index, too.
template <bool B_BY_COLUMNS>
static __device__ void wgmma(float (&d)[8][4], u64 a, u64 b, u32 accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" WGMMA_NAMES_8 "}, %32, %33, p, 1, 1, 0, %35;\n}\n"
        : WGMMA_8(d, 0)
        : "l"(a), "l"(b), "r"(accumulate), "n"(B_BY_COLUMNS));
}

template <bool B_BY_COLUMNS>
static __device__ void wgmma(float (&d)[16][4], u64 a, u64 b, u32 accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" WGMMA_NAMES_16 "}, %64, %65, p, 1, 1, 0, %67;\n}\n"
        : WGMMA_16(d, 0)
        : "l"(a), "l"(b), "r"(accumulate), "n"(B_BY_COLUMNS));
}

template <bool B_BY_COLUMNS>
static __device__ void wgmma(float (&d)[32][4], u64 a, u64 b, u32 accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" WGMMA_NAMES_32 "}, %128, %129, p, 1, 1, 0, %131;\n}\n"
        : WGMMA_32(d, 0)
        : "l"(a), "l"(b), "r"(accumulate), "n"(B_BY_COLUMNS));
}

// The same with `a` in registers.
template <bool B_BY_COLUMNS>
static __device__ void wgmma(float (&d)[8][4], const u32 (&a)[4], u64 b, u32 accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" WGMMA_NAMES_8 "}, {%32, %33, %34, %35}, %36, p, 1, 1, %38;\n}\n"
        : WGMMA_8(d, 0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(B_BY_COLUMNS));
}
