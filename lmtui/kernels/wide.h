// Vectors of 64 bytes: one register with AVX-512, and what a compiler makes of them
// elsewhere.

#pragma once

#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "simd.h"

typedef int16_t i16x32 __attribute__((vector_size(64)));
typedef uint16_t u16x32 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef float f32x16 __attribute__((vector_size(64)));

static inline f32x16 to_floats(i32x16 all) { return __builtin_convertvector(all, f32x16); }

// a · b + c, rounded once.
static inline f32x16 fmadd16(f32x16 a, f32x16 b, f32x16 c) {
#if defined(__AVX512F__)
    return (f32x16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
    for (int i = 0; i < 16; i++) c[i] = std::fma(a[i], b[i], c[i]);
    return c;
#endif
}

// sum + a · b, where each lane of the sum takes two adjacent products.
static inline i32x16 dot(i32x16 sum, i16x32 a, i16x32 b) {
#if defined(__AVX512VNNI__)
    return (i32x16)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVX512BW__)
    return sum + (i32x16)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#else
    for (int i = 0; i < 16; i++)
        sum[i] += a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
    return sum;
#endif
}

// from[at[i]] for each i.
static inline f32x16 spread(f32x16 from, i32x16 at) {
#if defined(__AVX512F__)
    return (f32x16)_mm512_permutexvar_ps((__m512i)at, (__m512)from);
#else
    f32x16 found;
    for (int i = 0; i < 16; i++) found[i] = from[at[i]];
    return found;
#endif
}

// 8 times from[a], 8 times from[b].
static inline f32x16 broadcast8(f32x16 from, int a, int b) {
    return spread(from, i32x16{a, a, a, a, a, a, a, a, b, b, b, b, b, b, b, b});
}

// 4 times each of from[a] … from[a + 3].
static inline f32x16 broadcast4(f32x16 from, int a) {
    const i32x16 each = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
    return spread(from, each + a);
}

// 16 bytes, signed or not, as floats.
static inline f32x16 bytes(i8x16 all) {
#if defined(__AVX512F__)
    return to_floats((i32x16)_mm512_cvtepi8_epi32((__m128i)all));
#else
    return to_floats(__builtin_convertvector(all, i32x16));
#endif
}
static inline f32x16 bytes(u8x16 all) {
#if defined(__AVX512F__)
    return to_floats((i32x16)_mm512_cvtepu8_epi32((__m128i)all));
#else
    return to_floats(__builtin_convertvector(all, i32x16));
#endif
}

// Four vectors of 16 bytes, one behind the other.
static inline u16x32 concat(const u8x16 *from) { return read<u16x32>(from); }

// 32 signed bytes as words.
static inline u16x32 widen_i8(const uint8_t *from) {
    typedef int8_t i8x32 __attribute__((vector_size(32)));
    return (u16x32)__builtin_convertvector(read<i8x32>(from), i16x32);
}

// 32 bytes as words, and again, shifted right by some bits.
static inline u16x32 load_twice(const uint8_t *from, uint16_t bits) {
    u16x32 both;
#if defined(__AVX512F__)
    const __m256i all = _mm256_loadu_si256((const __m256i *)from);
    both = (u16x32)_mm512_broadcast_i64x4(all);
#else
    std::memcpy(&both, from, 32);
    std::memcpy((char *)&both + 32, from, 32);
#endif
    const u16x32 shift = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                          1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    return both >> shift * bits;
}

// The same vector, kept in a register. A compiler may otherwise read it from memory again
// for each use, which costs twice as much where it crosses a cache line.
static inline u16x32 kept(u16x32 all) {
#if defined(__AVX512F__)
    asm("" : "+v"(all));
#endif
    return all;
}

// LEVELS[at[i]] for each i.
static inline u8x16 find_levels(u8x16 at) {
#if defined(__ARM_NEON)
    return (u8x16)vqtbl1q_s8(vld1q_s8(LEVELS), (uint8x16_t)at);
#else
    u8x16 found;
    for (int i = 0; i < 16; i++) found[i] = LEVELS[at[i]];
    return found;
#endif
}

// The levels of the four-bit numbers in each word: q[v] those of bits 4 · v and up.
static inline void levels_of(u16x32 four, u16x32 *q) {
#if defined(__AVX512BW__)
    // Twice the levels, since five bits of an index are used.
    const __m512i table =
        _mm512_broadcast_i64x4(_mm256_cvtepi8_epi16(_mm_load_si128((__m128i *)LEVELS)));
    for (int v = 0; v < 4; v++)
        q[v] = (u16x32)_mm512_permutexvar_epi16((__m512i)(four >> 4 * v), table);
#else
    u8x16 found[2][4];
    for (int part = 0; part < 4; part++) {
        const u8x16 all = read<u8x16>((const char *)&four + 16 * part);
        found[0][part] = find_levels(all & 15), found[1][part] = find_levels(all >> 4);
    }
    for (int half = 0; half < 2; half++) {
        const i16x32 both = (i16x32)concat(found[half]);
        q[half] = (u16x32)(both << 8 >> 8);
        q[half + 2] = (u16x32)(both >> 8);
    }
#endif
}
