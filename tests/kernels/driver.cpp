// A fake CUDA: driver, NVRTC and cuBLASLt as far as src/engine/cuda calls them, on plain memory and the shim.
//
// It comes after shim.h and common.cu; golf_run and golf_arguments are those of the library with the kernels. What is
// launched runs on the processor at once, or is recorded while its thread says so. Each thread is taken to have one
// stream that it launches on.
// Matrix products follow the library's own conventions (column-major, operations, leading dimensions) and refuse sides
// that do not fit, so that the sides the engine describes are checked.

#include <functional>
#include <mutex>
#include <vector>

namespace {

const int INVALID = 1, NOT_FOUND = 500, LAUNCH_FAILED = 719;
const char CUBIN[] = "not machine code";
std::mutex one_at_a_time;
int context;
thread_local void* current;
// Of the stream this thread launches on: how much was launched, whether it waits for what never comes (nccl.cpp), and
// where work is put while it is recorded.
thread_local uint64_t launched;
thread_local bool stands_still;
struct Graph {
    std::vector<std::function<int()>> work;
};
thread_local Graph* recording;

int queue(std::function<int()> work) {
    launched++;
    if (recording) return recording->work.push_back(work), 0;
    return stands_still ? 0 : work();
}

const int SINGLE = 0, NARROW = 14;                // CUDA_R_32F, CUDA_R_16BF
const int INVALID_VALUE = 7, NOT_SUPPORTED = 15;  // of cublasStatus_t

struct Layout {
    int type;
    uint64_t rows, columns;
    int64_t leading;
    int32_t count = 1;
    int64_t stride = 0;
};
struct Description {
    int32_t operations[2];
};

float value(const void* matrix, const Layout& layout, uint64_t at) {
    return layout.type == SINGLE ? static_cast<const float*>(matrix)[at] : get(static_cast<const bf16*>(matrix)[at]);
}

float at(const void* matrix, const Layout& layout, uint64_t start, bool transposed, uint64_t row, uint64_t column) {
    return value(matrix, layout, start + (transposed ? column + row * layout.leading : row + column * layout.leading));
}

// What one of the addends or the result must be.
bool is_as(const Layout& layout, const Layout& out) {
    return layout.rows == out.rows && layout.columns == out.columns && layout.leading >= (int64_t)out.rows &&
           layout.count == out.count;
}

bool fits(const Description& description, const Layout& a, const Layout& b, const Layout& c, const Layout& out) {
    const bool ta = description.operations[0], tb = description.operations[1];
    return (ta ? a.columns : a.rows) == out.rows && (tb ? b.rows : b.columns) == out.columns &&
           (ta ? a.rows : a.columns) == (tb ? b.columns : b.rows) && a.leading >= (int64_t)a.rows &&
           b.leading >= (int64_t)b.rows && is_as(c, out) && is_as(out, out) && a.count == out.count &&
           b.count == out.count && (out.count == 1 || out.stride >= (int64_t)(out.rows * out.columns));
}

// The library's table for sums and factors in single precision, as far as it is needed here. Saying no is no error to
// the engine, which then uses its own kernel, so it is also written down.
bool are_known(const Layout& a, const Layout& b, const Layout& c, const Layout& out) {
    const bool known = a.type == b.type && c.type == out.type && (a.type == NARROW || out.type == SINGLE);
    if (!known) fprintf(stderr, "no product of types %d, %d, %d to %d\n", a.type, b.type, c.type, out.type);
    return known;
}

}  // namespace

extern "C" {

int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* out) { return *out = 13000, 0; }
int cuDeviceGetCount(int* out) { return *out = 1, 0; }
int cuDeviceGet(int* out, int ordinal) { return *out = ordinal, ordinal == 0 ? 0 : INVALID; }
int cuDeviceGetName(char* out, int bytes, int) { return snprintf(out, bytes, "fake GPU"), 0; }
int cuDeviceTotalMem_v2(size_t* out, int) { return *out = 1 << 30, 0; }
int cuDeviceGetAttribute(int* out, int which, int) { return *out = which == 75 ? 9 : 0, 0; }
int cuDevicePrimaryCtxRetain(void** out, int) { return *out = &context, 0; }
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxSetCurrent(void* to) { return current = to, 0; }
int cuCtxGetCurrent(void** out) { return *out = current, 0; }
int cuGetErrorName(int, const char** out) { return *out = "CUDA_ERROR", 0; }
int cuGetErrorString(int, const char** out) { return *out = "an error", 0; }

// As the driver does, everything below wants a context on the calling thread.
#define IN_CONTEXT if (current != &context) return 201
// What waits for something that never ends waits for ever.
#define WAITING IN_CONTEXT; launched++; if (stands_still) fprintf(stderr, "this waits for ever\n"), abort()

int cuMemAlloc_v2(uint64_t* out, size_t bytes) {
    IN_CONTEXT;
    void* memory = malloc(bytes);
    memset(memory, 0xFA, bytes);
    *out = (uint64_t)memory;
    return 0;
}
int cuMemFree_v2(uint64_t address) {
    WAITING;
    free((void*)address);
    return 0;
}
int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) {
    WAITING;
    memcpy((void*)to, from, bytes);
    return 0;
}
// Copies from and to the host cannot be recorded here.
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) {
    IN_CONTEXT;
    return recording ? INVALID : queue([=] { return memcpy((void*)to, from, bytes), 0; });
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void*) {
    IN_CONTEXT;
    return recording ? INVALID : queue([=] { return memcpy(to, (void*)from, bytes), 0; });
}
int cuStreamSynchronize(void*) {
    WAITING;
    return 0;
}
int cuMemHostAlloc(void** out, size_t bytes, unsigned) { return *out = malloc(bytes), 0; }
int cuMemFreeHost(void* memory) { return free(memory), 0; }
int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
    WAITING;
    memcpy(to, (void*)from, bytes);
    return 0;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void*) {
    IN_CONTEXT;
    return queue([=] { return memcpy((void*)to, (void*)from, bytes), 0; });
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void*) {
    IN_CONTEXT;
    return queue([=] { return memset((void*)to, value, bytes), 0; });
}

int cuModuleLoadData(void** out, const void* image) {
    IN_CONTEXT;
    *out = (void*)CUBIN;
    return memcmp(image, CUBIN, sizeof CUBIN) == 0 ? 0 : INVALID;
}
int cuModuleUnload(void*) { return 0; }
int cuModuleGetFunction(const char** out, void*, const char* name) {
    for (const char* known : KERNEL_NAMES) {
        if (strcmp(known, name) == 0) return *out = known, 0;
    }
    return NOT_FOUND;
}
int cuFuncSetAttribute(const char*, int attribute, int) { return attribute == 8 ? 0 : INVALID; }  // MAX_DYNAMIC_SHARED
int cuLaunchKernel(const char* name, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned ty, unsigned tz,
                   unsigned shared_bytes, void*, void** arguments, void**) {
    IN_CONTEXT;
    if (z != 1 || ty != 1 || tz != 1) return INVALID;
    // As the driver does, it keeps the arguments: each is at most a word of eight bytes.
    std::vector<uint64_t> held(golf_arguments(name));
    for (size_t i = 0; i < held.size(); i++) memcpy(&held[i], arguments[i], sizeof held[i]);
    return queue([=]() mutable {
        std::lock_guard<std::mutex> guard(one_at_a_time);
        std::vector<void*> places;
        for (uint64_t& argument : held) places.push_back(&argument);
        char message[256] = {};
        const shim::Launch launch = {name, {x, y}, threads, shared_bytes, places.data(), nullptr, message, sizeof message};
        if (golf_run(&launch) == 0) return 0;
        fprintf(stderr, "%s\n", message);
        return LAUNCH_FAILED;
    });
}

int cuStreamBeginCapture_v2(void*, int) { return recording ? INVALID : (recording = new Graph(), 0); }
int cuStreamEndCapture(void*, Graph** out) {
    *out = recording;
    recording = nullptr;
    return *out ? 0 : INVALID;
}
int cuGraphInstantiateWithFlags(Graph** out, Graph* graph, unsigned long long) { return *out = new Graph(*graph), 0; }
int cuGraphDestroy(Graph* graph) { return delete graph, 0; }
int cuGraphExecDestroy(Graph* graph) { return delete graph, 0; }
int cuGraphLaunch(Graph* graph, void*) {
    IN_CONTEXT;
    for (auto& work : graph->work) {
        if (int wrong = queue(work)) return wrong;
    }
    return 0;
}

int nvrtcVersion(int* major, int* minor) { return *major = 13, *minor = 0, 0; }
int nvrtcCreateProgram(void** out, const char*, const char*, int, const char**, const char**) {
    return *out = (void*)CUBIN, 0;
}
int nvrtcCompileProgram(void*, int, const char**) { return 0; }
int nvrtcDestroyProgram(void**) { return 0; }
int nvrtcGetCUBINSize(void*, size_t* out) { return *out = sizeof CUBIN, 0; }
int nvrtcGetCUBIN(void*, char* out) { return memcpy(out, CUBIN, sizeof CUBIN), 0; }

int cublasLtCreate(void** out) { return *out = (void*)CUBIN, 0; }
int cublasLtDestroy(void*) { return 0; }
size_t cublasLtGetVersion() { return 130000; }
// An attribute's number and 100, but nothing is split.
int cublasLtMatmulAlgoConfigGetAttribute(const void*, int attribute, void* value, size_t bytes, size_t* written) {
    const uint32_t said = attribute == 2 ? 1 : attribute == 3 ? 0 : 100 + attribute;
    *written = attribute >= 7 ? 2 : 4;
    return bytes >= *written ? memcpy(value, &said, *written), 0 : INVALID_VALUE;
}
int cublasLtMatrixLayoutCreate(Layout** out, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    *out = new Layout{type, rows, columns, leading};
    return type == SINGLE || type == NARROW ? 0 : INVALID_VALUE;
}
int cublasLtMatrixLayoutSetAttribute(Layout* layout, int attribute, const void* value, size_t bytes) {
    if (attribute == 5 && bytes == 4) return memcpy(&layout->count, value, 4), 0;   // BATCH_COUNT
    if (attribute == 6 && bytes == 8) return memcpy(&layout->stride, value, 8), 0;  // STRIDED_BATCH_OFFSET
    return INVALID_VALUE;
}
int cublasLtMatrixLayoutDestroy(Layout* layout) { return delete layout, 0; }
int cublasLtMatmulDescCreate(Description** out, int compute, int scale) {
    *out = new Description();
    return compute == 68 && scale == SINGLE ? 0 : INVALID_VALUE;  // CUBLAS_COMPUTE_32F
}
int cublasLtMatmulDescSetAttribute(Description* description, int attribute, const void* value, size_t bytes) {
    if ((attribute != 3 && attribute != 4) || bytes != 4) return INVALID_VALUE;  // TRANSA, TRANSB
    memcpy(&description->operations[attribute - 3], value, 4);
    return 0;
}
int cublasLtMatmulDescDestroy(Description* description) { return delete description, 0; }
int cublasLtMatmulPreferenceCreate(void** out) { return *out = (void*)CUBIN, 0; }
int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, size_t) { return 0; }
int cublasLtMatmulPreferenceDestroy(void*) { return 0; }
int cublasLtMatmulAlgoGetHeuristic(void*, Description* description, Layout* a, Layout* b, Layout* c, Layout* d, void*,
                                   int, void* result, int* count) {
    // An odd number of rows has no algorithm here, so that the engine's own product is used too.
    if (d->columns % 2 == 1 || !are_known(*a, *b, *c, *d)) return NOT_SUPPORTED;
    memset(result, 0, 64 + 8 + 4 + 4 + 16);
    *count = 1;
    return fits(*description, *a, *b, *c, *d) ? 0 : INVALID_VALUE;
}
// out = alpha a b + beta c. `c` may be `out` itself, and is not read where beta is 0.
int cublasLtMatmul(void*, Description* description, const float* alpha, const void* a, Layout* a_layout, const void* b,
                   Layout* b_layout, const float* beta, const void* c, Layout* c_layout, void* out, Layout* layout,
                   const void*, void* workspace, size_t, void*) {
    IN_CONTEXT;
    if (!are_known(*a_layout, *b_layout, *c_layout, *layout)) return NOT_SUPPORTED;
    if (!workspace || !fits(*description, *a_layout, *b_layout, *c_layout, *layout)) return INVALID_VALUE;
    const bool in_place = c_layout->leading == layout->leading && c_layout->stride == layout->stride;
    if (*beta != 0.0f && (!c || (c == out && !in_place))) return INVALID_VALUE;
    const bool ta = description->operations[0], tb = description->operations[1];
    const Layout left = *a_layout, right = *b_layout, more = *c_layout, made = *layout;
    const float factor = *alpha, kept = *beta;
    return queue([=] {
        const uint64_t depth = ta ? left.rows : left.columns;
        for (int32_t matrix = 0; matrix < made.count; matrix++) {
            for (uint64_t column = 0; column < made.columns; column++) {
                for (uint64_t row = 0; row < made.rows; row++) {
                    float sum = 0.0f;
                    for (uint64_t i = 0; i < depth; i++) {
                        sum += at(a, left, matrix * left.stride, ta, row, i) *
                               at(b, right, matrix * right.stride, tb, i, column);
                    }
                    sum *= factor;
                    if (kept != 0.0f) sum += kept * at(c, more, matrix * more.stride, false, row, column);
                    const uint64_t place = matrix * made.stride + row + column * made.leading;
                    if (made.type == SINGLE) {
                        put(static_cast<float*>(out) + place, sum);
                    } else {
                        put(static_cast<bf16*>(out) + place, sum);
                    }
                }
            }
        }
        return 0;
    });
}

}  // extern "C"
