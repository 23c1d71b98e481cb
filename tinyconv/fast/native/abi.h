/* What is asked of a library before it is used: which sources it was made of, and what this machine can run. */
#pragma once
#include "lanes.h"
#ifdef __x86_64__
#include <cpuid.h>
#endif

#ifndef TINYCONV_SOURCES /* the beginning of their SHA-256: build.py gives it, and asks for it again */
#define TINYCONV_SOURCES 0
#endif
EXPORT uint64_t tinyconv_sources(void) { return TINYCONV_SOURCES; }

/* 4 or 3 where the processor has all of x86-64-v4 or v3 and the system keeps its registers, else 2, which NumPy needs
 * as well; 0 on other machines. /proc/cpuinfo would say the same on Linux alone. */
EXPORT int tinyconv_level(void) {
#ifdef __x86_64__
    unsigned a, b, c, d, b7, kept = 0;
    const unsigned first = bit_FMA | bit_MOVBE | bit_AVX | bit_F16C | bit_OSXSAVE, lzcnt = 1 << 5;
    const unsigned avx2 = bit_AVX2 | bit_BMI | bit_BMI2;
    const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | (unsigned)bit_AVX512VL;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & first) != first) return 2;
    __asm__("xgetbv" : "=a"(kept), "=d"(d) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b7, &c, &d) || (b7 & avx2) != avx2 || (kept & 0x06) != 0x06) return 2;
    if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !(c & lzcnt)) return 2;
    return (b7 & avx512) == avx512 && (kept & 0xe6) == 0xe6 ? 4 : 3;
#else
    return 0;
#endif
}
