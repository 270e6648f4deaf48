// Runs generated CUDA C++ on the processor: blocks one after another, and the threads of a block
// one after another, or, where they wait for one another, as coroutines from barrier to barrier.
// A wrong index or a wrong order shows here as it would on a device.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))

struct Index {
    unsigned x, y, z;
};
static Index blockIdx, threadIdx, blockDim, gridDim;

static inline float __uint_as_float(unsigned a) {
    float f;
    memcpy(&f, &a, 4);
    return f;
}
static inline unsigned __float_as_uint(float f) {
    unsigned a;
    memcpy(&a, &f, 4);
    return a;
}
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __int2float_rn(int a) { return (float)a; }
static inline float __uint2float_rn(unsigned a) { return (float)a; }
static inline int __float2int_rz(float a) {
    return a >= 2147483648.0f ? 0x7fffffff : a <= -2147483648.0f ? -0x7fffffff - 1 : (int)a;
}
static inline unsigned __float2uint_rz(float a) {
    return a >= 4294967296.0f ? 0xffffffffu : a <= 0.0f ? 0u : (unsigned)a;
}
static inline int __dp4a(int a, int b, int c) {
    unsigned sum = c;
    for (int j = 0; j < 32; j += 8) sum += (unsigned)((signed char)(a >> j) * (signed char)(b >> j));
    return (int)sum;
}

static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const unsigned long long bytes = (unsigned long long)b << 32 | a;
    unsigned result = 0;
    for (int j = 0; j < 4; ++j) result |= (unsigned)(bytes >> 8 * (selector >> 4 * j & 7) & 0xff) << 8 * j;
    return result;
}

// A copy to shared memory that goes on while the thread does.
struct Copy {
    void *to;
    const void *from;
    int bytes;
};
struct Fiber {
    ucontext_t context;
    char *stack;
    bool done;
    std::vector<std::vector<Copy>> groups;
    std::vector<Copy> open;
    unsigned votes;
};
static ucontext_t scheduler;
static Fiber *fiber;
static void (*fiber_kernel)();

static void __syncthreads() {
    Index self = threadIdx;
    swapcontext(&fiber->context, &scheduler);
    threadIdx = self;
}

// Whether any thread of the block says so. The first thread to come clears the vote, which the last
// one to leave the vote before that has read.
static int __syncthreads_or(int vote) {
    static bool any[2];
    bool &now = any[fiber->votes++ % 2];
    if (threadIdx.x == 0) now = false;
    now |= vote != 0;
    __syncthreads();
    return now;
}

// Shared memory is not cleared for a block.
#define LOCKSTEP_SHIM
#define LOCKSTEP_EXTERN_SHARED(name) unsigned *name = shared_memory
static unsigned shared_memory[57 * 1024] __attribute__((aligned(16)));

// Half of the blocks copy as soon as they can, which shows who still reads what is overwritten; the
// others as late as they may, which shows who reads too early.
static bool copies_early;

static void do_copy(const Copy &copy) { memcpy(copy.to, copy.from, copy.bytes); }
static void copy_later(void *to, const void *from, int bytes) {
    if ((size_t)to % bytes || (size_t)from % bytes) {
        fprintf(stderr, "a copy of %d bytes is not aligned\n", bytes);
        abort();
    }
    if (copies_early) memcpy(to, from, bytes);
    else fiber->open.push_back({to, from, bytes});
}
static void copy_4(unsigned *to, const unsigned *from) { copy_later(to, from, 4); }
static void copy_16(unsigned *to, const unsigned *from) { copy_later(to, from, 16); }
static void copies_end_group() {
    fiber->groups.push_back(fiber->open);
    fiber->open.clear();
}
template <int N>
static void copies_wait() {
    auto &groups = fiber->groups;
    for (; groups.size() > N; groups.erase(groups.begin()))
        for (const Copy &copy : groups[0]) do_copy(copy);
}

// The product of a warp of tensor cores, from the fragments of all its threads.
static void multiply_16_8_32(unsigned *c, const unsigned *a, const unsigned *b) {
    static unsigned fragments[1024][6];
    memcpy(fragments[threadIdx.x], a, 16);
    memcpy(fragments[threadIdx.x] + 4, b, 8);
    __syncthreads();
    const unsigned first = threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
    // Element `k` of a row of A lies in register `k / 16 * 2 + row / 8` of lane `row % 8 * 4 + k % 16 / 4`.
    auto element = [&](unsigned lane, int word, int k) {
        return (int)(signed char)(fragments[first + lane][word] >> 8 * (k % 4));
    };
    for (int part = 0; part < 4; ++part) {
        const unsigned row = lane / 4 + part / 2 * 8, column = lane % 4 * 2 + part % 2;
        for (int k = 0; k < 32; ++k)
            c[part] += (unsigned)(element(row % 8 * 4 + k % 16 / 4, k / 16 * 2 + row / 8, k) *
                                  element(column * 4 + k % 16 / 4, 4 + k / 16, k));
    }
    __syncthreads();
}

static void fiber_main() {
    fiber_kernel();
    fiber->done = true;
    swapcontext(&fiber->context, &scheduler);
}

static void run_coroutines(Fiber *fibers) {
    memset(shared_memory, 0xa5, sizeof shared_memory);
    copies_early = !copies_early;
    for (unsigned t = 0; t < blockDim.x; ++t) {
        getcontext(&fibers[t].context);
        fibers[t].context.uc_stack.ss_sp = fibers[t].stack;
        fibers[t].context.uc_stack.ss_size = 1 << 16;
        fibers[t].context.uc_link = 0;
        fibers[t].done = false;
        fibers[t].groups.clear();
        fibers[t].votes = 0;
        fibers[t].open.clear();
        makecontext(&fibers[t].context, fiber_main, 0);
    }
    for (unsigned done = 0; done == 0;) {
        for (unsigned t = 0; t < blockDim.x; ++t) {
            fiber = &fibers[t];
            threadIdx = {t, 0, 0};
            swapcontext(&scheduler, &fiber->context);
            done += fiber->done;
        }
        if (done != 0 && done != blockDim.x) {
            fprintf(stderr, "%u of %u threads left while others wait\n", done, blockDim.x);
            abort();
        }
    }
}

static void run_kernel(void (*kernel)(), bool barriers, const unsigned *grid, unsigned block) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block, 1, 1};
    fiber_kernel = kernel;
    Fiber *fibers = barriers ? new Fiber[block] : 0;
    for (unsigned t = 0; barriers && t < block; ++t) fibers[t].stack = (char *)malloc(1 << 16);
    for (unsigned z = 0; z < grid[2]; ++z)
        for (unsigned y = 0; y < grid[1]; ++y)
            for (unsigned x = 0; x < grid[0]; ++x) {
                blockIdx = {x, y, z};
                if (barriers) {
                    run_coroutines(fibers);
                    continue;
                }
                for (unsigned t = 0; t < block; ++t) {
                    threadIdx = {t, 0, 0};
                    kernel();
                }
            }
    for (unsigned t = 0; barriers && t < block; ++t) free(fibers[t].stack);
    delete[] fibers;
}

static void *const *arguments;
