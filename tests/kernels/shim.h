// CUDA C++ on the processor, enough of it for the kernels in src/engine/cuda/kernels.
//
// A block's threads are fibers of one thread of the system. A fiber runs until it ends or waits at a barrier; when all
// have, the ones whose barrier is complete go on. A barrier that can never be complete (some threads of the block or
// warp have ended, or wait elsewhere) stops the launch with a message: on a GPU that is undefined behavior.
// Blocks run one after another. Of races only those show that an order of warps brings out (`release`). Tensor-core
// instructions and copies ahead are in tensor.h, those of Hopper's warpgroups in wgmma.h.

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <functional>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __shared__ static
#define __align__(bytes) alignas(bytes)

struct Dimensions {
    unsigned x, y, z;
};
static Dimensions gridDim, blockDim, blockIdx, threadIdx;

namespace shim {

const unsigned LANES = 32, MOST_THREADS = 1024;
const size_t STACK_BYTES = 64 << 10;

// Where a stack stands while another is used.
#ifdef __x86_64__
struct SharedAddress {
    void* stack;
};
// swapcontext would ask the system to save the signal mask each time. This keeps what a call must keep.
extern "C" __attribute__((visibility("hidden"))) void shim_go_to(SharedAddress* from, const SharedAddress* to);
asm(R"(
    .text
    .hidden shim_go_to
    .globl shim_go_to
shim_go_to:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq (%rsi), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
static void go_to(SharedAddress& from, const SharedAddress& to) {
    shim_go_to(&from, &to);
}
#else
using SharedAddress = ucontext_t;
static void go_to(SharedAddress& from, const SharedAddress& to) {
    swapcontext(&from, &to);
}
#endif

// A stack on which `work`, which never returns, begins.
static void begin(SharedAddress& place, void (*work)()) {
    void* stack = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#ifdef __x86_64__
    // Six registers, where to go, and no place to return to: aligned as after a call.
    void** top = reinterpret_cast<void**>(static_cast<char*>(stack) + STACK_BYTES) - 8;
    top[6] = reinterpret_cast<void*>(work);
    place.stack = top;
#else
    getcontext(&place);
    place.uc_stack = {stack, 0, STACK_BYTES};
    makecontext(&place, work, 0);
#endif
}

enum class State { New, Ready, AtBlock, AtWarp, Ended };

struct Fiber {
    SharedAddress place;
    unsigned thread;
    bool idle;
};

static std::function<void()> body;
static SharedAddress scheduler;
static std::vector<Fiber*> fibers;
static Fiber* running;
static State states[MOST_THREADS];
static Fiber* owners[MOST_THREADS];
// Threads begun, and how many may be.
static unsigned started, begun_to, threads;
// Whether the first warp that can go does, or the last.
static bool first_goes;
// Two sets of exchanged values: a lane may write the next while another still reads the last.
static uint64_t exchanged[2][MOST_THREADS];
static unsigned char turns[MOST_THREADS];
// A block's memory beyond what kernels declare, as large as the largest device's.
const size_t DYNAMIC_BYTES = 227 << 10;
alignas(1024) static unsigned char dynamic[DYNAMIC_BYTES];

// A copy of 16 bytes to shared memory that has been asked for; of zeros where `from` is null.
struct Copy {
    void* to;
    const void* from;
};
// Each thread's groups of copies that have not been waited for.
static std::vector<std::vector<Copy>> copies[MOST_THREADS];
// Chunks of 16 bytes of `dynamic` that copies have filled and warpgroups' products do not see yet, and those of them that
// each thread has filled.
static bool unseen[DYNAMIC_BYTES / 16], has_unseen;
static std::vector<uint32_t> arrived[MOST_THREADS];

// What wgmma.h does before a block begins.
static void begin_warpgroups();

static void to_scheduler() {
    go_to(running->place, scheduler);
}

// Runs one thread of the block after another as long as none of them waits.
static void work() {
    for (;;) {
        while (started < begun_to) {
            const unsigned warp = started / LANES, lane = started % LANES;
            running->thread = (first_goes ? warp : threads / LANES - 1 - warp) * LANES + lane;
            started++;
            owners[running->thread] = running;
            threadIdx = {running->thread, 0, 0};
            body();
            states[running->thread] = State::Ended;
        }
        running->idle = true;
        to_scheduler();
    }
}

static void resume(Fiber* fiber) {
    running = fiber;
    fiber->idle = false;
    threadIdx = {fiber->thread, 0, 0};
    go_to(scheduler, fiber->place);
}

static Fiber* idle_fiber() {
    for (Fiber* fiber : fibers) {
        if (fiber->idle) return fiber;
    }
    Fiber* fiber = new Fiber();
    begin(fiber->place, work);
    fibers.push_back(fiber);
    return fiber;
}

static void wait_as(State state) {
    states[running->thread] = state;
    to_scheduler();
}

// Lets go whoever's barrier is complete; false if nobody is.
//
// Of the warps that could go on only one does, as far as it can, and the next begins when none can: each meets what the
// others have not done yet, where no barrier keeps it from that. In one block the first warps go first, in the next the
// last ones.
static bool release() {
    unsigned at_block = 0;
    const unsigned warps = threads / LANES;
    for (unsigned turn = 0; turn < warps; turn++) {
        const unsigned warp = (first_goes ? turn : warps - 1 - turn) * LANES;
        unsigned at_warp = 0;
        for (unsigned i = warp; i < warp + LANES; i++) {
            at_warp += states[i] == State::AtWarp;
            at_block += states[i] == State::AtBlock;
        }
        if (at_warp < LANES) continue;
        for (unsigned i = warp; i < warp + LANES; i++) states[i] = State::Ready;
        return true;
    }
    if (at_block < threads) return false;
    // Each warp goes on by itself.
    for (unsigned i = 0; i < threads; i++) states[i] = State::AtWarp;
    return release();
}

// Runs one block; what is wrong, or null.
static const char* run_block() {
    started = begun_to = 0;
    first_goes = !first_goes;
    for (unsigned i = 0; i < threads; i++) {
        states[i] = State::New;
        turns[i] = 0;
        if (copies[i].size() != 1 || !copies[i][0].empty()) copies[i].assign(1, {});
    }
    if (has_unseen) {
        memset(unseen, 0, sizeof unseen);
        for (auto& chunks : arrived) chunks.clear();
        has_unseen = false;
    }
    begin_warpgroups();
    for (;;) {
        if (release()) {
            for (unsigned i = 0; i < threads; i++) {
                if (states[i] == State::Ready) resume(owners[i]);
            }
            continue;
        }
        if (begun_to < threads) {
            begun_to += LANES;
            while (started < begun_to) resume(idle_fiber());
            continue;
        }
        bool ended = true;
        for (unsigned i = 0; i < threads; i++) ended = ended && states[i] == State::Ended;
        if (ended) return nullptr;
        // The fibers that wait stay behind; nothing runs them again.
        fibers.clear();
        return "divergent barrier: some threads wait for others that ended or wait elsewhere";
    }
}

template <class T>
static T exchange(T value, unsigned partner) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles of 32-bit and 64-bit values only");
    const unsigned thread = running->thread, turn = turns[thread] ^= 1;
    memcpy(&exchanged[turn][thread], &value, sizeof(T));
    wait_as(State::AtWarp);
    memcpy(&value, &exchanged[turn][thread / LANES * LANES + partner], sizeof(T));
    return value;
}

template <class T>
struct Kind;
template <class T>
struct Kind<T*> {
    static const char letter = 'a';
};
template <>
struct Kind<unsigned> {
    static const char letter = 'u';
};
template <>
struct Kind<unsigned long long> {
    static const char letter = 'l';
};
template <>
struct Kind<float> {
    static const char letter = 'f';
};
template <>
struct Kind<double> {
    static const char letter = 'd';
};

struct Launch {
    const char* name;
    unsigned grid[2], threads, shared_bytes;
    void** arguments;
    // One letter an argument: address, u32, u64 (long), float, double; null where nobody knows.
    const char* kinds;
    char* message;
    size_t message_bytes;
};

template <class... A, size_t... I>
static int run(void (*kernel)(A...), const Launch& launch, std::index_sequence<I...>) {
    const char expected[] = {Kind<A>::letter..., 0};
    if (launch.kinds && strcmp(expected, launch.kinds) != 0) {
        snprintf(launch.message, launch.message_bytes, "%s takes %s and was given %s", launch.name, expected,
                 launch.kinds);
        return 1;
    }
    if (launch.threads == 0 || launch.threads > MOST_THREADS || launch.threads % LANES != 0) {
        snprintf(launch.message, launch.message_bytes, "%s: %u threads are no whole warps", launch.name,
                 launch.threads);
        return 1;
    }
    if (launch.grid[0] == 0 || launch.grid[1] == 0 || launch.grid[0] > 0x7fffffff || launch.grid[1] > 65535) {
        snprintf(launch.message, launch.message_bytes, "%s: no grid of %u x %u", launch.name, launch.grid[0],
                 launch.grid[1]);
        return 1;
    }
    if (launch.shared_bytes > DYNAMIC_BYTES) {
        snprintf(launch.message, launch.message_bytes, "%s: no block has %u bytes of shared memory", launch.name,
                 launch.shared_bytes);
        return 1;
    }
    body = [&] { kernel(*static_cast<A*>(launch.arguments[I])...); };
    threads = launch.threads;
    gridDim = {launch.grid[0], launch.grid[1], 1};
    blockDim = {threads, 1, 1};
    for (unsigned y = 0; y < launch.grid[1]; y++) {
        for (unsigned x = 0; x < launch.grid[0]; x++) {
            blockIdx = {x, y, 0};
            memset(dynamic, 0xFA, launch.shared_bytes);
            if (const char* wrong = run_block()) {
                snprintf(launch.message, launch.message_bytes, "%s, block %u %u: %s", launch.name, x, y, wrong);
                return 1;
            }
        }
    }
    return 0;
}

template <class... A>
static int run(void (*kernel)(A...), const Launch& launch) {
    return run(kernel, launch, std::index_sequence_for<A...>());
}

template <class... A>
static unsigned arguments(void (*)(A...)) {
    return sizeof...(A);
}

}  // namespace shim

static inline void __syncthreads() {
    shim::wait_as(shim::State::AtBlock);
}
static inline void __syncwarp(unsigned = 0xffffffffu) {
    shim::wait_as(shim::State::AtWarp);
}
template <class T>
static T __shfl_xor_sync(unsigned, T value, unsigned distance) {
    return shim::exchange(value, threadIdx.x % shim::LANES ^ distance);
}
static inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    return bits;
}
static inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

#include "tensor.h"
#include "wgmma.h"
