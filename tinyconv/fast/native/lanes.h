/* Vectors of images: one image a SIMD lane.
 *
 * A vector is as wide as the processor's registers, which the compiler says: 16 numbers with AVX-512, 8 with AVX, else 4.
 * (GCC splits wider ones through memory, at a tenth of the speed.) REGISTERS says how many of them there are, and so how
 * many sums a loop may hold.
 */
#pragma once
#include <stdint.h>
#include <string.h>

#if defined __AVX512F__
enum { LANES = 16, REGISTERS = 32 };
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif defined __AVX__
enum { LANES = 8, REGISTERS = 16 };
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
enum { LANES = 4 };
#if defined __aarch64__
enum { REGISTERS = 32 };
#else
enum { REGISTERS = 16 };
#endif
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#endif
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t choice __attribute__((vector_size(4 * LANES)));
typedef uint8_t ways __attribute__((vector_size(LANES)));
#define INLINE static inline __attribute__((always_inline))
#if defined _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* A pointer that the compiler knows nothing of: what it points to is loaded anew. (GCC keeps factors for the next round
 * of a loop otherwise, in registers that sums need.) */
#define ANEW(pointer) ({ __typeof__(pointer) anew_ = (pointer); __asm__("" : "+r"(anew_)); anew_; })
/* A vector that is loaded here, once. (GCC loads a factor again for each of its products otherwise.) */
#if defined __x86_64__
#define IN_REGISTER(v) __asm__("" : "+x"(v))
#elif defined __aarch64__
#define IN_REGISTER(v) __asm__("" : "+w"(v))
#else
#define IN_REGISTER(v) (void)(v)
#endif

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* All ones in the first `count` lanes: those that there are images for. */
INLINE choice lanes_there(int64_t count) {
    choice number;
    for (int k = 0; k < LANES; k++) number[k] = k;
    return number < (int32_t)count;
}

/* The lanes that there are images for; the others hold zeros. */
INLINE lanes load(const float *from, int64_t stride, int64_t count) {
    lanes v = {0};
    if (stride == 1 && count == LANES) memcpy(&v, from, sizeof v);
    else for (int64_t k = 0; k < count; k++) v[k] = from[k * stride];
    return v;
}

INLINE void store(float *to, lanes v, int64_t count) {
    if (count == LANES) memcpy(to, &v, sizeof v);
    else for (int64_t k = 0; k < count; k++) to[k] = v[k];
}

/* The way each maximum came, its place in its window, a byte an image; NONE where there is no image. */
enum { NONE = 255 };
INLINE choice load_ways(const uint8_t *from, int64_t count) {
    ways v = (ways){0} + NONE;
    if (count == LANES) memcpy(&v, from, sizeof v);
    else for (int64_t k = 0; k < count; k++) v[k] = from[k];
    return __builtin_convertvector(v, choice);
}

INLINE void store_ways(uint8_t *to, choice from, int64_t count) {
    ways v = __builtin_convertvector(from, ways);
    if (count == LANES) memcpy(to, &v, sizeof v);
    else for (int64_t k = 0; k < count; k++) to[k] = v[k];
}

/* a where `which` is all ones, b where it is zero. (C has no ?: for vectors.) */
INLINE choice either(choice which, choice a, choice b) { return (which & a) | (~which & b); }
INLINE lanes pick(choice which, lanes a, lanes b) { return (lanes)either(which, (choice)a, (choice)b); }
INLINE lanes zero_where(choice which, lanes a) { return (lanes)(~which & (choice)a); }

/* By halves: as many steps as four additions, where one after another takes sixteen. */
INLINE float sum(lanes v) {
    float part[LANES];
    memcpy(part, &v, sizeof v);
    for (int half = LANES / 2; half; half /= 2)
        for (int k = 0; k < half; k++) part[k] += part[k + half];
    return part[0];
}

/* LANES vectors as a matrix, transposed: neighbours in a row become neighbours in a column. Each round deals the rows
 * i and i + LANES / 2 out like two halves of a pack of cards; after log2(LANES) rounds every number is in its place. */
#if defined __clang__
#define DEAL(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define DEAL(a, b, ...) __builtin_shuffle(a, b, (choice){__VA_ARGS__})
#endif
INLINE void transpose(lanes *v) {
    for (int round = 1; round < LANES; round *= 2) {
        lanes dealt[LANES];
        for (int k = 0; k < LANES / 2; k++) {
            dealt[2 * k] = DEAL(v[k], v[k + LANES / 2], LOW);
            dealt[2 * k + 1] = DEAL(v[k], v[k + LANES / 2], HIGH);
        }
        for (int k = 0; k < LANES; k++) v[k] = dealt[k];
    }
}
