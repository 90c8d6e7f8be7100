// Parts of a Llama layer that need no weights of a matrix: SiLU, RMSNorm, RoPE.

#pragma once

#include "simd.h"

// The heads of attention: those of queries, and of keys or values, which `group` query
// heads share.
struct Heads {
    long query, kv, width;

    long all() const { return query + 2 * kv; }
    long group() const { return query / kv; }
};

// x · sigmoid(x), without overflow.
static inline f32v silu(f32v x) {
    const f32v power = exp_neg(x < 0 ? x : -x);
    return x * (x < 0 ? power : power - power + 1) / (1 + power);
}

// √(Σ x² + ε · width): √width times the denominator of RMSNorm. The weights of the norms
// contain that factor.
static inline float rms_norm_denominator(const float *x, long width, float epsilon) {
    f32v squares = {};
    for (long k = 0; k < width; k += LANES) {
        const f32v part = load(x + k);
        squares = fmadd(part, part, squares);
    }
    return std::sqrt(hsum(squares) + epsilon * width);
}

// RMSNorm, where `norm` [size] is given, and RoPE of one query or key head [size], in
// place. `rope` [size / 2, 2] holds the cosine and sine for each pair of numbers.
static inline void qk_norm_rope(float *head, long size, const float *norm,
                                const float *rope, float epsilon) {
    if (norm) {
        float square = 0;
        for (long k = 0; k < size; k++) square += head[k] * head[k];
        const float by = 1 / std::sqrt(square / size + epsilon);
        for (long k = 0; k < size; k++) head[k] *= by * norm[k];
    }
    for (long k = 0; k < size; k += 2) {
        const float real = head[k], imaginary = head[k + 1];
        head[k] = real * rope[k] - imaginary * rope[k + 1];
        head[k + 1] = real * rope[k + 1] + imaginary * rope[k];
    }
}
