// CUDA C++ on the processor, enough of it for the kernels in src/engine/cuda/kernels.
//
// A block's threads are fibers of one thread of the system. A fiber runs until it ends or waits at a barrier; when all
// have, the ones whose barrier is complete go on. A barrier that can never be complete (some threads of the block or
// warp have ended, or wait elsewhere) stops the launch with a message: on a GPU that is undefined behavior.
// Blocks run one after another, or several at a time where a launch asks for that: then another one may go on at every
// barrier of all of a block's threads, and while one waits for its turn. Of races only those show that an order of warps or
// of such blocks brings out (`release`). Tensor-core instructions and copies ahead are in tensor.h, those of Hopper's
// warpgroups in wgmma.h.

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

const unsigned LANES = 32, QUAD = 4, MOST_THREADS = 1024;
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

enum class State { New, Ready, AtBlock, AtWarp, AtTurn, Ended };

struct Fiber {
    SharedAddress place;
    unsigned thread;
    bool idle;
};

static std::function<void()> body;
static SharedAddress scheduler;
static std::vector<Fiber*> fibers;
static Fiber* running;
static unsigned threads;
// Two sets of exchanged values: a lane may write the next while another still reads the last. Blocks share them: no block
// stops for another in the middle of an exchange.
static uint64_t exchanged[2][MOST_THREADS];
// A block's memory beyond what kernels declare, as large as the largest device's.
const size_t DYNAMIC_BYTES = 227 << 10;

// A copy of 16 bytes to shared memory that has been asked for; of zeros where `from` is null.
struct Copy {
    void* to;
    const void* from;
};
// One product of a thread's warpgroup, begun and not made.
struct Product {
    float (*d)[4];
    unsigned fragments;
    bool is_fenced, accumulates, b_by_columns;
    uint64_t a, b;
    // Left sides in registers: those of the quad that has this thread's rows; null where `a` is a descriptor.
    const uint32_t* left[QUAD];
};
// What a thread knows of its warpgroup's products.
struct Warpgroup {
    // Groups of products; the last is not closed yet.
    std::vector<std::vector<Product>> groups;
    bool is_fenced;
};
// A block that has begun.
struct Block {
    Dimensions index;
    State states[MOST_THREADS];
    Fiber* owners[MOST_THREADS];
    // Threads begun, and how many may be.
    unsigned started, begun_to;
    // Whether the first warp that can go does, or the last.
    bool first_goes;
    unsigned char turns[MOST_THREADS];
    // Each thread's groups of copies that have not been waited for.
    std::vector<std::vector<Copy>> copies[MOST_THREADS];
    // Chunks of 16 bytes of `dynamic` that copies have filled and warpgroups' products do not see yet, and those of them
    // that each thread has filled.
    bool unseen[DYNAMIC_BYTES / 16], has_unseen;
    std::vector<uint32_t> arrived[MOST_THREADS];
    Warpgroup warpgroups[MOST_THREADS];
    // What the threads wait for that are at a turn.
    const unsigned* counters[MOST_THREADS];
    unsigned awaited[MOST_THREADS];
    // Whether it could do nothing since any other did something.
    bool waits;
    alignas(1024) unsigned char dynamic[DYNAMIC_BYTES];
};
// The one whose threads run.
static Block* block;

static void to_scheduler() {
    go_to(running->place, scheduler);
}

// Runs one thread of the block after another as long as none of them waits.
static void work() {
    for (;;) {
        while (block->started < block->begun_to) {
            const unsigned warp = block->started / LANES, lane = block->started % LANES;
            running->thread = (block->first_goes ? warp : threads / LANES - 1 - warp) * LANES + lane;
            block->started++;
            block->owners[running->thread] = running;
            threadIdx = {running->thread, 0, 0};
            body();
            block->states[running->thread] = State::Ended;
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
    block->states[running->thread] = state;
    to_scheduler();
}

// Waits until a counter in memory has a value.
static void wait_for(const unsigned* counter, unsigned value) {
    if (*counter == value) return;
    block->counters[running->thread] = counter;
    block->awaited[running->thread] = value;
    wait_as(State::AtTurn);
}

// Lets go whoever's barrier is complete; false if nobody is.
//
// Of the warps that could go on only one does, as far as it can, and the next begins when none can: each meets what the
// others have not done yet, where no barrier keeps it from that. In one block the first warps go first, in the next the
// last ones.
static bool release() {
    State* const states = block->states;
    unsigned at_block = 0, at_turn = 0;
    const unsigned warps = threads / LANES;
    for (unsigned turn = 0; turn < warps; turn++) {
        const unsigned warp = (block->first_goes ? turn : warps - 1 - turn) * LANES;
        unsigned at_warp = 0;
        for (unsigned i = warp; i < warp + LANES; i++) {
            at_warp += states[i] == State::AtWarp;
            at_block += states[i] == State::AtBlock;
            if (states[i] != State::AtTurn || *block->counters[i] != block->awaited[i]) continue;
            states[i] = State::Ready;
            at_turn++;
        }
        if (at_warp < LANES) continue;
        for (unsigned i = warp; i < warp + LANES; i++) states[i] = State::Ready;
        return true;
    }
    if (at_turn > 0) return true;
    return false;
}

// Whether all threads are at the block's barrier; each warp then goes on by itself.
static bool pass_barrier() {
    for (unsigned i = 0; i < threads; i++) {
        if (block->states[i] != State::AtBlock) return false;
    }
    for (unsigned i = 0; i < threads; i++) block->states[i] = State::AtWarp;
    return true;
}

static void begin_block(unsigned x, unsigned y, unsigned shared_bytes) {
    static bool last_first_goes;
    block->index = {x, y, 0};
    block->started = block->begun_to = 0;
    block->first_goes = last_first_goes = !last_first_goes;
    block->waits = false;
    for (unsigned i = 0; i < threads; i++) {
        block->states[i] = State::New;
        block->turns[i] = 0;
        auto& copies = block->copies[i];
        if (copies.size() != 1 || !copies[0].empty()) copies.assign(1, {});
        auto& [groups, is_fenced] = block->warpgroups[i];
        if (groups.size() != 1 || !groups[0].empty()) groups.assign(1, {});
        is_fenced = false;
    }
    if (block->has_unseen) {
        memset(block->unseen, 0, sizeof block->unseen);
        for (auto& chunks : block->arrived) chunks.clear();
        block->has_unseen = false;
    }
    memset(block->dynamic, 0xFA, shared_bytes);
}

enum class Stop { Ended, AtBarrier, AtTurn, Divergent };

// Runs the block until it has ended, all its threads are at a barrier, or none can go on.
static Stop advance() {
    blockIdx = block->index;
    for (;;) {
        if (release()) {
            for (unsigned i = 0; i < threads; i++) {
                if (block->states[i] == State::Ready) resume(block->owners[i]);
            }
            continue;
        }
        if (pass_barrier()) return Stop::AtBarrier;
        if (block->begun_to < threads) {
            block->begun_to += LANES;
            while (block->started < block->begun_to) resume(idle_fiber());
            continue;
        }
        bool ended = true, at_turn = false;
        for (unsigned i = 0; i < threads; i++) {
            ended = ended && block->states[i] == State::Ended;
            at_turn = at_turn || block->states[i] == State::AtTurn;
        }
        return ended ? Stop::Ended : at_turn ? Stop::AtTurn : Stop::Divergent;
    }
}

// Runs all blocks of a grid, `at_once` of them at a time; what is wrong, or null. Blocks begin in the grid's order; which
// goes on is drawn with `seed`.
static const char* run_blocks(unsigned columns, unsigned rows, unsigned shared_bytes, unsigned at_once, uint32_t seed) {
    static std::vector<Block*> blocks;
    std::vector<Block*> idle, begun;
    while (blocks.size() < at_once) blocks.push_back(new Block());
    idle.assign(blocks.begin(), blocks.begin() + at_once);
    const uint64_t count = uint64_t{columns} * rows;
    for (uint64_t next = 0; next < count || !begun.empty();) {
        while (next < count && !idle.empty()) {
            block = idle.back();
            idle.pop_back();
            begin_block(next % columns, next / columns, shared_bytes);
            begun.push_back(block);
            next++;
        }
        // Numerical Recipes' generator; its upper bits.
        seed = seed * 1664525u + 1013904223u;
        const size_t chosen = (seed >> 16) % begun.size();
        block = begun[chosen];
        const Stop stop = advance();
        if (stop == Stop::AtTurn) {
            block->waits = true;
            bool all_wait = true;
            for (const Block* other : begun) all_wait = all_wait && other->waits;
            if (!all_wait) continue;
        }
        if (stop == Stop::Divergent || stop == Stop::AtTurn) {
            // The fibers that wait stay behind; nothing runs them again.
            fibers.clear();
            return stop == Stop::AtTurn
                       ? "every block that has begun waits for its turn"
                       : "divergent barrier: some threads wait for others that ended or wait elsewhere";
        }
        for (Block* other : begun) other->waits = false;
        if (stop == Stop::Ended) {
            begun.erase(begun.begin() + chosen);
            idle.push_back(block);
        }
    }
    return nullptr;
}

template <class T>
static T exchange(T value, unsigned partner) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles of 32-bit and 64-bit values only");
    const unsigned thread = running->thread, turn = block->turns[thread] ^= 1;
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
    // Blocks at a time, where more than one, and the seed of their order. Only for kernels without `__shared__` memory.
    unsigned at_once, seed;
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
    const unsigned at_once = launch.at_once > 1 ? launch.at_once : 1;
    if (const char* wrong = run_blocks(launch.grid[0], launch.grid[1], launch.shared_bytes, at_once, launch.seed)) {
        snprintf(launch.message, launch.message_bytes, "%s, block %u %u: %s", launch.name, blockIdx.x, blockIdx.y,
                 wrong);
        return 1;
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
