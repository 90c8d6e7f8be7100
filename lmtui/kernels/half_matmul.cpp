// Product of a few float32 inputs with 16-bit or float32 weights, read as a weight file
// stores them: out [m, N] = inputs [m, K] · Wᵀ, with W [N, K].
//
// W is a list of row blocks [rows, K], one above the other. Each weight is read once for
// up to MAX_INPUTS inputs, widened to float32 and multiplied with FMA. The order of each
// sum depends on K alone, so an output has the same bits whatever the number of inputs
// or threads. Needs no compile-time macros.

#include "simd.h"
#include "thread_pool.h"

static const int MAX_INPUTS = 8;  // inputs that share one read of a row
static const long ROWS = 32;      // that a thread claims at once

// Some of the rows of W: [rows, K].
struct RowBlock {
    const void *weights;
    long rows;
};

// The last `count` < LANES of K numbers, filled up with zeros.
template <typename Number>
static inline f32v load_tail(const Number *from, long count) {
    Number filled[LANES] = {};
    std::memcpy(filled, from, count * sizeof(Number));
    return to_f32(filled);
}

// One row of W times COUNT inputs [COUNT, K]; out[i · stride] is the product with input i.
template <int COUNT, typename Weight>
static void dot_row(const Weight *row, long columns, const float *inputs, float *out,
                    long stride) {
    const long full = columns / LANES * LANES, tail = columns - full;
    f32v sums[COUNT] = {};
    for (long k = 0; k < full; k += LANES) {
        const f32v weight = to_f32(row + k);
        for (int i = 0; i < COUNT; i++)
            sums[i] = fmadd(weight, load(inputs + i * columns + k), sums[i]);
    }
    if (tail) {
        const f32v weight = load_tail(row + full, tail);
        for (int i = 0; i < COUNT; i++)
            sums[i] = fmadd(weight, load_tail(inputs + i * columns + full, tail), sums[i]);
    }
    for (int i = 0; i < COUNT; i++) out[i * stride] = hsum(sums[i]);
}

// The same for any number of inputs, MAX_INPUTS at a time.
template <typename Weight>
static void dot_row_all(const Weight *row, long columns, const float *inputs, long count,
                        float *out, long stride) {
    long i = 0;
    for (; i + MAX_INPUTS <= count; i += MAX_INPUTS)
        dot_row<MAX_INPUTS>(row, columns, inputs + i * columns, out + i * stride, stride);
    inputs += i * columns;
    out += i * stride;
    switch (count - i) {
        case 7: return dot_row<7>(row, columns, inputs, out, stride);
        case 6: return dot_row<6>(row, columns, inputs, out, stride);
        case 5: return dot_row<5>(row, columns, inputs, out, stride);
        case 4: return dot_row<4>(row, columns, inputs, out, stride);
        case 3: return dot_row<3>(row, columns, inputs, out, stride);
        case 2: return dot_row<2>(row, columns, inputs, out, stride);
        case 1: return dot_row<1>(row, columns, inputs, out, stride);
    }
}

template <typename Weight>
static void half_matmul(const RowBlock *blocks, long block_count, long columns,
                        const long *row_index, const float *inputs, long input_count,
                        float *out) {
    long rows = 0;
    for (long b = 0; b < block_count; b++) rows += blocks[b].rows;
    ThreadPool::run((rows + ROWS - 1) / ROWS, [&](long chunk) {
        for (long n = chunk * ROWS; n < std::min(rows, (chunk + 1) * ROWS); n++) {
            // 1) Find the block of row n, and the row in it.
            const RowBlock *block = blocks;
            long row = row_index ? row_index[n] : n;
            for (; row >= block->rows; block++) row -= block->rows;
            // 2) Column n of the output: that row times all inputs.
            const Weight *weights = (const Weight *)block->weights + row * columns;
            dot_row_all(weights, columns, inputs, input_count, out + n, rows);
        }
    });
}

// inputs [input_count, K] -> out [input_count, N], one function for each weight format.
// Output column n is the product with row row_index[n] of W, or with row n where
// row_index is null.
extern "C" void half_matmul_bf16(const RowBlock *blocks, long block_count, long columns,
                                 const long *row_index, const float *inputs,
                                 long input_count, float *out) {
    half_matmul<bf16>(blocks, block_count, columns, row_index, inputs, input_count, out);
}

extern "C" void half_matmul_fp16(const RowBlock *blocks, long block_count, long columns,
                                 const long *row_index, const float *inputs,
                                 long input_count, float *out) {
    half_matmul<fp16>(blocks, block_count, columns, row_index, inputs, input_count, out);
}

extern "C" void half_matmul_f32(const RowBlock *blocks, long block_count, long columns,
                                const long *row_index, const float *inputs,
                                long input_count, float *out) {
    half_matmul<float>(blocks, block_count, columns, row_index, inputs, input_count, out);
}
