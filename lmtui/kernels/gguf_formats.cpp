// Weights in the blocks of a GGUF file, read where they lie: products of single rows with a
// few inputs, and rows dequantised. Block formats: ggml-common.h and ggml-quants.c of
// https://github.com/ggml-org/ggml.
//
// A weight is scale · q + shift, with an integer q, and a scale (and a shift) for every 16
// or 32 columns. Inputs are rounded to 16 bits, with a scale for every 128 columns, and
// multiplied with q in integers; sums over chunks are float32. Their order depends on K
// alone, so an output has the same bits whatever the number of inputs or threads.

#include "gguf_formats.h"

#if !defined(__AVX2__) || defined(__AVX512F__)

static const long CHUNK = 128;              // columns that are decoded together
static const long WORDS = 32;               // 16-bit numbers of a vector
static const long VECTORS = CHUNK / WORDS;  // vectors of a chunk
static const long CACHED = 1 << 13;         // rounded inputs that a tile holds
static const float MOST = 32767;            // largest rounded input
// Bytes from what is multiplied to what is fetched meanwhile. That makes decoding a tenth
// (135 million weights) to a quarter (a billion) faster.
static const long AHEAD = 8192;

static inline float half(const uint8_t *from) {
#if defined(__F16C__)
    return _cvtsh_ss(read<uint16_t>(from));
#else
    return read<_Float16>(from);
#endif
}

// Tables, made by the compiler.
template <typename Number, int SIZE>
struct alignas(64) Table {
    Number at[SIZE];
};
template <typename Number, int SIZE, typename At>
static constexpr Table<Number, SIZE> table(At at) {
    Table<Number, SIZE> made{};
    for (int i = 0; i < SIZE; i++) made.at[i] = at(i);
    return made;
}
typedef Table<uint16_t, CHUNK> Order;  // of the 128 words in four vectors

static inline void reorder(const u16x32 *from, const Order &order, u16x32 *to) {
#if defined(__AVX512BW__)
    for (long v = 0; v < VECTORS; v++) {
        const __m512i at = _mm512_load_si512(order.at + v * WORDS);  // 6 bits are used
        const __m512i low =
            _mm512_permutex2var_epi16((__m512i)from[0], at, (__m512i)from[1]);
        const __m512i high =
            _mm512_permutex2var_epi16((__m512i)from[2], at, (__m512i)from[3]);
        const __mmask32 is_high = _mm512_test_epi16_mask(at, _mm512_set1_epi16(64));
        to[v] = (u16x32)_mm512_mask_mov_epi16(low, is_high, high);
    }
#else
    uint16_t all[CHUNK], found[CHUNK];
    std::memcpy(all, from, sizeof all);
    for (long k = 0; k < CHUNK; k++) found[k] = all[order.at[k]];
    std::memcpy(to, found, sizeof found);
#endif
}

// The formats. WEIGHTS and BYTES are those of a block. A unit is one block of 256 weights
// or four of 32; an object is a unit that has been read. Of the last unit of a row, the
// first `bytes` exist; scales and shifts of what is missing are 0. chunk(part, q, scales)
// decodes 128 weights: the numbers q, OFFSET too high, in four vectors; vector v belongs
// to sum v % SUMS; each sum has a scale for every two adjacent words. Where SHIFTS,
// shifts() holds that of a column of the unit in lane shift_lane(column); shifts_of
// spreads them like scales. column(v, w) is the column of word w of vector v.

struct NoShifts {
    static const bool SHIFTS = false;

    static constexpr int shift_lane(int) { return 0; }
    static inline f32x16 shifts_of(f32x16 shifts, int, int) { return shifts; }

    f32x16 shifts() const { return f32x16{}; }
};

// Four blocks of BYTES bytes, of which the first `bytes` bytes exist; the others are 0.
#if defined(__AVX512BW__)

// The first `bytes` of 64 bytes, and zeros.
static inline u16x32 read_some(const uint8_t *from, long bytes) {
    const __mmask64 mask = bytes >= 64 ? ~0ull : bytes > 0 ? (1ull << bytes) - 1 : 0;
    return (u16x32)_mm512_maskz_loadu_epi8(mask, from);
}

template <long BYTES>
struct FourBlocks {
    static const long UNIT = 4 * BYTES;
    u16x32 first, last;  // 64 bytes each

    INLINED FourBlocks(const uint8_t *from, long bytes)
        : first(kept(bytes == UNIT ? read<u16x32>(from) : read_some(from, bytes))),
          last(kept(bytes == UNIT ? read<u16x32>(from + UNIT - 64)
                                  : read_some(from + UNIT - 64, bytes - UNIT + 64))) {}

    // SHARE words of each block, every STEP words, from word START on.
    template <int SHARE, long START, long STEP>
    INLINED u16x32 pick() const {
        static constexpr auto places = table<uint16_t, WORDS>([](int i) {
            const long at = i / SHARE % 4 * (BYTES / 2) + START + i % SHARE * STEP;
            return at < WORDS ? at : at + 2 * WORDS - UNIT / 2;
        });
        return (u16x32)_mm512_permutex2var_epi16(
            (__m512i)first, _mm512_load_si512(places.at), (__m512i)last);
    }
    // 16 bytes of each block, from byte AT on.
    template <long AT>
    INLINED u16x32 bytes16() const {
        return pick<8, AT / 2, 1>();
    }
    // The two bytes of each block from byte AT on, 8 times.
    template <long AT>
    INLINED u16x32 broadcast_u16() const {
        return pick<8, AT / 2, 0>();
    }
    // The float16 number of each block at byte AT, 4 times.
    template <long AT>
    INLINED f32x16 broadcast_fp16() const {
        const u16x32 all = pick<4, AT / 2, 0>();
        return (f32x16)_mm512_cvtph_ps(_mm512_castsi512_si256((__m512i)all));
    }
};

#else

template <long BYTES>
struct FourBlocks {
    const uint8_t *from;
    long count;

    INLINED FourBlocks(const uint8_t *from, long bytes) : from(from), count(bytes / BYTES) {}

    template <long AT>
    INLINED u16x32 bytes16() const {
        u8x16 found[4];
        for (int b = 0; b < 4; b++)
            found[b] = b < count ? read<u8x16>(from + b * BYTES + AT) : u8x16{};
        return concat(found);
    }
    template <long AT>
    INLINED u16x32 broadcast_u16() const {
        typedef uint16_t u16x8 __attribute__((vector_size(16)));
        u8x16 found[4];
        for (int b = 0; b < 4; b++) {
            const uint16_t word = b < count ? read<uint16_t>(from + b * BYTES + AT) : 0;
            found[b] = (u8x16)(u16x8{} + word);
        }
        return concat(found);
    }
    template <long AT>
    INLINED f32x16 broadcast_fp16() const {
        f32x16 found = {};
        for (int b = 0; b < 4; b++)
            found[b] = b < count ? half(from + b * BYTES + AT) : 0;
        return broadcast4(found, 0);
    }
};

#endif

template <bool FIFTH, bool HAS_SHIFT>
struct Blocks32 {  // Q4_0, Q4_1, Q5_0, Q5_1
    static const long WEIGHTS = 32, HEADER = 2 + 2 * HAS_SHIFT, LOW = HEADER + 4 * FIFTH;
    static const long BYTES = LOW + 16, UNIT = 4 * BYTES;
    static const int SUMS = 1, OFFSET = HAS_SHIFT ? 0 : FIFTH ? 16 : 8;
    static const bool SHIFTS = HAS_SHIFT;

    static constexpr int column(int v, int w) {
        return w / 8 * 32 + v % 2 * 16 + w % 8 * 2 + v / 2;
    }
    static constexpr int shift_lane(int column) { return column / 32 * 4; }
    static inline f32x16 shifts_of(f32x16 shifts, int, int) { return shifts; }

    const FourBlocks<BYTES> blocks;

    INLINED Blocks32(const uint8_t *from, long bytes) : blocks(from, bytes) {}

    INLINED f32x16 shifts() const { return blocks.template broadcast_fp16<2>(); }
    INLINED void chunk(int, u16x32 *q, f32x16 *scales) const {
        const u16x32 four = blocks.template bytes16<LOW>();
        for (int v = 0; v < VECTORS; v++) q[v] = four >> 4 * v & 15;
        if (FIFTH) {
            static constexpr auto bits =
                table<uint16_t, WORDS>([](int w) { return 1 << w % 8 * 2; });
            const u16x32 bit = read<u16x32>(bits.at);
            const u16x32 fifths[2] = {blocks.template broadcast_u16<HEADER>(),
                                      blocks.template broadcast_u16<HEADER + 2>()};
            for (int v = 0; v < VECTORS; v++)
                q[v] |= (u16x32)((fifths[v % 2] & bit << v / 2) != 0) & 16;
        }
        *scales = blocks.template broadcast_fp16<0>();
    }
};

struct IQ4_NL : Blocks32<false, false> {
    static const int OFFSET = 0;

    using Blocks32::Blocks32;

    INLINED void chunk(int, u16x32 *q, f32x16 *scales) const {
        levels_of(blocks.bytes16<LOW>(), q);
        *scales = blocks.broadcast_fp16<0>();
    }
};

struct Q8_0 : NoShifts {
    static const long WEIGHTS = 32, BYTES = 34, UNIT = 4 * BYTES;
    static const int SUMS = 4, OFFSET = 0;

    static constexpr int column(int v, int w) { return v * 32 + w; }

    const uint8_t *from;
    long blocks;

    INLINED Q8_0(const uint8_t *from, long bytes) : from(from), blocks(bytes / BYTES) {}

    INLINED void chunk(int, u16x32 *q, f32x16 *scales) const {
        for (int v = 0; v < VECTORS; v++) {
            q[v] = u16x32{};
            scales[v] = f32x16{};
            if (v >= blocks) continue;
            const uint8_t *block = from + v * BYTES;
            q[v] = widen_i8(block + 2);
            scales[v] = f32x16{} + half(block);
        }
    }
};

template <bool FIFTH>
struct KBits {  // Q4_K, Q5_K
    static const long WEIGHTS = 256, HIGH = 16, LOW = FIFTH ? 48 : 16;
    static const long BYTES = LOW + 128, UNIT = BYTES;
    static const int SUMS = 2, OFFSET = 0;
    static const bool SHIFTS = true;

    static constexpr int column(int v, int w) {
        return w / 16 * 64 + v % 2 * 32 + w % 16 * 2 + v / 2;
    }
    // Those of two groups, from lane `first` on.
    static inline f32x16 two_of(const f32x16 &all, int first, int part, int sum) {
        const int group = first + 4 * part + sum;
        return broadcast8(all, group, group + 2);
    }
    static constexpr int shift_lane(int column) { return 8 + column / 32; }
    static inline f32x16 shifts_of(const f32x16 &shifts, int part, int sum) {
        return two_of(shifts, 8, part, sum);
    }

    const uint8_t *block;
    f32x16 both;

    // Scales, then minima with the sign of what is added.
    INLINED KBits(const uint8_t *block, long) : block(block) {
        f32x16 factors = {};  // both itself, whose lanes were set, would stay in memory
        factors[0] = half(block), factors[1] = -half(block + 2);
        both = broadcast8(factors, 0, 1) * bytes(q4_k_scales(block + 4));
    }

    INLINED f32x16 shifts() const { return both; }
    INLINED void chunk(int part, u16x32 *q, f32x16 *scales) const {
        const u16x32 four = kept(read<u16x32>(block + LOW + 64 * part));
        for (int v = 0; v < VECTORS; v++) q[v] = four >> 4 * v & 15;
        if (FIFTH) {
            // Bit g of byte k is the fifth of column k of group g.
            const u16x32 bits = kept(load_twice(block + HIGH, 2));
            for (int v = 0; v < VECTORS; v++)
                q[v] |= (bits >> (4 * part + v % 2 + v / 2 * 8) & 1) << 4;
        }
        for (int sum = 0; sum < SUMS; sum++) scales[sum] = two_of(both, 0, part, sum);
    }
};

struct Groups16 {  // Q2_K, Q3_K, Q6_K: a scale for every 16 columns
    static const long WEIGHTS = 256;
    static const int SUMS = 2;

    static constexpr int column(int v, int w) {
        return v % 2 * 64 + w / 16 * 32 + w % 16 * 2 + v / 2;
    }
    static inline f32x16 four_of(const f32x16 &all, int part, int sum) {
        return broadcast4(all, 8 * part + 4 * sum);
    }

    const uint8_t *block;
    f32x16 all;  // scales

    INLINED void scales_of(int part, f32x16 *scales) const {
        for (int sum = 0; sum < SUMS; sum++) scales[sum] = four_of(all, part, sum);
    }
    // The numbers of vector v, where each byte holds two bits of four columns, 32 apart.
    INLINED static u16x32 two_bits(u16x32 four, int v) {
        return four >> (v % 2 * 4 + v / 2 * 8) & 3;
    }
};

struct Q6_K : Groups16, NoShifts {
    static const long BYTES = 210, UNIT = BYTES;
    static const int OFFSET = 32;

    INLINED Q6_K(const uint8_t *block, long)
        : Groups16{block, bytes(read<i8x16>(block + 192)) * half(block + 208)} {}

    INLINED void chunk(int part, u16x32 *q, f32x16 *scales) const {
        const u16x32 four = kept(read<u16x32>(block + 64 * part));
        const u16x32 two = kept(load_twice(block + 128 + 32 * part, 2));
        for (int v = 0; v < VECTORS; v++) {
            // What two_bits finds, 4 bits further up.
            const int at = v % 2 * 4 + v / 2 * 8;
            const u16x32 upper = at < 4 ? two << (4 - at) : two >> (at - 4);
            q[v] = (four >> 4 * v & 15) | (upper & 48);
        }
        scales_of(part, scales);
    }
};

struct Q3_K : Groups16, NoShifts {
    static const long BYTES = 110, UNIT = BYTES;
    static const int OFFSET = 4;

    INLINED Q3_K(const uint8_t *block, long)
        : Groups16{block, bytes(q3_k_scales(block + 96)) * half(block + 108)} {}

    INLINED void chunk(int part, u16x32 *q, f32x16 *scales) const {
        const u16x32 two = kept(load_twice(block + 32 + 32 * part, 2));
        // Bit g of byte k is the third of column k of group g, of 32 columns.
        const u16x32 bits = kept(load_twice(block, 1));
        for (int v = 0; v < VECTORS; v++)
            q[v] = two_bits(two, v) | (bits >> (4 * part + v % 2 * 2 + v / 2 * 8) & 1) << 2;
        scales_of(part, scales);
    }
};

struct Q2_K : Groups16 {
    static const long BYTES = 84, UNIT = BYTES;
    static const int OFFSET = 0;
    static const bool SHIFTS = true;

    static constexpr int shift_lane(int column) { return column / 16; }
    static inline f32x16 shifts_of(const f32x16 &shifts, int part, int sum) {
        return four_of(shifts, part, sum);
    }

    f32x16 least;

    INLINED Q2_K(const uint8_t *block, long)
        : Groups16{block, bytes(read<u8x16>(block) & 15) * half(block + 80)},
          least(bytes(read<u8x16>(block) >> 4) * -half(block + 82)) {}

    INLINED f32x16 shifts() const { return least; }
    INLINED void chunk(int part, u16x32 *q, f32x16 *scales) const {
        const u16x32 two = kept(load_twice(block + 16 + 32 * part, 2));
        for (int v = 0; v < VECTORS; v++) q[v] = two_bits(two, v);
        scales_of(part, scales);
    }
};

struct IQ4_XS : NoShifts {
    static const long WEIGHTS = 256, BYTES = 136, UNIT = BYTES;
    static const int SUMS = 1, OFFSET = 0;

    static constexpr int column(int v, int w) { return IQ4_NL::column(v, w); }

    const uint8_t *block;
    f32x16 all;  // scales

    INLINED IQ4_XS(const uint8_t *block, long)
        : block(block), all(to_floats(iq4_xs_scales<i32x16>(block)) * half(block)) {}

    INLINED void chunk(int part, u16x32 *q, f32x16 *scales) const {
        levels_of(kept(read<u16x32>(block + 8 + 64 * part)), q);
        *scales = broadcast4(all, 4 * part);
    }
};

template <typename Format>
static constexpr Order columns_of() {  // the column of each word
    return table<uint16_t, CHUNK>(
        [](int i) { return Format::column(i / (int)WORDS, i % (int)WORDS); });
}

template <typename Format>
static constexpr Order words_of() {  // the word of each column
    Order made{};
    for (int v = 0; v < VECTORS; v++)
        for (int w = 0; w < WORDS; w++) made.at[Format::column(v, w)] = v * WORDS + w;
    return made;
}

template <typename Format>
static constexpr long unit_chunks() {
    return Format::UNIT / Format::BYTES * Format::WEIGHTS / CHUNK;
}

// Units of a row, of which the last may lack blocks.
template <typename Format>
static inline long unit_count(long columns) {
    const long weights = Format::UNIT / Format::BYTES * Format::WEIGHTS;
    return (columns + weights - 1) / weights;
}

// Calls take(u, bytes) for units first … end of a row, with the number of their bytes.
template <typename Format, typename Take>
INLINED static inline void each_unit(long columns, long first, long end, const Take &take) {
    const long bytes = columns / Format::WEIGHTS * Format::BYTES;
    const long whole = std::min(end, bytes / Format::UNIT);
    for (long u = first; u < whole; u++) take(u, Format::UNIT);
    if (whole < end) take(whole, bytes - whole * Format::UNIT);
}

// Rounds up to 128 inputs; returns their scale.
static float round_chunk(const float *from, long size, i16x32 *to) {
    f32x16 all[CHUNK / 16] = {};
    std::memcpy(all, from, size * sizeof(float));
    const float largest = largest_of(from, size), by = factor_for(largest, MOST);
    int16_t *number = (int16_t *)to;
    const float magic = 12582912.f;  // 1.5 · 2^23: adding it rounds to an integer
    for (const f32x16 &part : all) {
        const i32x16 integers = (i32x16)(part * by + magic) - 0x4B400000;
        for (int i = 0; i < 16; i++) number[i] = integers[i];
        number += 16;
    }
    return largest / MOST;  // not finite if an input is not
}

template <typename Format>
static void set_inputs(const float *inputs, long count, long columns, Inputs &to) {
    static constexpr Order order = columns_of<Format>();
    const i16x32 ones = i16x32{} + 1;
    to.chunks = (columns + CHUNK - 1) / CHUNK;
    to.units = (to.chunks + unit_chunks<Format>() - 1) / unit_chunks<Format>();
    to.words.resize(count * to.chunks * VECTORS);
    to.scales.resize(count * to.chunks);
    to.offsets.resize(Format::OFFSET ? count * to.chunks * Format::SUMS : 0);
    to.sums.assign(Format::SHIFTS ? count * to.units : 0, f32x16{});
    for (long i = 0; i < count; i++, inputs += columns)
        for (long c = 0; c < to.chunks; c++) {
            const long at = i * to.chunks + c;
            i16x32 rounded[VECTORS], *const words = to.words.data() + at * VECTORS;
            to.scales[at] = round_chunk(
                inputs + c * CHUNK, std::min(CHUNK, columns - c * CHUNK), rounded);
            reorder((const u16x32 *)rounded, order, (u16x32 *)words);
            if (Format::OFFSET)
                for (int s = 0; s < Format::SUMS; s++) {
                    i32x16 sum = {};
                    for (int v = s; v < VECTORS; v += Format::SUMS)
                        sum = dot(sum, words[v], ones);
                    to.offsets[at * Format::SUMS + s] = sum * -Format::OFFSET;
                }
            if (Format::SHIFTS) {
                int32_t lanes[16] = {};
                for (int v = 0; v < VECTORS; v++) {
                    const i32x16 pairs = dot(i32x16{}, rounded[v], ones);
                    const int first = c % unit_chunks<Format>() * CHUNK + v * WORDS;
                    for (int w = 0; w < 16; w++)
                        lanes[Format::shift_lane(first + 2 * w)] += pairs[w];
                }
                to.sums[i * to.units + c / unit_chunks<Format>()] +=
                    to_floats(read<i32x16>(lanes)) * to.scales[at];
            }
        }
}

static inline float hsum16(f32x16 all) {
    f32v parts[16 / LANES];
    std::memcpy(parts, &all, sizeof all);
    for (long i = 1; i < 16 / LANES; i++) parts[0] += parts[i];
    return hsum(parts[0]);
}

// Sums of the products of one row with COUNT inputs, one lane for every 16th of them.
template <typename Format, int COUNT>
struct Sums {
    static const int ACCS = std::min(Format::SUMS, 2);
    f32x16 products[COUNT * ACCS], shifted[COUNT];

    INLINED float whole(int i) const {
        f32x16 all = shifted[i];
        for (int a = 0; a < ACCS; a++) all += products[i * ACCS + a];
        return hsum16(all);
    }
};

// Adds units begin … end of one row times COUNT inputs, from input `first` on.
template <typename Format, int COUNT>
static inline void add_row(const uint8_t *row, long columns, long begin, long end,
                           const Inputs &in, long first, Sums<Format, COUNT> &to) {
    const int SUMS = Format::SUMS, ACCS = to.ACCS;
    Sums<Format, COUNT> acc = to;
    const i16x32 *words = in.words.data() + first * in.chunks * VECTORS;
    const i32x16 *offsets = in.offsets.data() + first * in.chunks * SUMS;
    const float *input_scales = in.scales.data() + first * in.chunks;
    const f32x16 *group_sums = in.sums.data() + first * in.units;
    each_unit<Format>(columns, begin, end, [&](long u, long bytes) INLINED {
        const uint8_t *const from = row + u * Format::UNIT;
        for (long line = 0; line < Format::UNIT; line += 64)
            __builtin_prefetch(from + AHEAD + line);
        const Format unit(from, bytes);
        if (Format::SHIFTS) {
            const f32x16 shifts = unit.shifts();
            unrolled<COUNT>([&](int i) INLINED {
                acc.shifted[i] =
                    fmadd16(group_sums[i * in.units + u], shifts, acc.shifted[i]);
            });
        }
        unrolled<unit_chunks<Format>()>([&](int part) INLINED {
            u16x32 q[VECTORS];
            f32x16 scales[SUMS];
            unit.chunk(part, q, scales);
            unrolled<COUNT * SUMS>([&](int n) INLINED {
                const int i = n / SUMS, s = n % SUMS;
                const long at = i * in.chunks + u * unit_chunks<Format>() + part;
                i32x16 sum = {};
                if (Format::OFFSET) sum = offsets[at * SUMS + s];
                for (int v = s; v < VECTORS; v += SUMS)
                    sum = dot(sum, (i16x32)q[v], words[at * VECTORS + v]);
                f32x16 &product = acc.products[i * ACCS + s % ACCS];
                product = fmadd16(to_floats(sum) * input_scales[at], scales[s], product);
            });
        });
    });
    to = acc;
}

// Up to MAX_ROWS rows times COUNT inputs, from input `first` on. The inputs of a tile stay
// in the fastest cache for all rows.
template <typename Format, int COUNT>
static void dot_rows(const uint8_t *const *rows, long row_count, long columns,
                     const Inputs &in, long first, float *out, long stride) {
    const long units = unit_count<Format>(columns);
    const long tile = COUNT == 1 ? units : CACHED / COUNT / unit_chunks<Format>() / CHUNK;
    Sums<Format, COUNT> sums[MAX_ROWS];
    for (long r = 0; r < row_count; r++) sums[r] = {};
    for (long u = 0; u < units; u += tile)
        for (long r = 0; r < row_count; r++)
            add_row(rows[r], columns, u, std::min(units, u + tile), in, first, sums[r]);
    for (long r = 0; r < row_count; r++)
        for (int i = 0; i < COUNT; i++) out[r * stride + i] = sums[r].whole(i);
}

template <typename Format>
static void dot_all(const uint8_t *const *rows, long row_count, long columns,
                    const Inputs &in, long count, float *out) {
    for (long i = 0; i < count; i += 4) {
        const auto dot = count - i >= 4   ? dot_rows<Format, 4>
                         : count - i == 3 ? dot_rows<Format, 3>
                         : count - i == 2 ? dot_rows<Format, 2>
                                          : dot_rows<Format, 1>;
        dot(rows, row_count, columns, in, i, out + i, count);
    }
}

// The weights of two adjacent words.
struct Pair {
    f32x16 even, odd;
};

template <typename Format>
static inline Pair weights_of(u16x32 q, f32x16 scales, f32x16 shifts) {
    const i32x16 both = (i32x16)q;
    Pair found = {to_floats((both << 16 >> 16) - Format::OFFSET) * scales,
                  to_floats((both >> 16) - Format::OFFSET) * scales};
    if (Format::SHIFTS) found = {found.even + shifts, found.odd + shifts};
    return found;
}

// Calls take(chunk, v, pair) for every vector of a row.
template <typename Format, typename Take>
INLINED static inline void each_pair(const uint8_t *row, long columns, const Take &take) {
    const long units = unit_count<Format>(columns);
    each_unit<Format>(columns, 0, units, [&](long u, long bytes) INLINED {
        const Format unit(row + u * Format::UNIT, bytes);
        const f32x16 shifts = unit.shifts();
        for (int part = 0; part < unit_chunks<Format>(); part++) {
            u16x32 q[VECTORS];
            f32x16 scales[Format::SUMS];
            unit.chunk(part, q, scales);
            for (int v = 0; v < VECTORS; v++) {
                const int sum = v % Format::SUMS;
                take(u * unit_chunks<Format>() + part, v,
                     weights_of<Format>(q[v], scales[sum],
                                        Format::shifts_of(shifts, part, sum)));
            }
        }
    });
}

// The lower halves of two vectors' numbers side by side, and the upper ones.
static inline u32x16 lower_halves(u32x16 even, u32x16 odd) {
    return (even & 0xFFFF) | odd << 16;
}
static inline u32x16 upper_halves(u32x16 even, u32x16 odd) {
    return even >> 16 | (odd & 0xFFFF0000);
}

template <typename Format>
static void decode_row(const uint8_t *row, long columns, float *out) {
#if defined(__AVX512BW__)
    // Halves of numbers are brought into order each for itself, words of columns 16 apart
    // side by side, and joined.
    static constexpr Order words = words_of<Format>();
    static constexpr Order order = table<uint16_t, CHUNK>(
        [](int i) { return words.at[i / WORDS * WORDS + i % 2 * 16 + i % WORDS / 2]; });
    u16x32 found[2][VECTORS], ordered[2][VECTORS];
    u32x16 joined[2 * VECTORS];
    each_pair<Format>(row, columns, [&](long chunk, int v, Pair pair) INLINED {
        found[0][v] = (u16x32)lower_halves((u32x16)pair.even, (u32x16)pair.odd);
        found[1][v] = (u16x32)upper_halves((u32x16)pair.even, (u32x16)pair.odd);
        if (v + 1 < VECTORS) return;
        for (int half = 0; half < 2; half++) reorder(found[half], order, ordered[half]);
        for (int i = 0; i < VECTORS; i++) {
            const u32x16 low = (u32x16)ordered[0][i], high = (u32x16)ordered[1][i];
            joined[2 * i] = lower_halves(low, high);
            joined[2 * i + 1] = upper_halves(low, high);
        }
        std::memcpy(out + chunk * CHUNK, joined,
                    std::min(CHUNK, columns - chunk * CHUNK) * sizeof(float));
    });
#else
    each_pair<Format>(row, columns, [&](long chunk, int v, Pair pair) INLINED {
        for (int w = 0; w < WORDS; w++) {
            const long k = chunk * CHUNK + Format::column(v, w);
            if (k < columns) out[k] = w % 2 ? pair.odd[w / 2] : pair.even[w / 2];
        }
    });
#endif
}

template <typename Format>
static void decode_row_bf16(const uint8_t *row, long columns, bf16 *out) {
    static constexpr Order order = words_of<Format>();
    u16x32 found[VECTORS], ordered[VECTORS];
    each_pair<Format>(row, columns, [&](long chunk, int v, Pair pair) INLINED {
        found[v] = (u16x32)upper_halves(round_to_bf16<u32x16>(pair.even),
                                        round_to_bf16<u32x16>(pair.odd));
        if (v + 1 < VECTORS) return;
        reorder(found, order, ordered);
        std::memcpy(out + chunk * CHUNK, ordered,
                    std::min(CHUNK, columns - chunk * CHUNK) * sizeof(bf16));
    });
}

template <typename Format>
BlockFormat format() {
    return {Format::WEIGHTS,     Format::BYTES,      set_inputs<Format>,
            dot_all<Format>,     decode_row<Format>, decode_row_bf16<Format>};
}

#include "gguf_format_table.h"

#endif
