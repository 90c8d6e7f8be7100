// Products of many inputs with a matrix in the blocks of a GGUF file: in bfloat16 where the
// processor has AVX512-BF16, or by tiles of dequantised rows that others multiply.

#include "gguf_matrix.h"

// Rows first … first + count of W, without its LoRA: out [count, columns].
extern "C" void gguf_tile(const Matrix *matrix, long first, long count, float *out) {
    const std::vector<BlockFormat> formats = formats_of(*matrix);
#pragma omp parallel for schedule(static)
    for (long n = 0; n < count; n++) {
        const Row row = row_of(*matrix, formats.data(), first + n);
        formats[row.part].decode(row.blocks, matrix->columns, out + n * matrix->columns);
    }
}

// With AMX, other libraries multiply tiles faster.
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)

typedef uint32_t bf16x2;  // two adjacent columns

static const long PANEL = 64;    // rows of W that are dequantised together
static const long DEPTH = 2048;  // columns of a panel that are multiplied together
static const int INPUTS = 6;     // inputs that are multiplied with a panel at a time

// Transposes 16 vectors of 16 numbers, in place.
static inline void transpose16(__m512i *rows) {
    __m512i other[16];
    for (int i = 0; i < 16; i += 2) {
        other[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        other[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            rows[i + 2 * j] = _mm512_unpacklo_epi64(other[i + j], other[i + j + 2]);
            rows[i + 2 * j + 1] = _mm512_unpackhi_epi64(other[i + j], other[i + j + 2]);
        }
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 4; j++) {
            const __m512i a = rows[i + j], b = rows[i + j + 4];
            other[i + j] = _mm512_shuffle_i32x4(a, b, 0x88);
            other[i + j + 4] = _mm512_shuffle_i32x4(a, b, 0xDD);
        }
    for (int j = 0; j < 8; j++) {
        rows[j] = _mm512_shuffle_i32x4(other[j], other[j + 8], 0x88);
        rows[j + 8] = _mm512_shuffle_i32x4(other[j], other[j + 8], 0xDD);
    }
}

// Brings columns first … first + depth of the rows of a panel, [PANEL, columns], into the
// order of the product: [depth / 2, PANEL]. A multiple of 32 columns.
static void pack(const bf16 *rows, long columns, long first, long depth, bf16x2 *out) {
    for (long n = 0; n < PANEL; n += 16)
        for (long k = 0; k < depth; k += 32) {
            __m512i square[16];
            for (int i = 0; i < 16; i++)
                square[i] = _mm512_loadu_si512(rows + (n + i) * columns + first + k);
            transpose16(square);
            for (int i = 0; i < 16; i++)
                _mm512_storeu_si512(out + (k / 2 + i) * PANEL + n, square[i]);
        }
}

// Adds the products of COUNT inputs (`stride` numbers from one to the next) with a packed
// panel to out [COUNT, PANEL], or sets them. Sums are float32, in the order of the columns.
template <int COUNT>
static void multiply(const bf16x2 *panel, long pairs, const bf16x2 *inputs, long stride,
                     bool adds, float *out) {
    __m512 sums[COUNT][4];
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < 4; j++)
            sums[i][j] = adds ? _mm512_loadu_ps(out + i * PANEL + 16 * j)
                              : _mm512_setzero_ps();
    for (long k = 0; k < pairs; k++) {
        __m512bh weights[4];
        for (int j = 0; j < 4; j++)
            weights[j] = (__m512bh)_mm512_loadu_si512(panel + k * PANEL + 16 * j);
        for (int i = 0; i < COUNT; i++) {
            const __m512bh input = (__m512bh)_mm512_set1_epi32(inputs[i * stride + k]);
            for (int j = 0; j < 4; j++)
                sums[i][j] = _mm512_dpbf16_ps(sums[i][j], input, weights[j]);
        }
    }
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < 4; j++)
            _mm512_storeu_ps(out + i * PANEL + 16 * j, sums[i][j]);
}

// Rounds 16 numbers.
static inline void round16(const float *from, bf16 *to) {
    const __m256bh part = _mm512_cvtneps_pbh(_mm512_loadu_ps(from));
    std::memcpy(to, &part, sizeof part);
}

// One thread's part of a product: W, without LoRA, times inputs [count, columns].
class Product {
    const Matrix &matrix;
    const std::vector<BlockFormat> formats = formats_of(matrix);
    const bf16 *const inputs;
    const long count;
    // Kept from one product to the next, since large new memory costs as much as its use.
    static inline thread_local std::vector<bf16> rows;
    static inline thread_local std::vector<bf16x2> packed;

   public:
    static inline thread_local std::vector<float> products, others;

    Product(const Matrix &matrix, const bf16 *inputs, long count)
        : matrix(matrix), inputs(inputs), count(count) {
        rows.resize(PANEL * matrix.columns);
        packed.resize(PANEL * DEPTH / 2);
        products.resize(count * PANEL);
        others.resize(count * PANEL);
    }

    // The products with rows n … n + size: out [count, PANEL].
    void panel(long n, long size, float *out) {
        const long columns = matrix.columns;
        for (long i = 0; i < size; i++) {
            const Row row = row_of(matrix, formats.data(), n + i);
            formats[row.part].decode_bf16(row.blocks, columns, &rows[i * columns]);
        }
        for (long k = 0; k < columns; k += DEPTH) {
            const long depth = std::min(DEPTH, columns - k);
            pack(rows.data(), columns, k, depth, packed.data());
            for (long t = 0; t < count; t += INPUTS) {
                const auto call = [&](auto multiply) {
                    multiply(packed.data(), depth / 2,
                             (const bf16x2 *)(inputs + t * columns + k), columns / 2, k > 0,
                             out + t * PANEL);
                };
                switch (std::min<long>(INPUTS, count - t)) {
                    case 1: call(multiply<1>); break;
                    case 2: call(multiply<2>); break;
                    case 3: call(multiply<3>); break;
                    case 4: call(multiply<4>); break;
                    case 5: call(multiply<5>); break;
                    default: call(multiply<INPUTS>);
                }
            }
        }
    }
};

// All products, inside a parallel region. epilogue(t, n, products, size) receives those of
// input t with rows n … n + size.
template <typename Epilogue>
static void matmul(const Matrix &matrix, const bf16 *inputs, long count,
                   const Epilogue &epilogue) {
    Product product(matrix, inputs, count);
    float *const products = product.products.data();
#pragma omp for schedule(dynamic)
    for (long n = 0; n < matrix.rows; n += PANEL) {
        const long size = std::min(PANEL, matrix.rows - n);
        product.panel(n, size, products);
        for (long t = 0; t < count; t++) epilogue(t, n, products + t * PANEL, size);
    }
}

// inputs [count, columns] -> out [count, rows], without LoRA. Inputs and weights are rounded
// to bfloat16, sums are float32.
extern "C" void gguf_matmul_bf16(const Matrix *matrix, const float *inputs, long count,
                                 float *out) {
    std::vector<bf16> rounded(count * matrix->columns);
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (long i = 0; i < count * matrix->columns; i += 16) round16(inputs + i, &rounded[i]);
        matmul(*matrix, rounded.data(), count,
               [&](long t, long n, const float *products, long size) {
                   std::copy_n(products, size, out + t * matrix->rows + n);
               });
    }
}

// As gguf_block, for many tokens and without LoRA; inputs and weights of the products are
// rounded to bfloat16.
extern "C" void gguf_block_bf16(const Block *block, long tokens, const float *residual,
                                const float *attention_out, const float *rope,
                                float *hidden, float *qkv) {
    const long width = block->width, ffn = block->ffn, qkv_size = block->qkv_size();
    const long attended = block->o_proj.columns;
    static thread_local std::vector<bf16> wide, narrow;  // the inputs of two products
    static thread_local std::vector<float> norms;
    wide.resize(tokens * std::max(attended, ffn));
    narrow.resize(tokens * width);
    norms.resize(tokens);
    bf16 *const x = wide.data(), *const normed = narrow.data();
    float *const norm = norms.data();

#pragma omp parallel
    {
        // 1) o_proj and residual: hidden [tokens, width].
#pragma omp for schedule(static)
        for (long i = 0; i < tokens * attended; i += 16) round16(attention_out + i, x + i);
        matmul(block->o_proj, x, tokens,
               [&](long t, long n, const float *products, long size) {
                   for (long i = 0; i < size; i++)
                       hidden[t * width + n + i] = residual[t * width + n + i] + products[i];
               });

        // 2) RMSNorm, gate and up projection, SwiGLU: x [tokens, ffn].
#pragma omp for schedule(static)
        for (long t = 0; t < tokens; t++) {
            const float *from = hidden + t * width;
            const float by = 1 / rms_norm_denominator(from, width, block->epsilon);
            for (long k = 0; k < width; k += 16) {
                const f32v part = load(from + k) * by * load(block->ffn_norm + k);
                round16((const float *)&part, normed + t * width + k);
            }
        }
        {
            Product product(block->gate_up_proj, normed, tokens);
            float *const gate = product.products.data(), *const up = product.others.data();
#pragma omp for schedule(dynamic)
            for (long n = 0; n < ffn; n += PANEL) {
                const long size = std::min(PANEL, ffn - n);
                product.panel(n, size, gate);
                product.panel(ffn + n, size, up);
                for (long t = 0; t < tokens; t++)
                    for (long i = 0; i < size; i += 16) {
                        const long at = t * PANEL + i;
                        const f32v part = silu(load(gate + at)) * load(up + at);
                        round16((const float *)&part, x + t * ffn + n + i);
                    }
            }
        }

        // 3) Down projection and residual: hidden [tokens, width].
        matmul(block->down_proj, x, tokens,
               [&](long t, long n, const float *products, long size) {
                   for (long i = 0; i < size; i++) hidden[t * width + n + i] += products[i];
               });

        // 4) RMSNorm and QKV projection of the next layer: qkv [tokens, qkv_heads, head].
        // The division by the norm comes after the product.
#pragma omp for schedule(static)
        for (long t = 0; t < tokens; t++) {
            const float *from = hidden + t * width;
            norm[t] = rms_norm_denominator(from, width, block->epsilon);
            for (long k = 0; k < width; k += 16) {
                const f32v part = load(from + k) * load(block->attention_norm + k);
                round16((const float *)&part, normed + t * width + k);
            }
        }
        matmul(block->qkv_proj, normed, tokens,
               [&](long t, long n, const float *products, long size) {
                   for (long i = 0; i < size; i++)
                       qkv[t * qkv_size + n + i] =
                           products[i] / norm[t] + (block->bias ? block->bias[n + i] : 0);
               });

        // 5) RMSNorm of the heads, if there is one, and RoPE of queries and keys.
        norm_rope(*block, tokens, rope, qkv);
    }
}

#endif
