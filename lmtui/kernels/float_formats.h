// Weights of 16 or 32 bits as they are stored, as formats whose block is one weight. Inputs
// are not rounded: each product is float32, by FMA. Columns are a multiple of LANES.

#pragma once

#include "gguf_formats.h"

static const int SHARED_INPUTS = 8;  // inputs that share one read of a row

static inline void set_floats(const float *inputs, long count, long columns, Inputs &to) {
    to.floats.assign(inputs, inputs + count * columns);
}

// One row times COUNT inputs. The order of each sum depends on the columns alone.
template <int COUNT, typename Weight>
static void dot_float(const Weight *row, long columns, const float *inputs, float *out) {
    f32v sums[COUNT] = {};
    for (long k = 0; k < columns; k += LANES) {
        const f32v weight = to_f32(row + k);
        for (int i = 0; i < COUNT; i++)
            sums[i] = fmadd(weight, load(inputs + i * columns + k), sums[i]);
    }
    for (int i = 0; i < COUNT; i++) out[i] = hsum(sums[i]);
}

template <typename Weight>
static void dot_floats(const uint8_t *const *rows, long row_count, long columns,
                       const Inputs &in, long count, float *out) {
    for (long i = 0; i < count; i += SHARED_INPUTS)
        for (long r = 0; r < row_count; r++) {
            const auto call = [&](auto dot) {
                dot((const Weight *)rows[r], columns, in.floats.data() + i * columns,
                    out + r * count + i);
            };
            switch (count - i) {
                case 1: call(dot_float<1, Weight>); break;
                case 2: call(dot_float<2, Weight>); break;
                case 3: call(dot_float<3, Weight>); break;
                case 4: call(dot_float<4, Weight>); break;
                case 5: call(dot_float<5, Weight>); break;
                case 6: call(dot_float<6, Weight>); break;
                case 7: call(dot_float<7, Weight>); break;
                default: call(dot_float<SHARED_INPUTS, Weight>);
            }
        }
}

template <typename Weight>
static void decode_floats(const uint8_t *row, long columns, float *out) {
    for (long k = 0; k < columns; k += LANES) {
        const f32v all = to_f32((const Weight *)row + k);
        std::memcpy(out + k, &all, sizeof all);
    }
}

// To nearest, ties to even. Bits of float16 and float32 are lost, of bfloat16 none.
template <typename Weight>
static void round_floats(const uint8_t *row, long columns, bf16 *out) {
    typedef uint16_t u16v __attribute__((vector_size(2 * LANES)));
    for (long k = 0; k < columns; k += LANES) {
        const i32v rounded = round_to_bf16<i32v>(to_f32((const Weight *)row + k));
        const u16v upper = __builtin_convertvector(rounded >> 16, u16v);
        std::memcpy(out + k, &upper, sizeof upper);
    }
}

template <typename Weight>
static BlockFormat float_format() {
    return {1,
            sizeof(Weight),
            set_floats,
            dot_floats<Weight>,
            decode_floats<Weight>,
            round_floats<Weight>};
}
