// Sums over the vocabulary of rows of logits: what log-probabilities, entropy and a
// sampler's probabilities need. Exponentials are float32, sums are float64. Needs no
// macros.

#include <vector>

#include "simd.h"
#include "thread_pool.h"

static const float LEAST = -104;  // in place of -inf: e^x is 0, and 0 · x is 0

typedef float f32half __attribute__((vector_size(2 * LANES)));
typedef double f64half __attribute__((vector_size(4 * LANES)));

// LANES numbers of float64.
struct Wide {
    f64half low, high;

    static Wide of(f32v all) {
        f32half parts[2];
        std::memcpy(parts, &all, sizeof all);
        return {__builtin_convertvector(parts[0], f64half),
                __builtin_convertvector(parts[1], f64half)};
    }
    double sum() const {
        const f64half both = low + high;
        double all = 0;
        for (long i = 0; i < LANES / 2; i++) all += both[i];
        return all;
    }
};
static inline Wide operator+(Wide a, Wide b) { return {a.low + b.low, a.high + b.high}; }
static inline Wide operator*(Wide a, Wide b) { return {a.low * b.low, a.high * b.high}; }

// Calls take(x) for all numbers of a row, LANES at a time; `rest` fills up the last ones.
template <typename Take>
static void each(const float *row, long size, float rest, const Take &take) {
    long k = 0;
    for (; k + LANES <= size; k += LANES) take(load(row + k));
    if (k == size) return;
    float last[LANES];
    std::fill_n(last, LANES, rest);
    std::copy_n(row + k, size - k, last);
    take(load(last));
}

// The greatest number; NaN where one is, or where it is not finite.
static float greatest_of(const float *row, long size) {
    f32v most = broadcast(NEG_INF);
    i32v usual = i32v{} - 1;
    each(row, size, NEG_INF, [&](f32v x) {
        most = most > x ? most : x;
        usual &= x == x;
    });
    float greatest = NEG_INF;
    bool is_usual = true;
    for (int i = 0; i < LANES; i++) {
        greatest = std::max(greatest, most[i]);
        is_usual &= usual[i] != 0;
    }
    return is_usual && std::isfinite(greatest) ? greatest : NAN;
}

// Calls take(e^x, x) for x = (number - greatest) / temperature of all numbers of a row;
// returns the greatest.
template <typename Take>
static double each_exponential(const float *row, long size, float temperature,
                               const Take &take) {
    const float greatest = greatest_of(row, size);
    each(row, size, NEG_INF, [&](f32v x) {
        const f32v below = (x - greatest) / temperature;
        const f32v kept = below > LEAST ? below : broadcast(LEAST);
        take(exp_neg(kept), kept);
    });
    return greatest;
}

// rows [count, size] -> of each log Σ e^x, and mean and variance of how far x is below it,
// weighted by e^x: [count, 3]; NaN where a row is no distribution.
extern "C" void logits_moments(const float *rows, long count, long size, double *out) {
    ThreadPool::run(count, [&](long n) {
        const float *row = rows + n * size;
        Wide sum = {}, first = {}, second = {};
        const double greatest = each_exponential(row, size, 1, [&](f32v exponential, f32v x) {
            const Wide e = Wide::of(exponential), below = Wide::of(x), product = e * below;
            sum = sum + e, first = first + product, second = second + product * below;
        });
        const double total = sum.sum(), mean = first.sum() / total;
        const double variance = std::max(0.0, second.sum() / total - mean * mean);
        const double log_total = std::log(total), nothing = greatest - greatest;  // or NaN
        out[3 * n] = greatest + log_total;
        out[3 * n + 1] = nothing + log_total - mean;
        out[3 * n + 2] = nothing + variance;
    });
}

// row [size] -> log Σ e^((x - greatest) / temperature).
extern "C" void logits_total(const float *row, long size, float temperature, double *out) {
    Wide sum = {};
    const double greatest =
        each_exponential(row, size, temperature,
                         [&](f32v exponential, f32v) { sum = sum + Wide::of(exponential); });
    *out = greatest - greatest + std::log(sum.sum());
}
