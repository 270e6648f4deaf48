// Runs generated CUDA C++ on the processor: blocks one after another, and the threads of a block
// one after another, or, where they wait for one another, as coroutines from barrier to barrier.
// A wrong index or a wrong order shows here as it would on a device.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

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

struct Fiber {
    ucontext_t context;
    char *stack;
    bool done;
};
static ucontext_t scheduler;
static Fiber *fiber;
static void (*fiber_kernel)();

static void __syncthreads() {
    Index self = threadIdx;
    swapcontext(&fiber->context, &scheduler);
    threadIdx = self;
}

static void fiber_main() {
    fiber_kernel();
    fiber->done = true;
    swapcontext(&fiber->context, &scheduler);
}

static void run_coroutines(Fiber *fibers) {
    for (unsigned t = 0; t < blockDim.x; ++t) {
        getcontext(&fibers[t].context);
        fibers[t].context.uc_stack.ss_sp = fibers[t].stack;
        fibers[t].context.uc_stack.ss_size = 1 << 16;
        fibers[t].context.uc_link = 0;
        fibers[t].done = false;
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
    Fiber *fibers = barriers ? (Fiber *)calloc(block, sizeof(Fiber)) : 0;
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
    free(fibers);
}

static void *const *arguments;
