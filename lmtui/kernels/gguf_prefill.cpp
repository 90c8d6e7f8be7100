// Products of many inputs with a matrix in the blocks of a GGUF file: in bfloat16 where the
// processor has AVX512-BF16, in float32 with AVX2 or AVX-512, else by tiles of dequantised
// rows that others multiply.

#include "gguf_matrix.h"

// Rows row_index[0 … count) of a matrix [rows, K], dequantised: out [count, K].
extern "C" void gguf_rows(const RowBlocks *part, long columns, const long *row_index,
                          long count, float *out) {
    const BlockFormat format = format_of(part->format);
    ThreadPool::run(count, [&](long n) {
        format.decode(part->weights + row_index[n] * format.row_bytes(columns), columns,
                      out + n * columns);
    });
}

// Rows first … first + count of W, without its LoRA: out [count, columns].
template <typename Number>
static void decode_tile(const Matrix &matrix, long first, long count,
                        void (*BlockFormat::*decode)(const uint8_t *, long, Number *),
                        Number *out) {
    const std::vector<PartFormat> formats = formats_of(matrix.stored, matrix.columns);
    ThreadPool::run(count, [&](long n) {
        const Row row = row_of(matrix.stored, formats.data(), first + n);
        (formats[row.part].*decode)(row.blocks, matrix.columns, out + n * matrix.columns);
    });
}
extern "C" void gguf_tile(const Matrix *matrix, long first, long count, float *out) {
    decode_tile(*matrix, first, count, &BlockFormat::decode, out);
}
extern "C" void gguf_tile_bf16(const Matrix *matrix, long first, long count, bf16 *out) {
    decode_tile(*matrix, first, count, &BlockFormat::decode_bf16, out);
}

#if defined(__AVX512F__)

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

#endif

#if defined(__AVX512BF16__)
#define HAS_GEMM

typedef uint32_t bf16x2;  // two adjacent columns

static const long PANEL = 64;    // rows of W that are dequantised together
static const long DEPTH = 2048;  // columns of a panel that are multiplied together
static const int INPUTS = 6;     // inputs that are multiplied with a panel at a time

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

// Inputs of a product, [count, columns].
struct GemmInputs {
    std::vector<bf16> all;
    long count, columns;

    void resize(long tokens, long width) {
        count = tokens, columns = width;
        all.resize(count * columns);
    }
    // Columns k … k + LANES of input t.
    void store(long t, long k, f32v from) {
        const __m256bh part = _mm512_cvtneps_pbh((__m512)from);
        std::memcpy(&all[t * columns + k], &part, sizeof part);
    }
    void set(long t, const float *from) {
        for (long k = 0; k < columns; k += LANES) store(t, k, load(from + k));
    }
};

// A product: W, without LoRA, times many inputs.
class Product {
    const Matrix &matrix;
    const std::vector<PartFormat> formats = formats_of(matrix.stored, matrix.columns);
    const GemmInputs &inputs;
    // Kept from one product to the next, since large new memory costs as much as its use.
    static inline thread_local std::vector<bf16> rows;
    static inline thread_local std::vector<bf16x2> packed;
    static inline thread_local std::vector<float> products, others;

   public:
    Product(const Matrix &matrix, const GemmInputs &inputs) : matrix(matrix), inputs(inputs) {}

    // In each thread, before its first panel.
    void make_room() const {
        rows.resize(PANEL * matrix.columns);
        packed.resize(PANEL * DEPTH / 2);
        products.resize(inputs.count * PANEL);
        others.resize(inputs.count * PANEL);
    }

    // Calls take(t, products) for each input, with its products with rows n … n + size.
    template <typename Take>
    void panel(long n, long size, const Take &take) const {
        multiply_all(n, size, products.data());
        for (long t = 0; t < inputs.count; t++) take(t, &products[t * PANEL]);
    }
    // The same for two panels that begin at rows n and m: take(t, products, others).
    template <typename Take>
    void panels(long n, long m, long size, const Take &take) const {
        multiply_all(n, size, products.data());
        multiply_all(m, size, others.data());
        for (long t = 0; t < inputs.count; t++)
            take(t, &products[t * PANEL], &others[t * PANEL]);
    }

   private:
    // The products with rows n … n + size: out [count, PANEL].
    void multiply_all(long n, long size, float *out) const {
        const long columns = matrix.columns, count = inputs.count;
        for (long i = 0; i < size; i++) {
            const Row row = row_of(matrix.stored, formats.data(), n + i);
            formats[row.part].decode_bf16(row.blocks, columns, &rows[i * columns]);
        }
        for (long k = 0; k < columns; k += DEPTH) {
            const long depth = std::min(DEPTH, columns - k);
            pack(rows.data(), columns, k, depth, packed.data());
            for (long t = 0; t < count; t += INPUTS) {
                const auto call = [&](auto multiply) {
                    multiply(packed.data(), depth / 2,
                             (const bf16x2 *)&inputs.all[t * columns + k], columns / 2, k > 0,
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

#elif defined(__AVX2__)
#define HAS_GEMM

static const long PANEL = 48;       // rows of W that are dequantised together
static const long DEPTH = 320;      // columns that are multiplied together
static const long TILE = 2 * LANES;  // inputs of a tile, a number of each side by side
static const int ROWS = REGISTERS == 32 ? 12 : 6;  // that are multiplied with it at a time

// Inputs of a product, [count, columns], in the order of the product: [tiles, columns, TILE].
struct GemmInputs {
    std::vector<float> all;
    long count, columns;

    void resize(long tokens, long width) {
        count = tokens, columns = width;
        all.resize((count + TILE - 1) / TILE * TILE * columns);
    }
    const float *tile(long t) const { return all.data() + t * columns; }
    // Columns k … k + LANES of input t.
    void store(long t, long k, f32v from) {
        float *to = all.data() + t / TILE * TILE * columns + t % TILE;
        for (long i = 0; i < LANES; i++) to[(k + i) * TILE] = from[i];
    }
    void set(long t, const float *from) {
        for (long k = 0; k < columns; k += LANES) store(t, k, load(from + k));
    }
};

static inline void store(f32v all, float *to) { std::memcpy(to, &all, sizeof all); }

// Adds the products of ROWS rows (`stride` numbers from one to the next) with the first
// LANES · VECTORS inputs of a tile to out [ROWS, TILE], or sets them. Sums are in the order
// of the columns.
template <int VECTORS>
static void multiply(const float *rows, long stride, const float *tile, long depth, bool adds,
                     float *out) {
    // Loops over sums are unrolled, since these stay in registers only then.
    f32v sums[ROWS * VECTORS];
    unrolled<ROWS * VECTORS>([&](int n) INLINED {
        sums[n] = adds ? load(out + n / VECTORS * TILE + n % VECTORS * LANES) : f32v{};
    });
    for (long k = 0; k < depth; k++) {
        f32v inputs[VECTORS];
        unrolled<VECTORS>([&](int v) INLINED { inputs[v] = load(tile + k * TILE + v * LANES); });
        unrolled<ROWS>([&](int i) INLINED {
            const f32v weight = broadcast(rows[i * stride + k]);
            unrolled<VECTORS>([&](int v) INLINED {
                f32v &sum = sums[i * VECTORS + v];
                sum = fmadd(weight, inputs[v], sum);
            });
        });
    }
    unrolled<ROWS * VECTORS>([&](int n) INLINED {
        store(sums[n], out + n / VECTORS * TILE + n % VECTORS * LANES);
    });
}

// Transposes LANES vectors, in place.
#if defined(__AVX512F__)
static inline void transpose(f32v *rows) { transpose16((__m512i *)rows); }
#else
static inline void transpose(f32v *all) {
    __m256 *const rows = (__m256 *)all;
    __m256 other[8];
    for (int i = 0; i < 8; i += 2) {
        other[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        other[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            const __m256 a = other[i + j], b = other[i + j + 2];
            rows[i + 2 * j] = _mm256_shuffle_ps(a, b, 0x44);
            rows[i + 2 * j + 1] = _mm256_shuffle_ps(a, b, 0xEE);
        }
    for (int j = 0; j < 4; j++) {
        const __m256 a = rows[j], b = rows[j + 4];
        rows[j] = _mm256_permute2f128_ps(a, b, 0x20);
        rows[j + 4] = _mm256_permute2f128_ps(a, b, 0x31);
    }
}
#endif

// A product: W, without LoRA, times many inputs.
class Product {
    const Matrix &matrix;
    const std::vector<PartFormat> formats = formats_of(matrix.stored, matrix.columns);
    const GemmInputs &inputs;
    // Kept from one product to the next, since large new memory costs as much as its use.
    static inline thread_local std::vector<float> rows, other_rows;

   public:
    Product(const Matrix &matrix, const GemmInputs &inputs) : matrix(matrix), inputs(inputs) {}

    // In each thread, before its first panel.
    void make_room() const {
        rows.resize(PANEL * matrix.columns);
        other_rows.resize(PANEL * matrix.columns);
    }

    // Calls take(t, products) for each input, with its products with rows n … n + size.
    template <typename Take>
    void panel(long n, long size, const Take &take) const {
        decode(n, size, rows.data());
        float products[TILE * PANEL];
        for (long t = 0; t < inputs.count; t += TILE) {
            multiply_tile(rows.data(), size, t, products);
            for (long i = t; i < std::min(t + TILE, inputs.count); i++)
                take(i, products + (i - t) * PANEL);
        }
    }
    // The same for two panels that begin at rows n and m: take(t, products, others).
    template <typename Take>
    void panels(long n, long m, long size, const Take &take) const {
        decode(n, size, rows.data());
        decode(m, size, other_rows.data());
        float products[TILE * PANEL], others[TILE * PANEL];
        for (long t = 0; t < inputs.count; t += TILE) {
            multiply_tile(rows.data(), size, t, products);
            multiply_tile(other_rows.data(), size, t, others);
            for (long i = t; i < std::min(t + TILE, inputs.count); i++)
                take(i, products + (i - t) * PANEL, others + (i - t) * PANEL);
        }
    }

   private:
    void decode(long n, long size, float *to) const {
        for (long i = 0; i < size; i++) {
            const Row row = row_of(matrix.stored, formats.data(), n + i);
            formats[row.part].decode(row.blocks, matrix.columns, to + i * matrix.columns);
        }
    }

    // The products of `size` rows with the tile of input t: out [TILE, PANEL].
    void multiply_tile(const float *from, long size, long t, float *out) const {
        const long columns = matrix.columns;
        const auto call = inputs.count - t > LANES ? multiply<2> : multiply<1>;
        float sums[PANEL * TILE];
        // Rows behind the last are those of another panel, which nothing reads.
        for (long k = 0; k < columns; k += DEPTH)
            for (long i = 0; i < size; i += ROWS)
                call(from + i * columns + k, columns, inputs.tile(t) + k * TILE,
                     std::min(DEPTH, columns - k), k > 0, sums + i * TILE);
        for (long j = 0; j < std::min(TILE, inputs.count - t); j += LANES)
            for (long i = 0; i < size; i += LANES) {
                f32v square[LANES];
                for (long r = 0; r < LANES; r++) square[r] = load(sums + (i + r) * TILE + j);
                transpose(square);
                for (long r = 0; r < LANES; r++)
                    store(square[r], out + (j + r) * PANEL + i);
            }
    }
};

#endif

#ifdef HAS_GEMM

// All products. epilogue(t, n, products, size) receives those of input t with rows
// n … n + size.
template <typename Epilogue>
static void matmul(const Matrix &matrix, const GemmInputs &inputs, const Epilogue &epilogue) {
    const Product product(matrix, inputs);
    const auto panel = [&](long p) {
        const long n = p * PANEL, size = std::min(PANEL, matrix.rows - n);
        product.panel(n, size, [&](long t, const float *products) {
            epilogue(t, n, products, size);
        });
    };
    const long panels = (matrix.rows + PANEL - 1) / PANEL;
    ThreadPool::run(panels, [&] { product.make_room(); }, panel);
}

static const long GROUP = 8;  // inputs that are set together

// Calls each(t) for every one of some inputs.
template <typename Each>
static void for_inputs(long count, const Each &each) {
    ThreadPool::run((count + GROUP - 1) / GROUP, [&](long group) {
        const long end = std::min(count, (group + 1) * GROUP);
        for (long t = group * GROUP; t < end; t++) each(t);
    });
}

// Whether products of many inputs round these and the weights to bfloat16.
extern "C" bool gguf_gemm_rounds() {
    return std::is_same<decltype(GemmInputs::all), std::vector<bf16>>::value;
}

// inputs [count, columns] -> out [count, rows], without LoRA. Sums are float32.
extern "C" void gguf_gemm(const Matrix *matrix, const float *inputs, long count,
                                 float *out) {
    GemmInputs ordered;
    ordered.resize(count, matrix->columns);
    for_inputs(count, [&](long t) { ordered.set(t, inputs + t * matrix->columns); });
    matmul(*matrix, ordered, [&](long t, long n, const float *products, long size) {
        std::copy_n(products, size, out + t * matrix->rows + n);
    });
}

// As add_product of a few tokens.
static void add_product(const Block &block, const Matrix &matrix, const float *norm,
                        const GemmInputs &inputs, const float *residual, float *hidden,
                        std::vector<float> &products) {
    const long width = block.width;
    const float scale = block.residual_scale;
    if (!norm)
        return matmul(matrix, inputs, [=](long t, long n, const float *of_rows, long size) {
            for (long i = t * width + n; i < t * width + n + size; i++)
                hidden[i] = residual[i] + scale * of_rows[i - t * width - n];
        });
    products.resize(inputs.count * width);
    matmul(matrix, inputs, [&](long t, long n, const float *of_rows, long size) {
        std::copy_n(of_rows, size, &products[t * width + n]);
    });
    for_inputs(inputs.count, [&](long t) {
        add_normed(&products[t * width], norm, width, block.epsilon, scale,
                   residual + t * width, hidden + t * width);
    });
}

// As gguf_block, for many tokens and without LoRA.
extern "C" void gguf_block_gemm(const Block *block, long tokens, const float *residual,
                                const float *attention_out, const float *rope,
                                const float *inputs, float *hidden, float *qkv) {
    const long width = block->width, ffn = block->ffn;
    const long qkv_size = block->qkv_proj.rows;
    const long attended = block->o_proj.columns;
    const long further = block->input_gate.rows;
    static thread_local GemmInputs of_attention, of_ffn, of_width;
    static thread_local std::vector<float> of_norms, of_products;
    of_attention.resize(tokens, attended);
    of_ffn.resize(tokens, ffn);
    of_width.resize(tokens, width);
    of_norms.resize(tokens);
    // What all threads use: a thread_local name is each one's own.
    GemmInputs &attention_inputs = of_attention, &ffn_inputs = of_ffn, &normed = of_width;
    float *const norm = of_norms.data();
    std::vector<float> &products = of_products;

    // 1) o_proj and residual: hidden [tokens, width].
    for_inputs(tokens, [&](long t) { attention_inputs.set(t, attention_out + t * attended); });
    add_product(*block, block->o_proj, block->attention_post_norm, attention_inputs, residual,
                hidden, products);

    // 2) RMSNorm, gate and up projection, SwiGLU or GeGLU: ffn_inputs [tokens, ffn].
    for_inputs(tokens, [&](long t) {
        const float *from = hidden + t * width;
        if (!block->ffn_norm) return normed.set(t, from);
        const float by = 1 / rms_norm_denominator(from, width, block->epsilon);
        for (long k = 0; k < width; k += LANES)
            normed.store(t, k, load(from + k) * by * load(block->ffn_norm + k));
    });
    const Product product(block->gate_up_proj, normed);
    const long panels = (ffn + PANEL - 1) / PANEL;
    ThreadPool::run(panels, [&] { product.make_room(); }, [&](long p) {
        const long n = p * PANEL, size = std::min(PANEL, ffn - n);
        product.panels(n, ffn + n, size, [&](long t, const float *gate, const float *up) {
            for (long i = 0; i < size; i += LANES)
                ffn_inputs.store(t, n + i, block->activated(load(gate + i)) * load(up + i));
        });
    });

    // 3) Down projection and residual: hidden [tokens, width].
    add_product(*block, block->down_proj, block->ffn_post_norm, ffn_inputs, hidden, hidden,
                products);

    // 4) Further inputs, gated by the state, and their projection; the scale of the layer.
    if (further) {
        for_inputs(tokens, [&](long t) { normed.set(t, hidden + t * width); });
        attention_inputs.resize(tokens, further);
        matmul(block->input_gate, normed, [&](long t, long n, const float *gates, long size) {
            for (long i = 0; i < size; i += LANES)
                attention_inputs.store(t, n + i, block->activated(load(gates + i)) *
                                                     load(inputs + t * further + n + i));
        });
        add_product(*block, block->input_proj, block->input_norm, attention_inputs, hidden,
                    hidden, products);
    }
    if (block->layer_scale != 1)
        for (long k = 0; k < tokens * width; k++) hidden[k] *= block->layer_scale;

    // 5) RMSNorm and QKV projection of the next layer.
    // The division by the norm comes after the product.
    for_inputs(tokens, [&](long t) {
        const float *from = hidden + t * width;
        norm[t] = 1;
        if (!block->attention_norm) return normed.set(t, from);
        norm[t] = rms_norm_denominator(from, width, block->epsilon);
        for (long k = 0; k < width; k += LANES)
            normed.store(t, k, load(from + k) * load(block->attention_norm + k));
    });
    matmul(block->qkv_proj, normed, [&](long t, long n, const float *products, long size) {
        for (long i = 0; i < size; i++)
            qkv[t * qkv_size + n + i] =
                products[i] / norm[t] + (block->bias ? block->bias[n + i] : 0);
    });

    // 6) RMSNorm of the heads, if there is one, and RoPE of queries and keys.
    for_inputs(tokens, [&](long t) { norm_rope(*block, tokens, t, rope, qkv); });
}

#endif
