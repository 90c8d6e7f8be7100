// Weights of 4 bits in panels of 16 rows, for products with a few inputs: copies of the
// blocks of a GGUF file, in an order in which no row is summed across a vector.
//
// A panel has the rows' blocks side by side: for every 32 columns, first what is their
// scale, 16 numbers each, then four vectors of 64 bytes. Byte 4 · r + c of vector j holds
// columns 4 · j + c (its lower half) and 4 · j + c + 16 of row r. So four columns of an
// input are multiplied with all rows at once.
//
// Inputs are rounded to 16 bits, hi · 256 + lo, with a scale for every 128 columns. Sums
// over 32 columns are integers, the others float32; their order depends on K alone, so an
// output has the same bits whatever the number of inputs or threads.

#include "gguf_matrix.h"

#if defined(__AVX2__)

static const long ROWS = MAX_ROWS;  // of a panel
static const long BLOCK = 32, VECTORS = 4, NIBBLES = VECTORS * 64;
static const long HALVES = ROWS / LANES;  // of the rows: those of a vector of numbers
static const long SCALED = 128;           // columns of an input with one scale
static const int LOW = 256, SHIFT = 8;    // the factor of hi, which is at most 127
static const float MOST = 127 * LOW + 127;
// Bytes from what is multiplied to what is fetched meanwhile.
static const long AHEAD = 8192;

typedef uint8_t u8v __attribute__((vector_size(4 * LANES)));
typedef uint8_t u8quarter __attribute__((vector_size(LANES)));
typedef uint16_t u16v __attribute__((vector_size(4 * LANES)));

static inline f32v floats_of(i32v all) { return __builtin_convertvector(all, f32v); }
static inline f32v halves(const uint8_t *from) { return to_f32((const fp16 *)from); }
static inline f32v bytes_at(const uint8_t *from) {
    return floats_of(__builtin_convertvector(read<u8quarter>(from), i32v));
}
// Four adjacent bytes of an input, in each lane.
static inline u8v spread(const int8_t *from) {
#if defined(__AVX512F__)
    return (u8v)_mm512_set1_epi32(read<int32_t>(from));
#else
    return (u8v)_mm256_set1_epi32(read<int32_t>(from));
#endif
}

// sum + the products of bytes, four or two of which are added; joined, hi · 256 + lo.
#if defined(__AVX512VNNI__)
static inline i32v dot(i32v sum, u8v q, u8v x) {
    return (i32v)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)q, (__m512i)x);
}
static inline i32v join(i32v hi, i32v lo) { return (hi << SHIFT) + lo; }
#elif defined(__AVXVNNI__)
static inline i32v dot(i32v sum, u8v q, u8v x) {
    return (i32v)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)q, (__m256i)x);
}
static inline i32v join(i32v hi, i32v lo) { return (hi << SHIFT) + lo; }
#elif defined(__AVX512BW__)
// Words: 8 times at most 2 · 15 · 128 fit.
static inline i32v dot(i32v sum, u8v q, u8v x) {
    return (i32v)((u16v)sum + (u16v)_mm512_maddubs_epi16((__m512i)q, (__m512i)x));
}
static inline i32v join(i32v hi, i32v lo) {
    return (i32v)_mm512_madd_epi16((__m512i)hi, _mm512_set1_epi16(LOW)) +
           (i32v)_mm512_madd_epi16((__m512i)lo, _mm512_set1_epi16(1));
}
#else
static inline i32v dot(i32v sum, u8v q, u8v x) {
    return (i32v)((u16v)sum + (u16v)_mm256_maddubs_epi16((__m256i)q, (__m256i)x));
}
static inline i32v join(i32v hi, i32v lo) {
    return (i32v)_mm256_madd_epi16((__m256i)hi, _mm256_set1_epi16(LOW)) +
           (i32v)_mm256_madd_epi16((__m256i)lo, _mm256_set1_epi16(1));
}
#endif

// The formats: BYTES of a row's block of WEIGHTS, BLOCKS of 32 of which share HEAD bytes of
// a panel. put() writes those of one row, pair() its 16 bytes of columns of block b.
// scales() and shifts() are those of block b for the rows of a half, from row r on.

template <bool HAS_SHIFT>
struct Simple {  // Q4_0, Q4_1
    static const long WEIGHTS = 32, BYTES = 18 + 2 * HAS_SHIFT, BLOCKS = 1;
    static const long HEAD = 2 * ROWS * (1 + HAS_SHIFT);
    static const int OFFSET = HAS_SHIFT ? 0 : 8;
    static const bool SHIFTS = HAS_SHIFT;

    static void put(const uint8_t *block, long r, uint8_t *head) {
        for (long i = 0; i < 1 + HAS_SHIFT; i++)
            std::memcpy(head + 2 * (i * ROWS + r), block + 2 * i, 2);
    }
    static void pair(const uint8_t *block, long, uint8_t *to) {
        std::memcpy(to, block + BYTES - 16, 16);
    }
    static f32v scales(const uint8_t *head, long, long r) { return halves(head + 2 * r); }
    static f32v shifts(const uint8_t *head, long, long r) {
        return halves(head + 2 * (ROWS + r));
    }
};

struct Q4_K {
    static const long WEIGHTS = 256, BYTES = 144, BLOCKS = 8;
    static const long HEAD = 4 * ROWS + 2 * BLOCKS * ROWS;
    static const int OFFSET = 0;
    static const bool SHIFTS = true;

    static void put(const uint8_t *block, long r, uint8_t *head) {
        Simple<true>::put(block, r, head);
        const u8x16 both = q4_k_scales(block + 4);  // and minima
        for (long i = 0; i < 2 * BLOCKS; i++) head[4 * ROWS + i * ROWS + r] = both[i];
    }
    static void pair(const uint8_t *block, long b, uint8_t *to) {
        const uint8_t *from = block + 16 + b / 2 * 32;
        for (long k = 0; k < 16; k++)
            to[k] = b % 2 ? from[k] >> 4 | (from[k + 16] & 0xF0)
                          : (from[k] & 15) | from[k + 16] << 4;
    }
    static f32v scales(const uint8_t *head, long b, long r) {
        return halves(head + 2 * r) * bytes_at(head + (4 + b) * ROWS + r);
    }
    static f32v shifts(const uint8_t *head, long b, long r) {
        return -halves(head + 2 * (ROWS + r)) * bytes_at(head + (4 + BLOCKS + b) * ROWS + r);
    }
};

// Rows `order` [16] of a matrix -> a panel.
template <typename Format>
static void pack_panel(const RowBlocks &from, const long *order, long columns, uint8_t *to) {
    for (long r = 0; r < ROWS; r++) {
        const uint8_t *block =
            from.weights + order[r] * (columns / Format::WEIGHTS * Format::BYTES);
        uint8_t *at = to;
        for (long k = 0; k < columns; k += Format::WEIGHTS, block += Format::BYTES) {
            Format::put(block, r, at);
            at += Format::HEAD;
            for (long b = 0; b < Format::BLOCKS; b++, at += NIBBLES) {
                uint8_t nibbles[16];
                Format::pair(block, b, nibbles);
                for (long j = 0; j < VECTORS; j++)
                    std::memcpy(at + 64 * j + 4 * r, nibbles + 4 * j, 4);
            }
        }
    }
}

// Inputs [count, K]: for every 32 columns hi, then lo; the sum of the integers; and of the
// inputs, what the shift of a weight adds.
static void set_inputs(const float *inputs, long count, long columns, Inputs &to) {
    PanelInputs &panel = to.panel;
    const long blocks = columns / BLOCK;
    panel.bytes.resize(count * blocks * 2 * BLOCK);
    panel.blocks.resize(count * blocks);
    int8_t *bytes = panel.bytes.data();
    PanelBlock *about = panel.blocks.data();
    for (long i = 0; i < count; i++, inputs += columns)
        for (long first = 0; first < columns; first += SCALED) {
            // 1) the scale of 128 columns, not finite if one of them is not
            const long end = std::min(columns, first + SCALED);
            i32v largest = {};  // of the bits without the sign, which are in order
            for (long k = first; k < end; k += LANES) {
                const i32v bits = (i32v)load(inputs + k) & 0x7FFFFFFF;
                largest = largest > bits ? largest : bits;
            }
            int32_t bits = 0;
            for (int l = 0; l < LANES; l++) bits = std::max(bits, largest[l]);
            float most;
            std::memcpy(&most, &bits, sizeof most);
            const bool usable = most > 1e-30f && most < INFINITY;
            const float by = usable ? MOST / most : 0;
            // 2) integers, and their bytes
            for (long k = first; k < end; k += BLOCK, bytes += 2 * BLOCK, about++) {
                int32_t sum = 0;
                for (long c = 0; c < BLOCK; c++) {
                    const float magic = 12582912.f;  // 1.5 · 2^23: adding it rounds
                    const float shifted = inputs[k + c] * by + magic;
                    const int32_t n = usable ? read<int32_t>(&shifted) - 0x4B400000 : 0;
                    const int32_t hi = (n + LOW / 2) >> SHIFT;
                    bytes[c] = hi, bytes[BLOCK + c] = n - hi * LOW;
                    sum += n;
                }
                about->scale = most / MOST;
                about->sum = sum, about->shift = sum * about->scale;
            }
        }
}

// A panel times COUNT inputs, from input `first` on: out [16, stride].
template <typename Format, int COUNT>
static void dot_panel(const uint8_t *panel, long columns, const PanelInputs &in, long first,
                      float *out, long stride) {
    const long blocks = columns / BLOCK;
    const int8_t *input = in.bytes.data() + first * blocks * 2 * BLOCK;
    const PanelBlock *about = in.blocks.data() + first * blocks;
    f32v sums[COUNT * HALVES] = {};
    for (long k = 0; k < blocks; k += Format::BLOCKS) {
        const uint8_t *const head = panel;
        panel += Format::HEAD;
        for (long line = 0; line < Format::HEAD; line += 64)
            __builtin_prefetch(head + AHEAD + line);
        for (long b = 0; b < Format::BLOCKS; b++, panel += NIBBLES) {
            for (long line = 0; line < NIBBLES; line += 64)
                __builtin_prefetch(panel + AHEAD + line);
            unrolled<HALVES>([&](int half) INLINED {
                // 1) integers: the products of 32 columns
                i32v hi[COUNT] = {}, lo[COUNT] = {};
                unrolled<2 * VECTORS>([&](int j) INLINED {
                    const u8v both =
                        read<u8v>(panel + j % VECTORS * 64 + half * sizeof(u8v));
                    const u8v q = (j < VECTORS ? both : (u8v)((u16v)both >> 4)) & 15;
                    unrolled<COUNT>([&](int i) INLINED {
                        const int8_t *x = input + (i * blocks + k + b) * 2 * BLOCK + 4 * j;
                        hi[i] = dot(hi[i], q, spread(x));
                        lo[i] = dot(lo[i], q, spread(x + BLOCK));
                    });
                });
                // 2) their scales, and shifts
                const f32v scales = Format::scales(head, b, half * LANES);
                unrolled<COUNT>([&](int i) INLINED {
                    const PanelBlock &of = about[i * blocks + k + b];
                    i32v whole = join(hi[i], lo[i]);
                    if (Format::OFFSET) whole -= Format::OFFSET * of.sum;
                    f32v &sum = sums[i * HALVES + half];
                    sum = fmadd(floats_of(whole) * of.scale, scales, sum);
                });
                if (Format::SHIFTS) {
                    const f32v shifts = Format::shifts(head, b, half * LANES);
                    unrolled<COUNT>([&](int i) INLINED {
                        f32v &sum = sums[i * HALVES + half];
                        sum = fmadd(broadcast(about[i * blocks + k + b].shift), shifts, sum);
                    });
                }
            });
        }
    }
    for (int i = 0; i < COUNT; i++)
        for (long r = 0; r < ROWS; r++) out[r * stride + i] = sums[i * HALVES + r / LANES][r % LANES];
}

// The 16 rows of a panel, of which the first is given, times all inputs.
template <typename Format>
static void dot_all(const uint8_t *const *rows, long, long columns, const Inputs &in,
                    long count, float *out) {
    for (long i = 0; i < count; i += 4) {
        const auto dot = count - i >= 4   ? dot_panel<Format, 4>
                         : count - i == 3 ? dot_panel<Format, 3>
                         : count - i == 2 ? dot_panel<Format, 2>
                                          : dot_panel<Format, 1>;
        dot(rows[0], columns, in.panel, i, out + i, count);
    }
}

// The number of inputs up to which panels are faster than dequantised weights, less than the
// tokens of a prompt's last part. Measured on Ice Lake, where torch multiplies those (up to
// 256), and with AVX2 there; the others by the time of a product alone.
#if defined(__AVX512VNNI__) && !defined(__AVX512BF16__)
static const long FEW = 127;
#elif defined(__AVX512F__)
static const long FEW = 63;
#elif defined(__AVXVNNI__)
static const long FEW = 32;
#else
static const long FEW = 16;
#endif

typedef void (*Pack)(const RowBlocks &from, const long *order, long columns, uint8_t *to);

template <typename Format>
static BlockFormat format() {
    const long bytes = (Format::HEAD + Format::BLOCKS * NIBBLES) / ROWS;
    return {Format::WEIGHTS, bytes, set_inputs, dot_all<Format>, nullptr, nullptr};
}

static BlockFormat found(long number, Pack &pack) {
    switch (number) {
        case 2: return pack = pack_panel<Simple<false>>, format<Simple<false>>();
        case 3: return pack = pack_panel<Simple<true>>, format<Simple<true>>();
        case 12: return pack = pack_panel<Q4_K>, format<Q4_K>();
    }
    return {};
}

#else

typedef void (*Pack)(const RowBlocks &, const long *, long, uint8_t *);
static const long ROWS = MAX_ROWS, FEW = 0;
static BlockFormat found(long, Pack &) { return {}; }

#endif

BlockFormat panel_format_of(long number) {
    Pack pack;
    return found(number, pack);
}

extern "C" long gguf_few_in_panels() { return FEW; }

// The bytes of a row in panels; 0 where a format has none.
extern "C" long gguf_panel_row(long format, long columns) {
    const BlockFormat known = panel_format_of(format);
    return known.weights ? known.row_bytes(columns) : 0;
}

// Rows `order` [count, a multiple of 16] of a matrix -> panels, one behind the other.
extern "C" void gguf_pack(const RowBlocks *from, const long *order, long count, long columns,
                          uint8_t *to) {
    Pack pack;
    const long size = ROWS * found(from->format, pack).row_bytes(columns);
    ThreadPool::run(count / ROWS, [&](long p) {
        pack(*from, order + p * ROWS, columns, to + p * size);
    });
}
