// A stand-in for NVIDIA's driver and for NVRTC, which runs kernels on the processor. It holds its
// caller to the rules that a real one has: a context is current, memory is allocated, nothing is
// asked of a stream that is being recorded which cannot be recorded. A stream's work is done as late
// as it may be, when something waits for it, so that whoever does not wait long enough is found out.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <map>
#include <regex>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, NOT_FOUND = 500, UNCORRECTABLE = 214, ILLEGAL_ADDRESS = 700, UNRECORDABLE = 900 };

using Work = std::function<void()>;
using Run = void (*)(void *const *, const unsigned *, unsigned);

struct Stream {
    std::vector<Work> queue;
    bool recording = false;
    std::vector<Work> recorded;
};
struct Event {
    Stream *stream = nullptr;
    size_t after = 0;
};
struct Function {
    Run run;
    int arguments;
    unsigned shared;
};

char the_context;
thread_local void *current = nullptr;
int retained = 0;
std::map<uint64_t, size_t> memory;
std::vector<Stream *> streams;
uint64_t done = 0;

bool ready() { return current == &the_context && retained > 0; }

bool allocated(uint64_t at, size_t bytes) {
    auto next = memory.upper_bound(at);
    if (next == memory.begin()) return false;
    auto block = std::prev(next);
    return at + bytes <= block->first + block->second;
}

void finish(Stream *stream) {
    std::vector<Work> work;
    std::swap(work, stream->queue);
    for (auto &w : work) w();
}

void finish_all() {
    for (Stream *stream : streams) finish(stream);
}

int submit(void *stream, Work work) {
    auto *s = (Stream *)stream;
    (s->recording ? s->recorded : s->queue).push_back(std::move(work));
    return OK;
}

bool recording() {
    for (Stream *stream : streams)
        if (stream->recording) return true;
    return false;
}

}  // namespace

#define API extern "C" __attribute__((visibility("default"))) int
#define NEED(condition, status) \
    if (!(condition)) return status;

API cuInit(unsigned) { return OK; }
API cuDeviceGetCount(int *count) { return *count = 1, OK; }
API cuDeviceGet(int *device, int ordinal) {
    NEED(ordinal == 0, INVALID_VALUE)
    return *device = 0, OK;
}
API cuDeviceGetName(char *name, int len, int) { return snprintf(name, len, "stand-in"), OK; }
API cuDeviceGetAttribute(int *value, int attribute, int) {
    // Capability 9.0, three multiprocessors.
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 16 ? 3 : -1;
    return OK;
}
API cuGetErrorString(int status, const char **text) {
    static thread_local std::string last;
    last = "status " + std::to_string(status);
    return *text = last.c_str(), OK;
}
API cuDevicePrimaryCtxRetain(void **context, int) { return ++retained, *context = &the_context, OK; }
API cuDevicePrimaryCtxRelease_v2(int) {
    if (--retained == 0 && !memory.empty()) {
        fprintf(stderr, "%zu allocations were never freed\n", memory.size());
        abort();
    }
    return OK;
}
API cuCtxSetCurrent(void *context) { return current = context, OK; }

// Bytes of the device's memory, of which `STAND_IN_BYTES` may leave less.
static size_t capacity() {
    const char *bytes = getenv("STAND_IN_BYTES");
    return bytes ? strtoull(bytes, 0, 10) : 1 << 30;
}
static size_t left_over() {
    size_t used = 0;
    for (auto &block : memory) used += block.second;
    return used < capacity() ? capacity() - used : 0;
}

API cuMemGetInfo_v2(size_t *left, size_t *total) { return *left = left_over(), *total = capacity(), OK; }
API cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    NEED(ready(), INVALID_CONTEXT)
    NEED(!recording(), UNRECORDABLE)
    NEED(bytes <= left_over(), OUT_OF_MEMORY)
    void *block = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memset(block, 0xa5, bytes);
    *address = (uint64_t)block;
    return memory[*address] = bytes, OK;
}
API cuMemFree_v2(uint64_t address) {
    NEED(ready(), INVALID_CONTEXT)
    finish_all();
    NEED(memory.erase(address), INVALID_VALUE)
    return free((void *)address), OK;
}
API cuMemHostAlloc(void **block, size_t bytes, unsigned) {
    NEED(ready(), INVALID_CONTEXT)
    return *block = malloc(bytes), OK;
}
API cuMemFreeHost(void *block) { return free(block), OK; }

API cuStreamCreate(void **stream, unsigned) {
    NEED(ready(), INVALID_CONTEXT)
    streams.push_back(new Stream);
    return *stream = streams.back(), OK;
}
API cuStreamDestroy_v2(void *stream) {
    finish((Stream *)stream);
    for (auto &s : streams)
        if (s == stream) s = streams.back();
    return streams.pop_back(), OK;
}
API cuStreamSynchronize(void *stream) {
    NEED(ready(), INVALID_CONTEXT)
    NEED(!((Stream *)stream)->recording, UNRECORDABLE)
    return finish((Stream *)stream), OK;
}
API cuEventCreate(void **event, unsigned) {
    NEED(ready(), INVALID_CONTEXT)
    return *event = new Event, OK;
}
API cuEventDestroy_v2(void *event) { return delete (Event *)event, OK; }
API cuEventRecord(void *event, void *stream) {
    NEED(ready(), INVALID_CONTEXT)
    NEED(!((Stream *)stream)->recording, UNRECORDABLE)
    return ((Event *)event)->stream = (Stream *)stream, OK;
}
API cuEventSynchronize(void *event) {
    NEED(ready(), INVALID_CONTEXT)
    if (Stream *stream = ((Event *)event)->stream) finish(stream);
    return OK;
}

API cuMemsetD8Async(uint64_t at, unsigned char value, size_t bytes, void *stream) {
    NEED(ready(), INVALID_CONTEXT)
    NEED(allocated(at, bytes), ILLEGAL_ADDRESS)
    return submit(stream, [=] { memset((void *)at, value, bytes); });
}
API cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
    NEED(ready(), INVALID_CONTEXT)
    NEED(!((Stream *)stream)->recording, UNRECORDABLE)
    NEED(allocated(to, bytes), ILLEGAL_ADDRESS)
    return submit(stream, [=] { memcpy((void *)to, from, bytes); });
}
API cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
    NEED(ready(), INVALID_CONTEXT)
    NEED(!((Stream *)stream)->recording, UNRECORDABLE)
    NEED(allocated(from, bytes), ILLEGAL_ADDRESS)
    return submit(stream, [=] { memcpy(to, (void *)from, bytes); });
}
API cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *stream) {
    NEED(ready(), INVALID_CONTEXT)
    NEED(allocated(from, bytes) && allocated(to, bytes), ILLEGAL_ADDRESS)
    return submit(stream, [=] { memcpy((void *)to, (void *)from, bytes); });
}

// An image is the name of a library.
API cuModuleLoadData(void **module, const void *image) {
    NEED(ready(), INVALID_CONTEXT)
    NEED(*module = dlopen((const char *)image, RTLD_NOW | RTLD_LOCAL), NOT_FOUND)
    return OK;
}
API cuModuleUnload(void *module) {
    finish_all();
    return dlclose(module), OK;
}
API cuModuleGetFunction(void **function, void *module, const char *name) {
    std::string entry = name;
    auto run = (Run)dlsym(module, ("run_" + entry).c_str());
    auto arguments = (int *)dlsym(module, ("arguments_" + entry).c_str());
    NEED(run && arguments, NOT_FOUND)
    return *function = new Function{run, *arguments, 48 << 10}, OK;
}
API cuFuncSetAttribute(void *function, int attribute, int bytes) {
    NEED(ready(), INVALID_CONTEXT)
    // The most dynamic shared memory that a block may have.
    NEED(attribute == 8 && bytes <= 227 << 10, INVALID_VALUE)
    return ((Function *)function)->shared = bytes, OK;
}
API cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **) {
    NEED(ready(), INVALID_CONTEXT)
    NEED(by == 1 && bz == 1 && bx <= 1024 && gx && gy && gz && gy < 65536 && gz < 65536, INVALID_VALUE)
    auto *f = (Function *)function;
    NEED(shared <= f->shared, INVALID_VALUE)
    std::vector<void *> pointers;
    for (int k = 0; k < f->arguments; ++k) {
        auto address = *(uint64_t *)parameters[k];
        NEED(allocated(address, 1), ILLEGAL_ADDRESS)
        pointers.push_back((void *)address);
    }
    return submit(stream, [=] {
        const unsigned grid[3] = {gx, gy, gz};
        f->run(pointers.data(), grid, bx);
    });
}

API cuStreamBeginCapture_v2(void *stream, int) {
    NEED(ready(), INVALID_CONTEXT)
    NEED(!((Stream *)stream)->recording, UNRECORDABLE)
    return ((Stream *)stream)->recording = true, OK;
}
API cuStreamEndCapture(void *stream, void **graph) {
    auto *s = (Stream *)stream;
    NEED(s->recording, UNRECORDABLE)
    s->recording = false;
    auto *work = new std::vector<Work>;
    std::swap(*work, s->recorded);
    return *graph = work, OK;
}
API cuGraphInstantiateWithFlags(void **executable, void *graph, uint64_t) {
    return *executable = new std::vector<Work>(*(std::vector<Work> *)graph), OK;
}
// After how many launches of graphs the memory fails, if `STAND_IN_LASTS` says so.
static uint64_t lasts() {
    const char *launches = getenv("STAND_IN_LASTS");
    return launches ? strtoull(launches, 0, 10) : UINT64_MAX;
}

API cuGraphLaunch(void *executable, void *stream) {
    NEED(ready(), INVALID_CONTEXT)
    NEED(done < lasts(), UNCORRECTABLE)
    for (auto &work : *(std::vector<Work> *)executable) submit(stream, work);
    return ++done, OK;
}
API cuGraphExecDestroy(void *executable) { return delete (std::vector<Work> *)executable, OK; }
API cuGraphDestroy(void *graph) { return delete (std::vector<Work> *)graph, OK; }

// How many graphs have been launched.
extern "C" uint64_t graphs_launched() { return done; }

struct Compilation {
    std::string text, library;
};

API nvrtcVersion(int *major, int *minor) { return *major = 12, *minor = 0, OK; }
extern "C" const char *nvrtcGetErrorString(int) { return "the compiler failed"; }
API nvrtcGetNumSupportedArchs(int *count) { return *count = 2, OK; }
API nvrtcGetSupportedArchs(int *list) { return list[0] = 80, list[1] = 90, OK; }
API nvrtcCreateProgram(void **program, const char *text, const char *, int, const char *const *, const char *const *) {
    return *program = new Compilation{text, ""}, OK;
}
API nvrtcDestroyProgram(void **program) { return delete (Compilation *)*program, OK; }
API nvrtcCompileProgram(void *program, int, const char *const *) {
    auto *p = (Compilation *)program;
    std::string text = SHIM + p->text;
    std::regex entry(R"(__global__ void\s+__launch_bounds__\([^)]*\)\s*(\w+)\(([^)]*)\))");
    for (std::sregex_iterator match(p->text.begin(), p->text.end(), entry), end; match != end; ++match) {
        std::string name = (*match)[1], parameters = (*match)[2], call;
        int arguments = 1;
        for (char c : parameters) arguments += c == ',';
        for (int k = 0; k < arguments; ++k) call += (k ? ", arguments[" : "arguments[") + std::to_string(k) + "]";
        const size_t begin = match->position(), after = p->text.find("extern \"C\"", begin);
        const std::string body = p->text.substr(begin, after - begin);
        const bool barriers = body.find("__syncthreads") != std::string::npos || body.find("tile<") != std::string::npos;
        text += "extern \"C\" int arguments_" + name + " = " + std::to_string(arguments) + ";\n";
        text += "extern \"C\" void run_" + name + "(void *const *a, const unsigned *grid, unsigned block) {\n";
        text += "arguments = a; run_kernel([] { " + name + "(" + call + "); }, " +
                (barriers ? "true" : "false") + ", grid, block); }\n";
    }
    // Beside this library, in the test's folder.
    std::string folder = std::string(getenv("LOCKSTEP_NVRTC")) + "-XXXXXX";
    NEED(mkdtemp(folder.data()), INVALID_VALUE)
    std::string source = folder + "/k.cpp";
    p->library = folder + "/k.so";
    FILE *file = fopen(source.c_str(), "w");
    fwrite(text.data(), 1, text.size(), file);
    fclose(file);
    return system(("c++ -std=c++17 -O1 -ffp-contract=off -shared -fPIC -w -o " + p->library + " " + source).c_str());
}
API nvrtcGetPTXSize(void *, size_t *size) { return *size = 1, OK; }
API nvrtcGetPTX(void *, char *text) { return *text = 0, OK; }
API nvrtcGetCUBINSize(void *program, size_t *size) { return *size = ((Compilation *)program)->library.size() + 1, OK; }
API nvrtcGetCUBIN(void *program, char *image) { return strcpy(image, ((Compilation *)program)->library.c_str()), OK; }
API nvrtcGetProgramLogSize(void *, size_t *size) { return *size = 1, OK; }
API nvrtcGetProgramLog(void *, char *text) { return *text = 0, OK; }
