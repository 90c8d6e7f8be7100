// Weights of 4 bits in panels of 16 rows, for products with a few inputs: copies of the
// blocks of a GGUF file, in an order in which no row is summed across a vector.
//
// A panel has the rows' blocks side by side: for every 32 columns, first the 16 scales, and
// shifts, of float16, then four vectors of 64 bytes. Byte 4 · r + c of vector j holds
// columns 4 · j + c (its lower half) and 4 · j + c + 16 of row r. So four columns of an
// input are multiplied with all rows at once.
//
// Inputs are rounded to 16 bits, hi · 256 + lo, with a scale for every 128 columns. Sums
// over 32 columns are integers, the others float32; their order depends on K alone, so an
// output has the same bits whatever the number of inputs or threads.

#include "gguf_matrix.h"

#if defined(__AVX512VNNI__) || (defined(__AVX2__) && !defined(__AVX512F__))

static const long ROWS = MAX_ROWS;  // of a panel
static const long BLOCK = 32, VECTORS = 4, NIBBLES = VECTORS * 64;
static const long HALVES = ROWS / LANES;  // of the rows: those of a vector of numbers
static const long SCALED = 128;           // columns of an input with one scale
static const int LOW = 256, SHIFT = 8;    // the factor of hi, which is at most 127
static const float MOST = 127 * LOW + 127;
// Bytes from what is multiplied to what is fetched meanwhile.
static const long AHEAD = 8192;

// The number of inputs up to which panels are faster than dequantised weights. Measured on
// Ice Lake, with AVX-512 and with AVX2; with AVX-VNNI by the time of a product alone.
#if defined(__AVX512F__)
static const long FEW = 63;
#elif defined(__AVXVNNI__)
static const long FEW = 32;
#else
static const long FEW = 16;
#endif

typedef uint8_t u8v __attribute__((vector_size(4 * LANES)));
typedef uint16_t u16v __attribute__((vector_size(4 * LANES)));

static inline f32v halves(const uint8_t *from) { return to_f32((const fp16 *)from); }

// spread: four adjacent bytes of an input, in each lane. dot: sum + the products of bytes,
// of which four or two are added. join: sums of hi and of lo as one.
#if defined(__AVX512F__)
static inline u8v spread(const int8_t *from) {
    return (u8v)_mm512_set1_epi32(read<int32_t>(from));
}
static inline i32v dot(i32v sum, u8v q, u8v x) {
    return (i32v)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)q, (__m512i)x);
}
static inline i32v join(i32v hi, i32v lo) { return (hi << SHIFT) + lo; }
#else
static inline u8v spread(const int8_t *from) {
    return (u8v)_mm256_set1_epi32(read<int32_t>(from));
}
#if defined(__AVXVNNI__)
static inline i32v dot(i32v sum, u8v q, u8v x) {
    return (i32v)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)q, (__m256i)x);
}
static inline i32v join(i32v hi, i32v lo) { return (hi << SHIFT) + lo; }
#else  // words: 8 times at most 2 · 15 · 128 fit
static inline i32v dot(i32v sum, u8v q, u8v x) {
    return (i32v)((u16v)sum + (u16v)_mm256_maddubs_epi16((__m256i)q, (__m256i)x));
}
static inline i32v join(i32v hi, i32v lo) {
    return (i32v)_mm256_madd_epi16((__m256i)hi, _mm256_set1_epi16(LOW)) +
           (i32v)_mm256_madd_epi16((__m256i)lo, _mm256_set1_epi16(1));
}
#endif
#endif

// Q4_0, or Q4_1 with a shift: bytes of a row's block, and of the scales of a panel's.
template <bool HAS_SHIFT>
struct Format {
    static const long BYTES = 18 + 2 * HAS_SHIFT, HEAD = 2 * ROWS * (1 + HAS_SHIFT);
    static const int OFFSET = HAS_SHIFT ? 0 : 8;  // of q
};

// Rows `order` [16] of a matrix -> a panel.
template <bool HAS_SHIFT>
static void pack_panel(const RowBlocks &from, const long *order, long columns, uint8_t *to) {
    typedef Format<HAS_SHIFT> F;
    for (long r = 0; r < ROWS; r++) {
        const uint8_t *block = from.weights + order[r] * (columns / BLOCK * F::BYTES);
        uint8_t *at = to;
        for (long k = 0; k < columns; k += BLOCK, block += F::BYTES) {
            for (long i = 0; i < 1 + HAS_SHIFT; i++)
                std::memcpy(at + 2 * (i * ROWS + r), block + 2 * i, 2);
            at += F::HEAD;
            for (long j = 0; j < VECTORS; j++, at += 64)
                std::memcpy(at + 4 * r, block + F::BYTES - 16 + 4 * j, 4);
        }
    }
}

static void set_inputs(const float *inputs, long count, long columns, Inputs &to) {
    const long blocks = columns / BLOCK;
    to.panel.bytes.resize(count * blocks * 2 * BLOCK);
    to.panel.blocks.resize(count * blocks);
    int8_t *bytes = to.panel.bytes.data();
    PanelBlock *block = to.panel.blocks.data();
    for (long i = 0; i < count; i++, inputs += columns)
        for (long first = 0; first < columns; first += SCALED) {
            const long end = std::min(columns, first + SCALED);
            const float largest = largest_of(inputs + first, end - first);
            const float by = factor_for(largest, MOST), scale = largest / MOST;
            for (long k = first; k < end; k += BLOCK, bytes += 2 * BLOCK, block++) {
                int32_t sum = 0;
                for (long c = 0; c < BLOCK; c++) {
                    const float magic = 12582912.f;  // 1.5 · 2^23: adding it rounds
                    const float shifted = inputs[k + c] * by + magic;
                    const int32_t n = by ? read<int32_t>(&shifted) - 0x4B400000 : 0;
                    const int32_t hi = (n + LOW / 2) >> SHIFT;
                    bytes[c] = hi, bytes[BLOCK + c] = n - hi * LOW;
                    sum += n;
                }
                *block = {scale, sum, sum * scale};
            }
        }
}

// A panel times COUNT inputs, from input `first` on: out [16, stride].
template <bool HAS_SHIFT, int COUNT>
static void dot_panel(const uint8_t *panel, long columns, const PanelInputs &in, long first,
                      float *out, long stride) {
    typedef Format<HAS_SHIFT> F;
    const long blocks = columns / BLOCK;
    const int8_t *input = in.bytes.data() + first * blocks * 2 * BLOCK;
    const PanelBlock *about = in.blocks.data() + first * blocks;
    f32v sums[COUNT * HALVES] = {};
    for (long b = 0; b < blocks; b++, panel += F::HEAD + NIBBLES) {
        for (long line = 0; line < F::HEAD + NIBBLES; line += 64)
            __builtin_prefetch(panel + AHEAD + line);
        unrolled<HALVES>([&](int half) INLINED {
            // 1) integers: the products of 32 columns
            i32v hi[COUNT] = {}, lo[COUNT] = {};
            unrolled<2 * VECTORS>([&](int j) INLINED {
                const u8v both = read<u8v>(panel + F::HEAD + j % VECTORS * 64 +
                                           half * sizeof(u8v));
                const u8v q = (j < VECTORS ? both : (u8v)((u16v)both >> 4)) & 15;
                unrolled<COUNT>([&](int i) INLINED {
                    const int8_t *x = input + (i * blocks + b) * 2 * BLOCK + 4 * j;
                    hi[i] = dot(hi[i], q, spread(x));
                    lo[i] = dot(lo[i], q, spread(x + BLOCK));
                });
            });
            // 2) their scales, and shifts
            const uint8_t *const head = panel + 2 * half * LANES;
            const f32v scales = halves(head);
            unrolled<COUNT>([&](int i) INLINED {
                const PanelBlock &of = about[i * blocks + b];
                i32v whole = join(hi[i], lo[i]);
                if (F::OFFSET) whole -= F::OFFSET * of.sum;
                f32v &sum = sums[i * HALVES + half];
                sum = fmadd(__builtin_convertvector(whole, f32v) * of.scale, scales, sum);
                if (HAS_SHIFT)
                    sum = fmadd(broadcast(of.shift), halves(head + 2 * ROWS), sum);
            });
        });
    }
    for (int i = 0; i < COUNT; i++)
        for (long r = 0; r < ROWS; r++)
            out[r * stride + i] = sums[i * HALVES + r / LANES][r % LANES];
}

// The 16 rows of a panel, of which the first is given, times all inputs.
template <bool HAS_SHIFT>
static void dot_all(const uint8_t *const *rows, long, long columns, const Inputs &in,
                    long count, float *out) {
    for (long i = 0; i < count; i += 4) {
        const auto dot = count - i >= 4   ? dot_panel<HAS_SHIFT, 4>
                         : count - i == 3 ? dot_panel<HAS_SHIFT, 3>
                         : count - i == 2 ? dot_panel<HAS_SHIFT, 2>
                                          : dot_panel<HAS_SHIFT, 1>;
        dot(rows[0], columns, in.panel, i, out + i, count);
    }
}

template <bool HAS_SHIFT>
static BlockFormat format() {
    return {BLOCK, Format<HAS_SHIFT>::BYTES, set_inputs, dot_all<HAS_SHIFT>, nullptr, nullptr};
}

BlockFormat panel_format_of(long number) {
    return number == 2 ? format<false>() : number == 3 ? format<true>() : BlockFormat{};
}

// Rows `order` [count, a multiple of 16] of a matrix -> panels, one behind the other.
extern "C" void gguf_pack(const RowBlocks *from, const long *order, long count, long columns,
                          uint8_t *to) {
    const auto pack = from->format == 3 ? pack_panel<true> : pack_panel<false>;
    const long size = ROWS * panel_format_of(from->format).row_bytes(columns);
    ThreadPool::run(count / ROWS, [&](long p) {
        pack(*from, order + p * ROWS, columns, to + p * size);
    });
}

extern "C" long gguf_few_in_panels() { return FEW; }

#else

BlockFormat panel_format_of(long) { return {}; }
extern "C" void gguf_pack(const RowBlocks *, const long *, long, long, uint8_t *) {}
extern "C" long gguf_few_in_panels() { return 0; }

#endif

// Whether a format has panels, of rows that have as many bytes.
extern "C" bool gguf_has_panels(long format) { return panel_format_of(format).weights; }
