// Parts of a Llama layer that need no weights of a matrix: SiLU and GELU, RMSNorm, RoPE.

#pragma once

#include "simd.h"

// The heads of a layer's attention: those of queries, of keys or values, which `group`
// query heads share, and of gates: as many as queries where the outputs have some, else
// none. A layer that `borrows` has no keys and values of its own, but another layer's. A
// token sees the last `window` positions, its own included.
struct Heads {
    long query, kv, width, gates, borrows, window;

    long own_kv() const { return borrows ? 0 : kv; }
    long all() const { return query + 2 * own_kv() + gates; }
    long group() const { return query / kv; }
};

// x · sigmoid(y), without overflow.
static inline f32v times_sigmoid(f32v x, f32v y) {
    const f32v power = exp_neg(y < 0 ? y : -y);
    return x * (y < 0 ? power : power - power + 1) / (1 + power);
}
static inline f32v silu(f32v x) { return times_sigmoid(x, x); }
// GELU by tanh: 0.5 · (1 + tanh(y)) is sigmoid(2 · y).
static inline f32v gelu(f32v x) {
    return times_sigmoid(x, 1.5957691216f * (x + 0.044715f * x * x * x));
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

// hidden [width] = residual + scale · RMSNorm(output), with the weights `norm`.
static inline void add_normed(const float *output, const float *norm, long width,
                              float epsilon, float scale, const float *residual,
                              float *hidden) {
    const float denominator = rms_norm_denominator(output, width, epsilon);
    for (long k = 0; k < width; k++)
        hidden[k] = residual[k] + scale * (output[k] / denominator * norm[k]);
}

// RMSNorm of one head [size], or of several at once, in place.
static inline void head_norm(float *head, long size, const float *norm, float epsilon) {
    float square = 0;
    for (long k = 0; k < size; k++) square += head[k] * head[k];
    const float by = 1 / std::sqrt(square / size + epsilon);
    for (long k = 0; k < size; k++) head[k] *= by * norm[k];
}

// RoPE of one query or key head [size], in place. `rope` [size / 2, 2] holds the cosine and
// sine for each pair of numbers, which may be scaled.
static inline void turn(float *head, long size, const float *rope) {
    for (long k = 0; k < size; k += 2) {
        const float real = head[k], imaginary = head[k + 1];
        head[k] = real * rope[k] - imaginary * rope[k + 1];
        head[k + 1] = real * rope[k + 1] + imaginary * rope[k];
    }
}
