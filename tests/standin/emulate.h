// CUDA kernels as plain C++: enough of the language to compile one with a host compiler and run it, thread by thread.
//
// Blocks run one after another. The threads of a block are fibers, which change places at __syncthreads() only; a
// kernel that has none runs each of its threads to the end. What a GPU leaves open is made strict: a barrier that not
// all threads of a block reach stops the run, and the order of blocks and threads can be turned around, which must not
// change a bit of the result.

#pragma once
#include <csetjmp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>
#include <ucontext.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __constant__ static const
#define __shared__ static  // of the block, for one runs at a time
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct dim3 {
    unsigned x, y, z;
};
static dim3 gridDim, blockDim, blockIdx, threadIdx;

static inline float __ldg(const float* p) { return *p; }
static inline double __ldg(const double* p) { return *p; }
static inline float rsqrtf(float x) { return 1 / sqrtf(x); }
static inline double rsqrt(double x) { return 1 / sqrt(x); }
template <class T> static inline T min(T a, T b) { return b < a ? b : a; }
template <class T> static inline T max(T a, T b) { return a < b ? b : a; }
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline float2 make_float2(float x, float y) { return {x, y}; }

namespace emulated {

struct fiber {
    ucontext_t start;
    jmp_buf place;
    dim3 index;
    int line;  // of the barrier it waits at; 0: it runs, -1: it has returned
    bool begun;
};

static std::vector<fiber> fibers;
static std::vector<char> stacks;
static const size_t STACK = 64 << 10;
static jmp_buf scheduler;
static fiber* running;
static void (*body)(void*);
static void* body_data;

static void begin() {
    body(body_data);
    running->line = -1;
    _longjmp(scheduler, 1);
}

static void barrier(int line) {
    running->line = line;
    if (_setjmp(running->place) == 0) _longjmp(scheduler, 1);
    threadIdx = running->index;
}

static void resume(fiber& f) {
    running = &f;
    threadIdx = f.index;
    f.line = 0;
    if (_setjmp(scheduler)) return;
    if (f.begun) _longjmp(f.place, 1);
    f.begun = true;
    setcontext(&f.start);
}

// 0, or the line of a barrier that some threads of a block reached and others did not.
static int run_block(bool barriers, bool reversed) {
    const unsigned n = blockDim.x * blockDim.y * blockDim.z;
    auto index = [](unsigned i) {
        return dim3{i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    };
    if (!barriers) {
        for (unsigned k = 0; k < n; k++) {
            threadIdx = index(reversed ? n - 1 - k : k);
            body(body_data);
        }
        return 0;
    }
    if (fibers.size() < n) fibers.resize(n), stacks.resize(n * STACK);
    for (unsigned i = 0; i < n; i++) {
        fiber& f = fibers[i];
        getcontext(&f.start);
        f.start.uc_stack.ss_sp = &stacks[i * STACK];
        f.start.uc_stack.ss_size = STACK;
        f.start.uc_link = nullptr;
        makecontext(&f.start, begin, 0);
        f.index = index(i);
        f.begun = false;
    }
    for (;;) {
        for (unsigned k = 0; k < n; k++) resume(fibers[reversed ? n - 1 - k : k]);
        const int line = fibers[0].line;
        for (unsigned i = 1; i < n; i++)
            if (fibers[i].line != line) return line > 0 ? line : fibers[i].line;
        if (line == -1) return 0;
    }
}

template <class... A, size_t... I>
static int launch(void (*kernel)(A...), const unsigned* grid, const unsigned* block, void** args, bool barriers,
                  bool reversed, std::index_sequence<I...>) {
    auto call = [&]() { kernel(*(std::remove_const_t<A>*)args[I]...); };
    body = [](void* data) { (*(decltype(call)*)data)(); };
    body_data = &call;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const unsigned long blocks = (unsigned long)grid[0] * grid[1] * grid[2];
    for (unsigned long k = 0; k < blocks; k++) {
        const unsigned long i = reversed ? blocks - 1 - k : k;
        blockIdx = {unsigned(i % grid[0]), unsigned(i / grid[0] % grid[1]), unsigned(i / grid[0] / grid[1])};
        if (const int line = run_block(barriers, reversed)) return line;
    }
    return 0;
}

template <class... A>
static int launch(void (*kernel)(A...), const unsigned* grid, const unsigned* block, void** args, bool barriers,
                  bool reversed) {
    return launch(kernel, grid, block, args, barriers, reversed, std::index_sequence_for<A...>{});
}

template <class... A> static int sizes(void (*)(A...), int* out) {  // of the arguments, in bytes; negative: a pointer
    int i = 0;
    ((out[i++] = std::is_pointer_v<A> ? -int(sizeof(A)) : int(sizeof(A))), ...);
    return i;
}

}  // namespace emulated

#define __syncthreads() emulated::barrier(__LINE__)
