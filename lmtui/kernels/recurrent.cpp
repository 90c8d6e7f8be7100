// Gated DeltaNet (Yang, Kautz & Hatamizadeh, "Gated Delta Networks", 2024), token by token,
// and the gated short convolutions of LFM2, in float32. Needs no macros.

#include "recurrent.h"

#include <vector>

#include "llama_ops.h"
#include "thread_pool.h"

static const long STRIP = 512;  // channels of a task

static inline void store(f32v all, float *to) { std::memcpy(to, &all, sizeof all); }

// The causal convolution: input(m, c) are those of token m in the channels from c on,
// take(m, c, sums) receives the results. Leaves the last inputs in the states.
template <typename Input, typename Take>
static void convolve(const Recurrent &layer, long rows, long tokens, float *states,
                     long stride, const Input &input, const Take &take) {
    const long channels = layer.channels, kept = layer.taps - 1;
    const long strips = (channels + STRIP - 1) / STRIP;
    ThreadPool::run(rows * strips, [&](long task) {
        const long row = task / strips, first = task % strips * STRIP;
        const long end = std::min(channels, first + STRIP);
        float *const state = states + row * stride;
        const auto input_at = [&](long t, long c) {
            return t < 0 ? load(state + (t + kept) * channels + c)
                         : input(row * tokens + t, c);
        };
        for (long t = 0; t < tokens; t++)
            for (long c = first; c < end; c += LANES) {
                f32v sums = {};
                for (long k = 0; k <= kept; k++)
                    sums = fmadd(load(layer.convolution + k * channels + c),
                                 input_at(t + k - kept, c), sums);
                take(row * tokens + t, c, sums);
            }
        for (long k = 0; k < kept; k++)
            for (long c = first; c < end; c += LANES)
                store(input_at(tokens + k - kept, c), state + k * channels + c);
    });
}

// scale · x / |x|: [size].
static void normalise(const float *x, long size, float scale, float *to) {
    f32v squares = {};
    for (long k = 0; k < size; k += LANES) squares = fmadd(load(x + k), load(x + k), squares);
    const float by = scale / std::sqrt(hsum(squares) + 1e-6f);
    for (long k = 0; k < size; k += LANES) store(load(x + k) * by, to + k);
}

// One token of a value head, in N vectors of its columns: the state S [size, columns]
// forgets, then learns beta · (value − key · S) at the key. out = query · S.
template <int N>
static void learn(const float *query, const float *key, long size, const float *value,
                  float decay, float beta, float *state, long columns, float *out) {
    f32v read[2][N] = {}, change[N], sums[N] = {};
    for (long k = 0; k < size; k += 2)
        for (int odd = 0; odd < 2; odd++)
            for (int v = 0; v < N; v++)
                read[odd][v] = fmadd(broadcast(key[k + odd]),
                                     load(state + (k + odd) * columns + v * LANES),
                                     read[odd][v]);
    for (int v = 0; v < N; v++)
        change[v] = (load(value + v * LANES) - decay * (read[0][v] + read[1][v])) * beta;
    for (long k = 0; k < size; k++)
        for (int v = 0; v < N; v++) {
            float *const at = state + k * columns + v * LANES;
            const f32v now = fmadd(broadcast(key[k]), change[v], load(at) * decay);
            store(now, at);
            sums[v] = fmadd(broadcast(query[k]), now, sums[v]);
        }
    for (int v = 0; v < N; v++) store(sums[v], out + v * LANES);
}

static void gated_delta(const Recurrent &layer, const float *projected, long rows,
                        long tokens, float *states, long stride, float *out) {
    const long heads = layer.value_heads, size = layer.key_width;
    const long columns = layer.value_width, channels = layer.channels;
    const long all = channels + heads * (columns + 2);
    static thread_local std::vector<float> convolved, unit;
    convolved.resize(rows * tokens * channels);
    float *const mixed = convolved.data();  // a thread_local name is each one's own

    // 1) Convolution and SiLU of queries, keys and values.
    convolve(
        layer, rows, tokens, states, stride,
        [&](long m, long c) { return load(projected + m * all + c); },
        [&](long m, long c, f32v sums) { store(silu(sums), mixed + m * channels + c); });

    ThreadPool::run(rows * heads, [&](long task) {
        const long row = task / heads, head = task % heads;
        float *const state = states + row * stride + (layer.taps - 1) * channels +
                             head * size * columns;
        unit.resize(2 * size);
        float *const query = unit.data(), *const key = query + size;
        for (long m = row * tokens; m < (row + 1) * tokens; m++) {
            // 2) Query and key of length 1, the former divided by the root of its size.
            const float *queries = mixed + m * channels + head % layer.key_heads * size;
            const float *keys = queries + layer.key_heads * size;
            normalise(queries, size, 1 / std::sqrt((float)size), query);
            normalise(keys, size, 1, key);
            // 3) How much of the state stays, and how much is learnt.
            const float *gates = projected + m * all + channels;
            const float *steps = gates + heads * columns;
            const float step = steps[heads + head] + layer.dt_bias[head];
            const float softplus = step > 20 ? step : std::log1p(std::exp(step));
            const float decay = std::exp(layer.decay[head] * softplus);
            const float beta = 1 / (1 + std::exp(-steps[head]));
            // 4) The state's change, and what the query reads of it.
            const long place = layer.place_of(head) * columns;
            const float *value = mixed + (m + 1) * channels - (heads - head) * columns;
            float *const to = out + m * heads * columns + place;
            long v = 0;
            for (; v + 4 * LANES <= columns; v += 4 * LANES)
                learn<4>(query, key, size, value + v, decay, beta, state + v, columns, to + v);
            for (; v < columns; v += LANES)
                learn<1>(query, key, size, value + v, decay, beta, state + v, columns, to + v);
            // 5) RMSNorm, times SiLU of the gates.
            const float by = std::sqrt((float)columns) /
                             rms_norm_denominator(to, columns, layer.epsilon);
            for (v = 0; v < columns; v += LANES)
                store(load(to + v) * by * load(layer.norm + v) *
                          silu(load(gates + head * columns + v)),
                      to + v);
        }
    });
}

static void short_convolution(const Recurrent &layer, const float *projected, long rows,
                              long tokens, float *states, long stride, float *out) {
    const long channels = layer.channels;
    const auto part = [&](long m, long index, long c) {
        return load(projected + (3 * m + index) * channels + c);
    };
    convolve(
        layer, rows, tokens, states, stride,
        [&](long m, long c) { return part(m, 0, c) * part(m, 2, c); },
        [&](long m, long c, f32v sums) {
            store(part(m, 1, c) * sums, out + m * channels + c);
        });
}

extern "C" void mix_recurrent(const Recurrent *recurrent, const float *projected, long rows,
                              long tokens, float *states, long stride, float *out) {
    const auto mix = recurrent->value_heads ? gated_delta : short_convolution;
    mix(*recurrent, projected, rows, tokens, states, stride, out);
}
