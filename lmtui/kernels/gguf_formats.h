// Formats of the blocks in GGUF files, and what can be done with one row of weights.

#pragma once

#include <vector>

#include "simd.h"
#include "unrolled.h"

static const long MAX_ROWS = 16;  // rows that share the reading of inputs

// What the numbers of IQ4_NL and IQ4_XS stand for.
alignas(16) static const int8_t LEVELS[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                              1,    13,   25,  38,  53,  69,  89,  113};

template <typename Vector>
static inline Vector read(const void *from) {
    Vector all;
    std::memcpy(&all, from, sizeof all);
    return all;
}

typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));

// The eight 6-bit scales of Q4_K and Q5_K, and eight minima, in 12 bytes: four scales, four
// minima, then the low 4 bits of the other four of both, whose 2 high bits are the top bits
// of the first eight.
static inline u8x16 q4_k_scales(const uint8_t *packed) {
    const u32x4 from = read<u32x4>(packed);  // the last four bytes are others
    const u32x4 top = (u32x4){from[0], from[0], from[1], from[1]} >> (u32x4){0, 2, 0, 2};
    const u32x4 low = (u32x4){from[2], from[2], from[2], from[2]} >> (u32x4){0, 0, 0, 4};
    const u32x4 six = {0x3F3F3F3F, 0x30303030, 0x3F3F3F3F, 0x30303030};
    const u32x4 four = {0, 0x0F0F0F0F, 0, 0x0F0F0F0F};
    return (u8x16)((top & six) | (low & four));
}

// The 16 scales of Q3_K, of six bits in 12 bytes and 32 too high there: the lower four of
// the first eight and of the others, then the upper two of every fourth.
static inline i8x16 q3_k_scales(const uint8_t *packed) {
    const uint32_t a = read<uint32_t>(packed), b = read<uint32_t>(packed + 4);
    const uint32_t top = read<uint32_t>(packed + 8);
    const u32x4 low = (u32x4){a, b, a >> 4, b >> 4} & 0x0F0F0F0F;
    const u32x4 high = (u32x4){top, top >> 2, top >> 4, top >> 6} & 0x03030303;
    return (i8x16)(low | high << 4) - 32;
}

// The eight scales of IQ4_XS, of six bits and 32 too high there: the upper two of each, then
// the lower four. Words are of 32 bits.
template <typename Words>
static inline Words iq4_xs_scales(const uint8_t *block) {
    const Words fours = {0, 4, 8, 12, 16, 20, 24, 28};
    const Words low = (Words{} + read<int32_t>(block + 4)) >> fours & 15;
    const Words high = (Words{} + read<uint16_t>(block + 2)) >> fours / 2 & 3;
    return (low | high << 4) - 32;
}

// The largest of `count` inputs without their signs, a multiple of LANES; what is not a
// number is larger than all numbers.
static inline float largest_of(const float *from, long count) {
    i32v largest = {};  // of the bits without the sign, which are in order
    for (long k = 0; k < count; k += LANES) {
        const i32v bits = (i32v)load(from + k) & 0x7FFFFFFF;
        largest = largest > bits ? largest : bits;
    }
    int32_t bits = 0;
    for (int i = 0; i < LANES; i++) bits = std::max(bits, largest[i]);
    return read<float>(&bits);
}
// By what inputs are multiplied, so that `largest` becomes `most`; 0 if none can be.
static inline float factor_for(float largest, float most) {
    return largest > 1e-30f && largest < INFINITY ? most / largest : 0;
}

// What 32 columns of an input need beside their bytes.
struct PanelBlock {
    float scale;
    int32_t sum;  // of the integers
    float shift;  // of the inputs: what the shift of a weight adds
};

// Inputs [count, K], rounded to 16 bits for weights in panels (see gguf_panels.cpp).
struct PanelInputs {
    std::vector<int8_t> bytes;       // [count, K / 32, 2, 32]
    std::vector<PanelBlock> blocks;  // [count, K / 32]
};

#if defined(__AVX2__) && !defined(__AVX512F__)

typedef int8_t i8x32 __attribute__((vector_size(32)));

// What a unit of columns of an input needs beside its bytes.
struct InputUnit {
    float scale;
    float sums[16];      // of the groups: what the shift of a weight adds
    int32_t offsets[8];  // what the offset of q adds
};

// Inputs [count, K], rounded to 16 bits, in the order of a format.
struct Inputs {
    long units;                    // of one input
    std::vector<i8x32> bytes;      // [count, units, vectors of a unit]
    std::vector<InputUnit> about;  // [count, units]
    std::vector<float> floats;     // [count, K], for weights of 16 or 32 bits
    PanelInputs panel;
};

#else

#include "wide.h"

// Inputs [count, K], rounded to 16 bits in chunks, in the order of a format. What a format
// has no use for is empty.
struct Inputs {
    long chunks, units;           // of one input
    std::vector<i16x32> words;    // [count, chunks, 4]
    std::vector<float> scales;    // [count, chunks]
    std::vector<i32x16> offsets;  // [count, chunks, sums]: what the offset of q adds
    std::vector<f32x16> sums;     // [count, units]: of the groups, in the lanes of shifts
    std::vector<float> floats;    // [count, K], for weights of 16 or 32 bits
    PanelInputs panel;
};

#endif

struct BlockFormat {
    long weights, bytes;  // of a block
    // Rounds inputs [count, K].
    void (*set)(const float *inputs, long count, long columns, Inputs &to);
    // Up to MAX_ROWS rows times all inputs: out [row_count, count].
    void (*dot)(const uint8_t *const *rows, long row_count, long columns, const Inputs &in,
                long count, float *out);
    // One row, dequantised.
    void (*decode)(const uint8_t *row, long columns, float *out);
    void (*decode_bf16)(const uint8_t *row, long columns, bf16 *out);

    long row_bytes(long columns) const { return columns / weights * bytes; }
};

static const long PANELS = 256;  // added to the number of a format whose rows are in panels

// The format with this number in GGUF files, or that of its panels.
BlockFormat format_of(long number);
BlockFormat panel_format_of(long number);

// Some of the rows of a matrix: [rows, K], in one format.
struct RowBlocks {
    const uint8_t *weights;
    long rows, format;
};
