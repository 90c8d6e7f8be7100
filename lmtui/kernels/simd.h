// Several numbers at once.
//
// Owns what GCC and Clang do not have for that by themselves: the way between numbers
// of 16 bits and of 32, sums over lanes, and powers of e. Knows nothing of what it is
// for.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__F16C__)
#include <immintrin.h>
typedef uint16_t half;
#else
typedef _Float16 half;
#endif

#if defined(__AVX512F__)
static const long WIDE = 16, REGISTERS = 32;
#else
static const long WIDE = 8, REGISTERS = 16;
#endif
typedef float lanes __attribute__((vector_size(4 * WIDE)));
typedef int32_t whole __attribute__((vector_size(4 * WIDE)));

struct brief {  // bfloat16: the upper half of a float
    uint16_t bits;
};

static const float NOTHING = -INFINITY;

static inline lanes loaded(const float *from) {
    lanes all;
    std::memcpy(&all, from, sizeof all);
    return all;
}

static inline lanes widened(const float *from) { return loaded(from); }

static inline lanes widened(const brief *from) {
#if defined(__AVX512F__)
    const __m512i all = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
    return (lanes)_mm512_slli_epi32(all, 16);
#else
    typedef uint16_t halves __attribute__((vector_size(2 * WIDE)));
    halves bits;
    std::memcpy(&bits, from, sizeof bits);
    return (lanes)(__builtin_convertvector(bits, whole) << 16);
#endif
}

static inline lanes widened(const half *from) {
#if defined(__AVX512F__)
    return (lanes)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
#elif defined(__F16C__)
    return (lanes)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
#else
    lanes all;
    for (int i = 0; i < WIDE; i++) all[i] = from[i];
    return all;
#endif
}

// a · b + c, rounded once. What a compiler makes of `*` and `+` differs from one place to
// another.
static inline lanes fused(lanes a, lanes b, lanes c) {
#if defined(__AVX512F__)
    return (lanes)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__F16C__) && defined(__FMA__)
    return (lanes)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    for (int i = 0; i < WIDE; i++) c[i] = std::fma(a[i], b[i], c[i]);
    return c;
#endif
}

// So many numbers, a multiple of 8.
static inline void narrow(const float *from, half *to, long count) {
#if defined(__F16C__)
    for (long i = 0; i < count; i += 8) {
        const __m256 eight = _mm256_loadu_ps(from + i);
        _mm_storeu_si128((__m128i *)(to + i), _mm256_cvtps_ph(eight, 0));
    }
#else
    for (long i = 0; i < count; i++) to[i] = (half)from[i];
#endif
}

static inline float sum(lanes all) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)all);
#elif defined(__F16C__)
    const __m256 eight = (__m256)all;
    const __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
    const __m128 two = four + _mm_movehl_ps(four, four);
    return two[0] + two[1];
#else
    for (int width = WIDE / 2; width; width /= 2)
        for (int i = 0; i < width; i++) all[i] += all[i + width];
    return all[0];
#endif
}

// Of so many numbers, a multiple of those that are taken at once.
static inline float largest(const float *from, long count) {
    lanes most = loaded(from);
    for (long i = WIDE; i < count; i += WIDE) {
        const lanes other = loaded(from + i);
        most = most > other ? most : other;
    }
    float all[WIDE];
    std::memcpy(all, &most, sizeof all);
    return *std::max_element(all, all + WIDE);
}

// e^x of numbers up to 0, to 2e-7 of it, and 0 where that is no normal number. Whole
// powers of two are taken out; a polynomial is near enough for what is left.
static inline lanes exponential(lanes x) {
    const float magic = 12582912.f;  // 1.5 · 2^23: what is added to it has no fraction
    const lanes shifted = x * 1.44269504f + magic, n = shifted - magic;
    const lanes f = x - n * 0.693359375f + n * 2.12194440e-4f;
    lanes e = 8.36978e-3f + f * 1.39304e-3f;
    e = 0.166666657f + f * (0.0416663699f + f * e);
    e = 1.f + f * (1.f + f * (0.5f + f * e));
    const whole power = ((whole)shifted - 0x4B400000 + 127) << 23;
    return (lanes)((whole)(e * (lanes)power) & (whole)(x > -87.f));
}
