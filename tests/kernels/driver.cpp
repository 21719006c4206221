// A made-up CUDA: driver, NVRTC and cuBLASLt as far as src/engine/cuda calls them, on plain memory and the shim.
//
// It comes after the kernels' source and golf_run. Kernels run on the processor when they are launched, in order.
// Matrix products follow the library's own conventions (column-major, operations, leading dimensions) and refuse sides
// that do not fit, so that the sides the engine describes are checked.

#include <mutex>

namespace {

const int INVALID = 1, NOT_FOUND = 500, LAUNCH_FAILED = 719;
const char CUBIN[] = "not machine code";
std::mutex one_at_a_time;
int context;
thread_local void* current;

struct Layout {
    uint64_t rows, columns;
    int64_t leading;
    int32_t count = 1;
    int64_t stride = 0;
};
struct Description {
    int32_t operations[2];
};

float at(const float* matrix, const Layout& layout, bool transposed, uint64_t row, uint64_t column) {
    return transposed ? matrix[column + row * layout.leading] : matrix[row + column * layout.leading];
}

bool fits(const Description& description, const Layout& a, const Layout& b, const Layout& out) {
    const bool ta = description.operations[0], tb = description.operations[1];
    return (ta ? a.columns : a.rows) == out.rows && (tb ? b.rows : b.columns) == out.columns &&
           (ta ? a.rows : a.columns) == (tb ? b.columns : b.rows) && a.leading >= (int64_t)a.rows &&
           b.leading >= (int64_t)b.rows && out.leading >= (int64_t)out.rows && a.count == out.count &&
           b.count == out.count && (out.count == 1 || out.stride >= (int64_t)(out.rows * out.columns));
}

}  // namespace

extern "C" {

int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* out) { return *out = 13000, 0; }
int cuDeviceGetCount(int* out) { return *out = 1, 0; }
int cuDeviceGet(int* out, int ordinal) { return *out = ordinal, ordinal == 0 ? 0 : INVALID; }
int cuDeviceGetName(char* out, int bytes, int) { return snprintf(out, bytes, "made-up GPU"), 0; }
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

int cuMemAlloc_v2(uint64_t* out, size_t bytes) {
    IN_CONTEXT;
    void* memory = malloc(bytes);
    memset(memory, 0xFA, bytes);
    *out = (uint64_t)memory;
    return 0;
}
int cuMemFree_v2(uint64_t address) {
    IN_CONTEXT;
    free((void*)address);
    return 0;
}
int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) {
    IN_CONTEXT;
    memcpy((void*)to, from, bytes);
    return 0;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) { return cuMemcpyHtoD_v2(to, from, bytes); }
int cuMemHostAlloc(void** out, size_t bytes, unsigned) { return *out = malloc(bytes), 0; }
int cuMemFreeHost(void* memory) { return free(memory), 0; }
int cuEventCreate(void** out, unsigned) { return *out = (void*)CUBIN, 0; }
int cuEventRecord(void*, void*) { return 0; }
int cuEventSynchronize(void*) { return 0; }
int cuEventDestroy_v2(void*) { return 0; }
int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
    IN_CONTEXT;
    memcpy(to, (void*)from, bytes);
    return 0;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void*) {
    IN_CONTEXT;
    memcpy((void*)to, (void*)from, bytes);
    return 0;
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void*) {
    IN_CONTEXT;
    memset((void*)to, value, bytes);
    return 0;
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
    std::lock_guard<std::mutex> guard(one_at_a_time);
    char message[256] = {};
    const shim::Launch launch = {name, {x, y}, threads, shared_bytes, arguments, nullptr, message, sizeof message};
    if (golf_run(&launch) == 0) return 0;
    fprintf(stderr, "%s\n", message);
    return LAUNCH_FAILED;
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
int cublasLtMatrixLayoutCreate(Layout** out, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    *out = new Layout{rows, columns, leading};
    return type == 0 ? 0 : 7;  // CUDA_R_32F
}
int cublasLtMatrixLayoutSetAttribute(Layout* layout, int attribute, const void* value, size_t bytes) {
    if (attribute == 5 && bytes == 4) return memcpy(&layout->count, value, 4), 0;   // BATCH_COUNT
    if (attribute == 6 && bytes == 8) return memcpy(&layout->stride, value, 8), 0;  // STRIDED_BATCH_OFFSET
    return 7;
}
int cublasLtMatrixLayoutDestroy(Layout* layout) { return delete layout, 0; }
int cublasLtMatmulDescCreate(Description** out, int compute, int scale) {
    *out = new Description();
    return compute == 68 && scale == 0 ? 0 : 7;  // CUBLAS_COMPUTE_32F
}
int cublasLtMatmulDescSetAttribute(Description* description, int attribute, const void* value, size_t bytes) {
    if ((attribute != 3 && attribute != 4) || bytes != 4) return 7;  // TRANSA, TRANSB
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
    if (d->columns % 2 == 1) return 15;
    memset(result, 0, 64 + 8 + 4 + 4 + 16);
    *count = 1;
    return c == d && fits(*description, *a, *b, *d) ? 0 : 7;
}
int cublasLtMatmul(void*, Description* description, const float* alpha, const float* a, Layout* a_layout, const float* b,
                   Layout* b_layout, const float* beta, const float*, Layout*, float* out, Layout* layout, const void*,
                   void* workspace, size_t, void*) {
    IN_CONTEXT;
    if (!workspace || !fits(*description, *a_layout, *b_layout, *layout)) return 7;
    const bool ta = description->operations[0], tb = description->operations[1];
    const uint64_t depth = ta ? a_layout->rows : a_layout->columns;
    for (int32_t matrix = 0; matrix < layout->count; matrix++) {
        const float *left = a + matrix * a_layout->stride, *right = b + matrix * b_layout->stride;
        for (uint64_t column = 0; column < layout->columns; column++) {
            for (uint64_t row = 0; row < layout->rows; row++) {
                float sum = 0.0f;
                for (uint64_t i = 0; i < depth; i++) {
                    sum += at(left, *a_layout, ta, row, i) * at(right, *b_layout, tb, i, column);
                }
                float* place = out + matrix * layout->stride + row + column * layout->leading;
                *place = *alpha * sum + (*beta == 0.0f ? 0.0f : *beta * *place);
            }
        }
    }
    return 0;
}

}  // extern "C"
