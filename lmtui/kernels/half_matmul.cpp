// Products of a few inputs with matrices of 16 bits, as a file of weights has them, and
// with what is added to them, in float32.
//
// Owns what is as fast as memory is: each weight is read once for up to eight inputs,
// widened, and multiplied in float32. The order of a sum depends on nothing but its
// length, so that an input finds the same, to the bit, alone or among others, by one
// thread or by many. Knows no model. N are rows, K columns.

#include "simd.h"

static const int MOST = 8;  // inputs that a row is multiplied with while it is read

// One of several matrices of the same inputs, one above the other: [rows, K].
struct Part {
    const void *weights;
    long rows;
};

// K numbers, lanes by lanes; what is missing of the last ones is 0.
template <typename Number>
static inline lanes last(const Number *from, long count) {
    Number filled[WIDE] = {};
    std::memcpy(filled, from, count * sizeof(Number));
    return widened(filled);
}

template <int COUNT, typename Weight>
static void multiply(const Weight *row, long columns, const float *inputs, float *found,
                     long stride) {
    const long whole = columns / WIDE * WIDE, left = columns - whole;
    lanes sums[COUNT] = {};
    for (long k = 0; k < whole; k += WIDE) {
        const lanes weight = widened(row + k);
        for (int i = 0; i < COUNT; i++)
            sums[i] = fused(weight, loaded(inputs + i * columns + k), sums[i]);
    }
    if (left) {
        const lanes weight = last(row + whole, left);
        for (int i = 0; i < COUNT; i++)
            sums[i] = fused(weight, last(inputs + i * columns + whole, left), sums[i]);
    }
    for (int i = 0; i < COUNT; i++) found[i * stride] = sum(sums[i]);
}

template <typename Weight>
static void multiply_all(const Weight *row, long columns, const float *inputs,
                         long count, float *found, long stride) {
    long i = 0;
    for (; i + MOST <= count; i += MOST)
        multiply<MOST>(row, columns, inputs + i * columns, found + i * stride, stride);
    inputs += i * columns;
    found += i * stride;
    switch (count - i) {
        case 7: return multiply<7>(row, columns, inputs, found, stride);
        case 6: return multiply<6>(row, columns, inputs, found, stride);
        case 5: return multiply<5>(row, columns, inputs, found, stride);
        case 4: return multiply<4>(row, columns, inputs, found, stride);
        case 3: return multiply<3>(row, columns, inputs, found, stride);
        case 2: return multiply<2>(row, columns, inputs, found, stride);
        case 1: return multiply<1>(row, columns, inputs, found, stride);
    }
}

template <typename Weight>
static void products(const Part *parts, long count, long columns, const long *places,
                     const float *inputs, long many, float *found) {
    long stride = 0;
    for (long p = 0; p < count; p++) stride += parts[p].rows;
#pragma omp parallel for schedule(static)
    for (long n = 0; n < stride; n++) {
        const Part *part = parts;
        long row = places ? places[n] : n;
        for (; row >= part->rows; part++) row -= part->rows;
        const Weight *weights = (const Weight *)part->weights + row * columns;
        multiply_all(weights, columns, inputs, many, found + n, stride);
    }
}

// Of inputs [many, K] with so many parts: [many, N]. Column n of it is that of the row
// `places[n]` of all parts; of the row n, where there are no places.
extern "C" void products_bfloat16(const Part *parts, long count, long columns,
                                  const long *places, const float *inputs, long many,
                                  float *found) {
    products<brief>(parts, count, columns, places, inputs, many, found);
}

extern "C" void products_float16(const Part *parts, long count, long columns,
                                 const long *places, const float *inputs, long many,
                                 float *found) {
    products<half>(parts, count, columns, places, inputs, many, found);
}

extern "C" void products_float32(const Part *parts, long count, long columns,
                                 const long *places, const float *inputs, long many,
                                 float *found) {
    products<float>(parts, count, columns, places, inputs, many, found);
}
