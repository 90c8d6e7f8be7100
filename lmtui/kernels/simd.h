// SIMD helpers of the CPU kernels, on the vector extensions of GCC and Clang.
//
// f32v holds LANES floats: 16 with AVX-512, 8 elsewhere. load and to_f32 read one vector
// and widen bfloat16 or float16 to float32; store_fp16 writes float16. hsum and hmax
// reduce to one float, fmadd rounds once, exp_neg is e^x for x <= 0. Intrinsics are used
// where AVX-512, F16C or FMA are present, portable code elsewhere. Needs no macros.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__F16C__)
#include <immintrin.h>
typedef uint16_t fp16;
#else
typedef _Float16 fp16;
#endif

#if defined(__AVX512F__)
static const long LANES = 16, REGISTERS = 32;
#else
static const long LANES = 8, REGISTERS = 16;
#endif
typedef float f32v __attribute__((vector_size(4 * LANES)));
typedef int32_t i32v __attribute__((vector_size(4 * LANES)));

struct bf16 {  // the upper half of a float
    uint16_t bits;
};

static const float NEG_INF = -INFINITY;

static inline f32v load(const float *from) {
    f32v all;
    std::memcpy(&all, from, sizeof all);
    return all;
}

// x in each lane. (x - 0 is x, x + 0 is not where x is -0, so that it is computed.)
static inline f32v broadcast(float x) { return x - f32v{}; }

static inline f32v to_f32(const float *from) { return load(from); }

static inline f32v to_f32(const bf16 *from) {
#if defined(__AVX512F__)
    const __m512i all = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
    return (f32v)_mm512_slli_epi32(all, 16);
#else
    typedef uint16_t u16v __attribute__((vector_size(2 * LANES)));
    u16v bits;
    std::memcpy(&bits, from, sizeof bits);
    return (f32v)(__builtin_convertvector(bits, i32v) << 16);
#endif
}

static inline f32v to_f32(const fp16 *from) {
#if defined(__AVX512F__)
    return (f32v)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
#elif defined(__F16C__)
    return (f32v)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
#else
    f32v all;
    for (int i = 0; i < LANES; i++) all[i] = from[i];
    return all;
#endif
}

// a · b + c, rounded once. Whether a compiler fuses a plain `a * b + c` can differ from
// one place to another; this does not.
static inline f32v fmadd(f32v a, f32v b, f32v c) {
#if defined(__AVX512F__)
    return (f32v)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__F16C__) && defined(__FMA__)
    return (f32v)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    for (int i = 0; i < LANES; i++) c[i] = std::fma(a[i], b[i], c[i]);
    return c;
#endif
}

// Floats rounded to bfloat16, in the upper halves of their bits: to nearest, ties to even.
// NaN stays NaN, of which some would otherwise run over into 0.
template <typename Bits, typename Floats>
static inline Bits round_to_bf16(Floats all) {
    const Bits bits = (Bits)all;
    return all == all ? bits + 0x7FFF + (bits >> 16 & 1) : bits;
}

// Convert `count` floats, a multiple of 8, to float16, rounded to nearest.
static inline void store_fp16(const float *from, fp16 *to, long count) {
#if defined(__F16C__)
    for (long i = 0; i < count; i += 8) {
        const __m256 eight = _mm256_loadu_ps(from + i);
        _mm_storeu_si128((__m128i *)(to + i), _mm256_cvtps_ph(eight, 0));
    }
#else
    for (long i = 0; i < count; i++) to[i] = (fp16)from[i];
#endif
}

// Horizontal sum of one vector.
static inline float hsum(f32v all) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)all);
#elif defined(__F16C__)
    const __m256 eight = (__m256)all;
    const __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
    const __m128 two = four + _mm_movehl_ps(four, four);
    return two[0] + two[1];
#else
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) all[i] += all[i + width];
    return all[0];
#endif
}

// Maximum of `count` floats, a multiple of LANES.
static inline float hmax(const float *from, long count) {
    f32v max = load(from);
    for (long i = LANES; i < count; i += LANES) {
        const f32v other = load(from + i);
        max = max > other ? max : other;
    }
    float all[LANES];
    std::memcpy(all, &max, sizeof all);
    return *std::max_element(all, all + LANES);
}

// e^x for x <= 0, with a relative error of 2e-7; 0 for x <= -87, where the result nears
// the end of the normal floats. x = n · ln 2 + f: a polynomial gives e^f, and 2^n goes
// into the exponent bits.
static inline f32v exp_neg(f32v x) {
    const float magic = 12582912.f;  // 1.5 · 2^23: adding it rounds to an integer
    const f32v shifted = x * 1.44269504f + magic, n = shifted - magic;
    const f32v f = x - n * 0.693359375f + n * 2.12194440e-4f;
    f32v e = 8.36978e-3f + f * 1.39304e-3f;
    e = 0.166666657f + f * (0.0416663699f + f * e);
    e = 1.f + f * (1.f + f * (0.5f + f * e));
    const i32v power = ((i32v)shifted - 0x4B400000 + 127) << 23;
    return (f32v)((i32v)(e * (f32v)power) & (i32v)(x > -87.f));
}
