// From the attention of one Llama layer to that of the next, for a few tokens, in one
// call: o_proj and residual, RMSNorm, FFN (SwiGLU) and residual, RMSNorm, QKV, RoPE.
//
// hidden [t, WIDTH] and attention output [t, HEADS·HEAD] -> hidden [t, WIDTH] and
// qkv [t, QKV_HEADS, HEAD]. Weights are int4 in groups of 32, packed for torch's
// _weight_int4pack_mm_for_cpu; two operations turn a nibble into a bfloat16. Sums are
// float32, in an order that depends on neither the other tokens nor the threads. Needs
// AVX512-BF16 and AVX512-VBMI. Compile-time macros: those of BlockShape.sizes.

#include <vector>

#include "llama_ops.h"

#if !defined(__AVX512BF16__) || !defined(__AVX512VBMI__)
#error "this processor lacks AVX512-BF16 or AVX512-VBMI"
#endif

typedef uint32_t bf16x2;  // two bfloat16 numbers

static const long GROUP_SIZE = 32;  // columns that share a scale
static const long BLOCK = 64;       // rows that are packed together
static const long QKV_HEADS = HEADS + 2 * KV_HEADS;

static inline float bf16_to_f32(bf16 number) {
    const uint32_t bits = (uint32_t)number.bits << 16;
    float all;
    std::memcpy(&all, &bits, sizeof all);
    return all;
}

// A packed matrix [ROWS, COLUMNS] of 4 bits, or of 8 bits, which are two matrices of
// 4 bits side by side, for the same inputs. RANK is the rank of its LoRA, 0 for none.
template <long ROWS, long COLUMNS, long BITS, long RANK>
struct Matrix {
    static const long rows = ROWS, columns = COLUMNS, rank = RANK;
    static const long groups = COLUMNS / GROUP_SIZE;      // of an input
    static const long packed_groups = BITS / 4 * groups;  // of a row
    static const long blocks = (ROWS + BLOCK - 1) / BLOCK;

    const uint8_t *weights;        // [blocks, packed_groups · GROUP_SIZE, BLOCK / 2]
    const bf16 *scales;            // [packed_groups, ROWS, 2]: scale, value of nibble 8
    const float *lora_a, *lora_b;  // [RANK, COLUMNS] and [ROWS, RANK]

    explicit Matrix(const void **&args) {
        weights = (const uint8_t *)*args++;
        scales = (const bf16 *)*args++;
        lora_a = RANK ? (const float *)*args++ : nullptr;
        lora_b = RANK ? (const float *)*args++ : nullptr;
    }
};

// The inputs of one matrix product: [count, columns].
struct Inputs {
    std::vector<bf16> x;            // [count, columns]
    std::vector<float> group_sums;  // [count, groups]
    std::vector<float> lora_low;    // [count, rank]: the products with lora_a
    long count = 0;

    // load_input(t, k) returns 16 floats of input t, from column k on.
    template <typename M, typename LoadInput>
    void set(const M &matrix, long inputs, const LoadInput &load_input) {
        count = inputs;
        x.resize(count * M::columns);
        group_sums.resize(count * M::groups);
        lora_low.resize(count * M::rank);
        for (long t = 0; t < count; t++) {
            bf16 *to = x.data() + t * M::columns;
            for (long g = 0; g < M::groups; g++) {
                f32v sum = {};
                for (long k = g * GROUP_SIZE; k < (g + 1) * GROUP_SIZE; k += LANES) {
                    const __m512 input = (__m512)load_input(t, k);
                    _mm256_storeu_si256((__m256i *)(to + k),
                                        (__m256i)_mm512_cvtneps_pbh(input));
                    sum += to_f32(to + k);
                }
                group_sums[t * M::groups + g] = hsum(sum);
            }
            for (long r = 0; r < M::rank; r++) {
                f32v sum = {};
                for (long k = 0; k < M::columns; k += LANES)
                    sum = fmadd(load(matrix.lora_a + r * M::columns + k), to_f32(to + k),
                                sum);
                lora_low[t * M::rank + r] = hsum(sum);
            }
        }
    }
};

// Byte indices that place the bytes of two adjacent columns side by side, each of them
// twice: index[0] for the first 16 byte rows of a block, index[1] for the other 16.
struct Shuffle {
    uint8_t index[2][64];

    Shuffle() {
        for (int half = 0; half < 2; half++)
            for (int i = 0; i < 64; i++)
                index[half][i] = i / 2 % 2 * 32 + half * 16 + i / 4;
    }
};
static const Shuffle SHUFFLE;

// N inputs, from input t on, times a full block of rows, from row `first` on: out
// [N, BLOCK].
template <int N, typename M>
static void dot_full_block(const M &matrix, long first, const Inputs &in, long t,
                           float (*out)[BLOCK]) {
    // A nibble n with 0x4300 above it is the bfloat16 number 128 + n. Nibbles count from
    // 8, so 136 is subtracted again when the sums are dequantised.
    const __m512i base = _mm512_set1_epi16(0x4300), nibble = _mm512_set1_epi16(15);
    const __m512i upper = _mm512_set1_epi32(0xFFFF0000);
    const __m512i shuffle_a = _mm512_loadu_si512(SHUFFLE.index[0]);
    const __m512i shuffle_b = _mm512_loadu_si512(SHUFFLE.index[1]);
    const uint8_t *weights = matrix.weights + first * M::packed_groups * GROUP_SIZE / 2;
    __m512 acc[N][4] = {};
    for (long g = 0; g < M::packed_groups; g++) {
        // 1) Sum x · (128 + n) over the group, two columns and 16 rows at a time.
        const long group = g % M::groups;
        const bf16x2 *x[N];
        for (int i = 0; i < N; i++)
            x[i] = (const bf16x2 *)&in.x[(t + i) * M::columns + group * GROUP_SIZE];
        __m512 sums[N][4] = {};
        for (long k = 0; k < GROUP_SIZE / 2; k++, weights += BLOCK) {
            const __m512i both = _mm512_loadu_si512(weights);
            const __m512i a = _mm512_permutexvar_epi8(shuffle_a, both);
            const __m512i b = _mm512_permutexvar_epi8(shuffle_b, both);
            const __m512i four[4] = {a, b, _mm512_srli_epi16(a, 4),
                                     _mm512_srli_epi16(b, 4)};
            for (int v = 0; v < 4; v++) {
                const __m512bh numbers =  // (four & nibble) | base
                    (__m512bh)_mm512_ternarylogic_epi32(four[v], nibble, base, 0xEA);
                for (int i = 0; i < N; i++)
                    sums[i][v] = _mm512_dpbf16_ps(
                        sums[i][v], numbers, (__m512bh)_mm512_set1_epi32(x[i][k]));
            }
        }
        // 2) Dequantise: acc += scale · sums + (value of 8 - 136 · scale) · sum of x.
        const bf16 *scales = matrix.scales + (g * M::rows + first) * 2;
        for (int v = 0; v < 4; v++) {
            const __m512i both = _mm512_loadu_si512(scales + v * 2 * LANES);
            const __m512 scale = (__m512)_mm512_slli_epi32(both, 16);
            const __m512 shift = _mm512_fnmadd_ps(
                scale, _mm512_set1_ps(136), (__m512)_mm512_and_si512(both, upper));
            for (int i = 0; i < N; i++) {
                const __m512 x_sum =
                    _mm512_set1_ps(in.group_sums[(t + i) * M::groups + group]);
                acc[i][v] = _mm512_fmadd_ps(scale, sums[i][v], acc[i][v]);
                acc[i][v] = _mm512_fmadd_ps(shift, x_sum, acc[i][v]);
            }
        }
    }
    std::memcpy(out, acc, sizeof acc);
}

// Input t times the last, partial block of rows: out [ROWS - first]. Here two adjacent
// rows share a byte. Scalar code, since no large model has such a block.
template <typename M>
static void dot_partial_block(const M &matrix, long first, const Inputs &in, long t,
                              float *out) {
    const long size = M::rows - first;
    const uint8_t *weights = matrix.weights + first * M::packed_groups * GROUP_SIZE / 2;
    for (long n = 0; n < size; n++) {
        out[n] = 0;
        for (long g = 0; g < M::packed_groups; g++) {
            const long group = g % M::groups;
            float sum = 0;
            for (long k = 0; k < GROUP_SIZE; k++) {
                const uint8_t two = weights[((g * GROUP_SIZE + k) * size + n) / 2];
                const bf16 *x = &in.x[t * M::columns + group * GROUP_SIZE];
                sum += bf16_to_f32(x[k]) * ((n % 2 ? two >> 4 : two & 15) - 8);
            }
            const bf16 *scales = matrix.scales + (g * M::rows + first + n) * 2;
            out[n] += bf16_to_f32(scales[0]) * sum +
                      bf16_to_f32(scales[1]) * in.group_sums[t * M::groups + group];
        }
    }
}

// N inputs, from input t on, times one block of rows, plus the LoRA product.
template <int N, typename M, typename Epilogue>
static void matmul_block(const M &matrix, long block, const Inputs &in, long t,
                         const Epilogue &epilogue) {
    const long first = block * BLOCK, size = std::min(BLOCK, M::rows - first);
    float out[N][BLOCK];
    if (size == BLOCK)
        dot_full_block<N>(matrix, first, in, t, out);
    else
        for (int i = 0; i < N; i++) dot_partial_block(matrix, first, in, t + i, out[i]);
    for (int i = 0; i < N; i++)
        for (long n = 0; n < size; n++) {
            for (long r = 0; r < M::rank; r++)
                out[i][n] += matrix.lora_b[(first + n) * M::rank + r] *
                             in.lora_low[(t + i) * M::rank + r];
            epilogue(t + i, first + n, out[i][n]);
        }
}

// All inputs times all rows, inside a parallel region. epilogue(t, n, product) receives
// the product of input t with row n.
template <typename M, typename Epilogue>
static void matmul(const M &matrix, const Inputs &in, const Epilogue &epilogue) {
#pragma omp for schedule(static)
    for (long block = 0; block < M::blocks; block++) {
        long t = 0;
        for (; t + 4 <= in.count; t += 4) matmul_block<4>(matrix, block, in, t, epilogue);
        if (in.count - t == 3) matmul_block<3>(matrix, block, in, t, epilogue);
        if (in.count - t == 2) matmul_block<2>(matrix, block, in, t, epilogue);
        if (in.count - t == 1) matmul_block<1>(matrix, block, in, t, epilogue);
    }
}

// `args` are the inputs of FusedBlock.forward in its order, then the two outputs:
// hidden [tokens, WIDTH] and qkv [tokens, QKV_HEADS, HEAD].
extern "C" void fused_block(const void **args, long tokens) {
    const float *residual = (const float *)*args++;        // [tokens, WIDTH]
    const float *attention_out = (const float *)*args++;   // [tokens, HEADS · HEAD]
    const float *rope = (const float *)*args++;            // [tokens, HEAD / 2, 2]
    const float *ffn_norm = (const float *)*args++;        // [WIDTH]
    const float *attention_norm = (const float *)*args++;  // [WIDTH], of the next layer
    const Matrix<WIDTH, HEADS * HEAD, OUT_BITS, OUT_RANK> o_proj(args);
    const Matrix<2 * FFN, WIDTH, GATE_UP_BITS, GATE_UP_RANK> gate_up_proj(args);
    const Matrix<WIDTH, FFN, DOWN_BITS, DOWN_RANK> down_proj(args);
    const Matrix<QKV_HEADS * HEAD, WIDTH, QKV_BITS, QKV_RANK> qkv_proj(args);
    const float *bias = HAS_BIAS ? (const float *)*args++ : nullptr;
    const float *q_norm = HAS_HEAD_NORMS ? (const float *)*args++ : nullptr;
    const float *k_norm = HAS_HEAD_NORMS ? (const float *)*args++ : nullptr;
    float *hidden = (float *)*args++, *qkv = (float *)*args++;
    std::vector<float> gate_up(tokens * 2 * FFN);

#pragma omp parallel
    {
        // Each thread prepares all inputs for itself: that is cheaper than a barrier.
        static thread_local Inputs in;
        static thread_local std::vector<float> norms;
        norms.resize(tokens);

        // 1) o_proj and residual: hidden [tokens, WIDTH].
        in.set(o_proj, tokens, [&](long t, long k) {
            return load(attention_out + t * HEADS * HEAD + k);
        });
        matmul(o_proj, in, [&](long t, long n, float product) {
            hidden[t * WIDTH + n] = residual[t * WIDTH + n] + product;
        });

        // 2) RMSNorm, then gate and up projection: gate_up [tokens, 2 · FFN].
        for (long t = 0; t < tokens; t++)
            norms[t] = rms_norm_denominator(hidden + t * WIDTH, WIDTH, EPSILON);
        in.set(gate_up_proj, tokens, [&](long t, long k) {
            return load(hidden + t * WIDTH + k) / norms[t] * load(ffn_norm + k);
        });
        matmul(gate_up_proj, in, [&](long t, long n, float product) {
            gate_up[t * 2 * FFN + n] = product;
        });

        // 3) SwiGLU, down projection and residual: hidden [tokens, WIDTH].
        in.set(down_proj, tokens, [&](long t, long k) {
            const float *gate = gate_up.data() + t * 2 * FFN + k;
            return silu(load(gate)) * load(gate + FFN);
        });
        matmul(down_proj, in, [&](long t, long n, float product) {
            hidden[t * WIDTH + n] += product;
        });

        // 4) RMSNorm and QKV projection of the next layer: qkv [tokens, QKV_HEADS, HEAD].
        // The division by the norm comes after the product.
        for (long t = 0; t < tokens; t++)
            norms[t] = rms_norm_denominator(hidden + t * WIDTH, WIDTH, EPSILON);
        in.set(qkv_proj, tokens, [&](long t, long k) {
            return load(hidden + t * WIDTH + k) * load(attention_norm + k);
        });
        matmul(qkv_proj, in, [&](long t, long n, float product) {
            qkv[t * QKV_HEADS * HEAD + n] = product / norms[t] + (bias ? bias[n] : 0);
        });

        // 5) RMSNorm of the heads, if there is one, and RoPE of queries and keys.
#pragma omp for schedule(static)
        for (long i = 0; i < tokens * (HEADS + KV_HEADS); i++) {
            const long t = i / (HEADS + KV_HEADS), head = i % (HEADS + KV_HEADS);
            qk_norm_rope(qkv + (t * QKV_HEADS + head) * HEAD, HEAD,
                         head < HEADS ? q_norm : k_norm, rope + t * HEAD, EPSILON);
        }
    }
}
