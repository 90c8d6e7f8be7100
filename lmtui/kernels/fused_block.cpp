// From one attention to the next, for a few tokens: all that lies between them in a
// layer and the one that follows, in one go.
//
// Owns products with the matrices of torch's int4 kernel, in its order. A weight of 4
// bits is made a bfloat16 by two operations, 32 at a time, and then multiplied with as
// many inputs as there are; sums are float32 and in the same order for each input,
// alone or among others, by one thread or by many. That takes AVX512 with BF16 and
// VBMI. Knows no model: what it depends on is given where it is compiled, as `Plan` in
// crossing.py has it.

#include <vector>

#include "simd.h"

#if !defined(__AVX512BF16__) || !defined(__AVX512VBMI__)
#error "this processor lacks AVX512-BF16 or AVX512-VBMI"
#endif

typedef uint32_t pair;  // two numbers of bfloat16

static const long GROUPED = 32;  // columns that share a scale
static const long BLOCK = 64;    // rows that lie together
static const long WIDE_HEADS = HEADS + 2 * KV_HEADS;

static inline float widened_one(brief number) {
    const uint32_t bits = (uint32_t)number.bits << 16;
    float all;
    std::memcpy(&all, &bits, sizeof all);
    return all;
}

template <long ROWS, long COLUMNS, long BITS, long RANK>
struct Matrix {
    static const long rows = ROWS, columns = COLUMNS, rank = RANK;
    static const long groups = COLUMNS / GROUPED;    // of an input
    static const long every = BITS / 4 * groups;     // of a row: 8 bits are two halves
    static const long blocks = (ROWS + BLOCK - 1) / BLOCK;

    const uint8_t *weights;       // [blocks, every · GROUPED, BLOCK / 2]
    const brief *scales;          // [every, ROWS, 2]: the scale, and what 8 stands for
    const float *first, *second;  // what is added: [RANK, COLUMNS] and [ROWS, RANK]

    explicit Matrix(const void **&given) {
        weights = (const uint8_t *)*given++;
        scales = (const brief *)*given++;
        first = RANK ? (const float *)*given++ : nullptr;
        second = RANK ? (const float *)*given++ : nullptr;
    }
};

// What is multiplied with one matrix: [count, columns].
struct Inputs {
    std::vector<brief> numbers;
    std::vector<float> sums;  // of each group
    std::vector<float> low;   // [count, rank]: the products with `first`
    long count = 0;

    // `make` says what 16 numbers of an input are.
    template <typename M, typename Make>
    void set(const M &matrix, long inputs, const Make &make) {
        count = inputs;
        numbers.resize(count * M::columns);
        sums.resize(count * M::groups);
        low.resize(count * M::rank);
        for (long t = 0; t < count; t++) {
            brief *to = numbers.data() + t * M::columns;
            for (long g = 0; g < M::groups; g++) {
                lanes all = {};
                for (long k = g * GROUPED; k < (g + 1) * GROUPED; k += WIDE) {
                    const __m512 made = (__m512)make(t, k);
                    _mm256_storeu_si256((__m256i *)(to + k),
                                        (__m256i)_mm512_cvtneps_pbh(made));
                    all += widened(to + k);
                }
                sums[t * M::groups + g] = sum(all);
            }
            for (long r = 0; r < M::rank; r++) {
                lanes all = {};
                for (long k = 0; k < M::columns; k += WIDE)
                    all = fused(loaded(matrix.first + r * M::columns + k),
                                widened(to + k), all);
                low[t * M::rank + r] = sum(all);
            }
        }
    }
};

// Where the bytes of two columns come from that stand side by side, each of them twice:
// those of the first 16 rows of a block, or of the second.
struct Order {
    uint8_t places[2][64];

    Order() {
        for (int part = 0; part < 2; part++)
            for (int i = 0; i < 64; i++)
                places[part][i] = i / 2 % 2 * 32 + part * 16 + i / 4;
    }
};
static const Order ORDER;

// Products of N inputs, from input t on, with a whole block of rows.
template <int N, typename M>
static void block_of(const M &matrix, long first, const Inputs &in, long t,
                     float (*found)[BLOCK]) {
    // With these bits above it, a number of 4 bits is 128 more as a bfloat16: what 8
    // stands for is that of 136.
    const __m512i base = _mm512_set1_epi16(0x4300), nibble = _mm512_set1_epi16(15);
    const __m512i upper = _mm512_set1_epi32(0xFFFF0000);
    const __m512i one = _mm512_loadu_si512(ORDER.places[0]);
    const __m512i other = _mm512_loadu_si512(ORDER.places[1]);
    const uint8_t *weights = matrix.weights + first * M::every * GROUPED / 2;
    __m512 found_in[N][4] = {};
    for (long g = 0; g < M::every; g++) {
        const long group = g % M::groups;
        const pair *asked[N];
        for (int i = 0; i < N; i++)
            asked[i] = (const pair *)&in.numbers[(t + i) * M::columns + group * GROUPED];
        __m512 sums[N][4] = {};
        for (long k = 0; k < GROUPED / 2; k++, weights += BLOCK) {
            const __m512i both = _mm512_loadu_si512(weights);
            const __m512i a = _mm512_permutexvar_epi8(one, both);
            const __m512i b = _mm512_permutexvar_epi8(other, both);
            const __m512i four[4] = {a, b, _mm512_srli_epi16(a, 4),
                                     _mm512_srli_epi16(b, 4)};
            for (int v = 0; v < 4; v++) {
                const __m512bh numbers =  // (four & nibble) | base
                    (__m512bh)_mm512_ternarylogic_epi32(four[v], nibble, base, 0xEA);
                for (int i = 0; i < N; i++)
                    sums[i][v] = _mm512_dpbf16_ps(
                        sums[i][v], numbers, (__m512bh)_mm512_set1_epi32(asked[i][k]));
            }
        }
        const brief *scales = matrix.scales + (g * M::rows + first) * 2;
        for (int v = 0; v < 4; v++) {
            const __m512i both = _mm512_loadu_si512(scales + v * 2 * WIDE);
            const __m512 scale = (__m512)_mm512_slli_epi32(both, 16);
            const __m512 shift = _mm512_fnmadd_ps(
                scale, _mm512_set1_ps(136), (__m512)_mm512_and_si512(both, upper));
            for (int i = 0; i < N; i++) {
                const __m512 all = _mm512_set1_ps(in.sums[(t + i) * M::groups + group]);
                found_in[i][v] = _mm512_fmadd_ps(scale, sums[i][v], found_in[i][v]);
                found_in[i][v] = _mm512_fmadd_ps(shift, all, found_in[i][v]);
            }
        }
    }
    std::memcpy(found, found_in, sizeof found_in);
}

// The same for the last rows, where they are fewer: two that are neighbours share a
// byte. One by one, since no large model has any.
template <typename M>
static void rest_of(const M &matrix, long first, const Inputs &in, long t, float *found) {
    const long size = M::rows - first;
    const uint8_t *weights = matrix.weights + first * M::every * GROUPED / 2;
    for (long n = 0; n < size; n++) {
        found[n] = 0;
        for (long g = 0; g < M::every; g++) {
            const long group = g % M::groups;
            float total = 0;
            for (long k = 0; k < GROUPED; k++) {
                const uint8_t two = weights[((g * GROUPED + k) * size + n) / 2];
                const brief *asked = &in.numbers[t * M::columns + group * GROUPED];
                total += widened_one(asked[k]) * ((n % 2 ? two >> 4 : two & 15) - 8);
            }
            const brief *scales = matrix.scales + (g * M::rows + first + n) * 2;
            found[n] += widened_one(scales[0]) * total +
                        widened_one(scales[1]) * in.sums[t * M::groups + group];
        }
    }
}

template <int N, typename M, typename Use>
static void some(const M &matrix, long block, const Inputs &in, long t, const Use &use) {
    const long first = block * BLOCK, size = std::min(BLOCK, M::rows - first);
    float found[N][BLOCK];
    if (size == BLOCK)
        block_of<N>(matrix, first, in, t, found);
    else
        for (int i = 0; i < N; i++) rest_of(matrix, first, in, t + i, found[i]);
    for (int i = 0; i < N; i++)
        for (long n = 0; n < size; n++) {
            for (long r = 0; r < M::rank; r++)
                found[i][n] += matrix.second[(first + n) * M::rank + r] *
                               in.low[(t + i) * M::rank + r];
            use(t + i, first + n, found[i][n]);
        }
}

// `use` gets each product: of which input, with which row, and the product.
template <typename M, typename Use>
static void multiply(const M &matrix, const Inputs &in, const Use &use) {
#pragma omp for schedule(static)
    for (long block = 0; block < M::blocks; block++) {
        long t = 0;
        for (; t + 4 <= in.count; t += 4) some<4>(matrix, block, in, t, use);
        if (in.count - t == 3) some<3>(matrix, block, in, t, use);
        if (in.count - t == 2) some<2>(matrix, block, in, t, use);
        if (in.count - t == 1) some<1>(matrix, block, in, t, use);
    }
}

static inline lanes silu(lanes x) {
    const lanes power = exponential(x < 0 ? x : -x);
    return x * (x < 0 ? power : power - power + 1) / (1 + power);
}

static float norm_of(const float *state) {  // times the root of the width
    lanes squares = {};
    for (long k = 0; k < WIDTH; k += WIDE) {
        const lanes some = loaded(state + k);
        squares = fused(some, some, squares);
    }
    return std::sqrt(sum(squares) + (float)(EPSILON * WIDTH));
}

// Queries or keys of one head: normalised, where there is a weight for that, and turned.
static void turn(float *head, const float *weight, const float *turns) {
    if (weight) {
        float square = 0;
        for (long k = 0; k < HEAD; k++) square += head[k] * head[k];
        const float by = 1 / std::sqrt(square / HEAD + (float)EPSILON);
        for (long k = 0; k < HEAD; k++) head[k] *= by * weight[k];
    }
    for (long k = 0; k < HEAD; k += 2) {
        const float real = head[k], imaginary = head[k + 1];
        head[k] = real * turns[k] - imaginary * turns[k + 1];
        head[k + 1] = real * turns[k + 1] + imaginary * turns[k];
    }
}

// `given` are what `Crossing` takes, in its order, then room for what it answers with:
// the state and the heads.
extern "C" void cross(const void **given, long tokens) {
    const float *before = (const float *)*given++, *seen = (const float *)*given++;
    const float *turns = (const float *)*given++, *feed_norm = (const float *)*given++;
    const float *attention_norm = (const float *)*given++;
    const Matrix<WIDTH, HEADS * HEAD, OUT_BITS, OUT_RANK> out(given);
    const Matrix<2 * FEED, WIDTH, GATE_UP_BITS, GATE_UP_RANK> gate_up(given);
    const Matrix<WIDTH, FEED, DOWN_BITS, DOWN_RANK> down(given);
    const Matrix<WIDE_HEADS * HEAD, WIDTH, QKV_BITS, QKV_RANK> qkv(given);
    const float *bias = HAS_BIAS ? (const float *)*given++ : nullptr;
    const float *q_norm = HAS_HEAD_NORMS ? (const float *)*given++ : nullptr;
    const float *k_norm = HAS_HEAD_NORMS ? (const float *)*given++ : nullptr;
    float *state = (float *)*given++, *heads = (float *)*given++;
    std::vector<float> both(tokens * 2 * FEED);  // gate and up

#pragma omp parallel
    {
        // Each thread makes all inputs for itself: that is less than to wait for others.
        static thread_local Inputs in;
        static thread_local std::vector<float> norms;
        norms.resize(tokens);
        in.set(out, tokens,
               [&](long t, long k) { return loaded(seen + t * HEADS * HEAD + k); });
        multiply(out, in, [&](long t, long n, float product) {
            state[t * WIDTH + n] = before[t * WIDTH + n] + product;
        });

        for (long t = 0; t < tokens; t++) norms[t] = norm_of(state + t * WIDTH);
        in.set(gate_up, tokens, [&](long t, long k) {
            return loaded(state + t * WIDTH + k) / norms[t] * loaded(feed_norm + k);
        });
        multiply(gate_up, in, [&](long t, long n, float product) {
            both[t * 2 * FEED + n] = product;
        });

        in.set(down, tokens, [&](long t, long k) {
            const float *gate = both.data() + t * 2 * FEED + k;
            return silu(loaded(gate)) * loaded(gate + FEED);
        });
        multiply(down, in, [&](long t, long n, float product) {
            state[t * WIDTH + n] += product;
        });

        for (long t = 0; t < tokens; t++) norms[t] = norm_of(state + t * WIDTH);
        in.set(qkv, tokens, [&](long t, long k) {
            return loaded(state + t * WIDTH + k) * loaded(attention_norm + k);
        });
        multiply(qkv, in, [&](long t, long n, float product) {
            heads[t * WIDE_HEADS * HEAD + n] = product / norms[t] + (bias ? bias[n] : 0);
        });
#pragma omp for schedule(static)
        for (long i = 0; i < tokens * (HEADS + KV_HEADS); i++) {
            const long t = i / (HEADS + KV_HEADS), head = i % (HEADS + KV_HEADS);
            turn(heads + (t * WIDE_HEADS + head) * HEAD, head < HEADS ? q_norm : k_norm,
                 turns + t * HEAD);
        }
    }
}
