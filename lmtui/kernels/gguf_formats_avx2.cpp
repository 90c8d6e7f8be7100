// Weights in the blocks of a GGUF file, as in gguf_formats.cpp, with AVX2 and AVX-VNNI:
// weights stay bytes, and an input is two of them, hi · 256 + lo, with one scale for the
// columns of a unit.
//
// The number q of a weight is at least 0, since products of bytes need one factor without
// a sign; what its offset adds is the sum of the inputs. Sums over a unit are integers,
// sums over units float32. Their order depends on K alone, so an output has the same bits
// whatever the number of inputs or threads.

#include "float_formats.h"

#if defined(__AVX2__) && !defined(__AVX512F__)

static const int LOW = 256, SHIFT = 8;       // the factor of hi, which is at most 127
static const float MOST = 127 * LOW + 127;  // largest rounded input
// Bytes from what is multiplied to what is fetched meanwhile.
static const long AHEAD = 4096;

static inline __m256i load32(const void *from) {
    return _mm256_loadu_si256((const __m256i *)from);
}
static inline __m128i load16(const void *from) {
    return _mm_loadu_si128((const __m128i *)from);
}
// a in the lower lane, b in the upper.
static inline __m256i lanes(__m128i a, __m128i b) { return _mm256_set_m128i(b, a); }
static inline __m256i both_lanes(__m128i a) { return _mm256_broadcastsi128_si256(a); }

static inline float half(const uint8_t *from) { return _cvtsh_ss(read<uint16_t>(from)); }

// The float16 numbers at a and b, and zeros.
static inline __m128 two_halves(const uint8_t *a, const uint8_t *b) {
    const uint32_t first = read<uint16_t>(a), other = read<uint16_t>(b);
    return _mm_cvtph_ps(_mm_cvtsi32_si128(first | other << 16));
}
// Four times the first number, four times the one STEP behind it.
template <int STEP>
static inline __m256 spread_two(__m128 all) {
    const __m256i at = _mm256_setr_epi32(0, 0, 0, 0, STEP, STEP, STEP, STEP);
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(all), at);
}

// Products of two vectors of bytes q and one input, whose four products in turn have one
// scale: 8 sums of q · (hi · 256 + lo).
static inline __m256i dot_pair(const __m256i *q, const __m256i *input) {
#if defined(__AVXVNNI__)
    __m256i hi = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), q[0], input[0]);
    __m256i lo = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), q[0], input[2]);
    hi = _mm256_dpbusd_avx_epi32(hi, q[1], input[1]);
    lo = _mm256_dpbusd_avx_epi32(lo, q[1], input[3]);
    return _mm256_add_epi32(_mm256_slli_epi32(hi, SHIFT), lo);
#else
    const __m256i hi = _mm256_add_epi16(_mm256_maddubs_epi16(q[0], input[0]),
                                        _mm256_maddubs_epi16(q[1], input[1]));
    const __m256i lo = _mm256_add_epi16(_mm256_maddubs_epi16(q[0], input[2]),
                                        _mm256_maddubs_epi16(q[1], input[3]));
    return _mm256_add_epi32(_mm256_madd_epi16(hi, _mm256_set1_epi16(LOW)),
                            _mm256_madd_epi16(lo, _mm256_set1_epi16(1)));
#endif
}

// The formats. A unit is one block of 256 weights or two of 32, and an object is a unit
// that has been read; 64 columns of an input are four vectors. add(input, i, …) adds the
// unit's products with an input to a sum of 8 lanes. decode(out) dequantises the unit.

// The 16 bytes of q as floats: out = scale · q + shift.
template <bool SIGNED = false>
static inline void store16(__m128i q, float scale, float shift, float *out) {
    for (int i = 0; i < 2; i++) {
        const __m128i part = i ? _mm_srli_si128(q, 8) : q;
        const __m256i whole = SIGNED ? _mm256_cvtepi8_epi32(part) : _mm256_cvtepu8_epi32(part);
        _mm256_storeu_ps(out + 8 * i,
                         _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(scale),
                                         _mm256_set1_ps(shift)));
    }
}
template <bool SIGNED = false>
static inline void store32(__m256i q, float scale, float shift, float *out) {
    store16<SIGNED>(_mm256_castsi256_si128(q), scale, shift, out);
    store16<SIGNED>(_mm256_extracti128_si256(q, 1), scale, shift, out + 16);
}

static inline int32_t hsum_i32(__m256i all) {
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(all),
                                       _mm256_extracti128_si256(all, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
}

// The inputs of one unit, rounded.
struct Rounded {
    __m256i numbers[32];  // of 256 columns
    float scale;

    // Of columns first … first + count, multiples of 16.
    int32_t sum(long first, long count) const {
        __m256i all = _mm256_setzero_si256();
        for (long v = first / 8; v < (first + count) / 8; v++)
            all = _mm256_add_epi32(all, numbers[v]);
        return hsum_i32(all);
    }
    // Columns first … first + 16 as words.
    __m256i words16(long first) const {
        const __m256i *from = numbers + first / 8;
        return _mm256_permute4x64_epi64(_mm256_packs_epi32(from[0], from[1]), 0xD8);
    }
    // The same as bytes: hi, and lo.
    void split16(long first, int8_t *hi, int8_t *lo) const {
        const __m256i words = words16(first);
        const __m256i upper =
            _mm256_srai_epi16(_mm256_add_epi16(words, _mm256_set1_epi16(LOW / 2)), SHIFT);
        const __m256i rest = _mm256_sub_epi16(words, _mm256_slli_epi16(upper, SHIFT));
        const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(upper, rest), 0xD8);
        _mm_storeu_si128((__m128i *)hi, _mm256_castsi256_si128(both));
        _mm_storeu_si128((__m128i *)lo, _mm256_extracti128_si256(both, 1));
    }
};

static void round_unit(const float *from, long size, long unit, Rounded &to) {
    const float largest = largest_of(from, size), factor = factor_for(largest, MOST);
    const __m256 by = _mm256_set1_ps(factor);
    for (long k = 0; k < unit; k += 8)
        to.numbers[k / 8] =
            factor && k < size ? _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from + k), by))
                               : _mm256_setzero_si256();
    to.scale = largest / MOST;  // not finite if an input is not
}

template <bool FIFTH, bool HAS_SHIFT>
struct Blocks32 {  // Q4_0, Q4_1, Q5_0, Q5_1
    static const long WEIGHTS = 32, HEADER = 2 + 2 * HAS_SHIFT, NIBBLES = HEADER + 4 * FIFTH;
    static const long BYTES = NIBBLES + 16, UNIT = 64, VECTORS = 4;
    static const int OFFSET = HAS_SHIFT ? 0 : FIFTH ? 16 : 8;

    // Each lane of a vector belongs to one block: columns 0 to 15, then 16 to 31.
    static void set(const Rounded &rounded, __m256i *words, InputUnit &unit) {
        int8_t *bytes = (int8_t *)words;
        for (long part = 0; part < 4; part++)
            rounded.split16(part % 2 * 32 + part / 2 * 16, bytes + 16 * part,
                            bytes + 64 + 16 * part);
        for (long b = 0; b < 2; b++) {
            const int32_t sum = rounded.sum(32 * b, 32);
            if (HAS_SHIFT) unit.sums[2 * b + 1] = sum * rounded.scale;
            // One lane of a block takes it all.
            if (OFFSET) unit.offsets[4 * b] = -OFFSET * sum;
        }
    }

    __m256i q[2];
    __m256 scales;   // of the block of each lane
    __m128 header;   // where HAS_SHIFT: scale and shift of both blocks

    INLINED explicit Blocks32(const uint8_t *from) {
        const __m256i both = lanes(load16(from + NIBBLES), load16(from + BYTES + NIBBLES));
        const __m256i four = _mm256_set1_epi8(15);
        q[0] = _mm256_and_si256(both, four);
        q[1] = _mm256_and_si256(_mm256_srli_epi16(both, 4), four);
        if (FIFTH) {
            const __m256i bits =
                lanes(_mm_set1_epi32(read<int32_t>(from + HEADER)),
                      _mm_set1_epi32(read<int32_t>(from + BYTES + HEADER)));
            const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ull);
            const __m256i first = _mm256_setr_epi64x(0, 0x0101010101010101, 0,
                                                     0x0101010101010101);
            for (int v = 0; v < 2; v++) {
                const __m256i at = _mm256_add_epi8(first, _mm256_set1_epi8(2 * v));
                const __m256i spread = _mm256_shuffle_epi8(bits, at);
                const __m256i is = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
                q[v] = _mm256_or_si256(q[v], _mm256_and_si256(is, _mm256_set1_epi8(16)));
            }
        }
        if (HAS_SHIFT) {
            const __m128i halves = _mm_insert_epi32(
                _mm_cvtsi32_si128(read<int32_t>(from)), read<int32_t>(from + BYTES), 1);
            header = _mm_cvtph_ps(halves);
        } else {
            header = two_halves(from, from + BYTES);
        }
        scales = spread_two<HAS_SHIFT ? 2 : 1>(header);
    }

    INLINED void add(const __m256i *words, const InputUnit &unit, __m256 &sum) const {
        __m256i whole = dot_pair(q, words);
        if (OFFSET) whole = _mm256_add_epi32(whole, load32(unit.offsets));
        if (HAS_SHIFT) {
            const __m128 shifted = _mm_mul_ps(header, _mm_loadu_ps(unit.sums));
            sum = _mm256_add_ps(sum, _mm256_zextps128_ps256(shifted));
        }
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole),
                              _mm256_mul_ps(scales, _mm256_set1_ps(unit.scale)), sum);
    }
    INLINED void decode(float *out) const {
        const __m256i blocks[] = {_mm256_permute2x128_si256(q[0], q[1], 0x20),
                                  _mm256_permute2x128_si256(q[0], q[1], 0x31)};
        for (int b = 0; b < 2; b++) {
            const float scale = header[b * (HAS_SHIFT ? 2 : 1)];
            const float shift = HAS_SHIFT ? header[2 * b + 1] : -OFFSET * scale;
            store32(blocks[b], scale, shift, out + 32 * b);
        }
    }
};

struct Q8_0 {
    static const long WEIGHTS = 32, BYTES = 34, UNIT = 64, VECTORS = 4;

    // Words, since bytes with a sign would have to lose it first.
    static void set(const Rounded &rounded, __m256i *words, InputUnit &) {
        for (long k = 0; k < UNIT; k += 16) words[k / 16] = rounded.words16(k);
    }

    const uint8_t *from;

    INLINED explicit Q8_0(const uint8_t *from) : from(from) {}

    INLINED void add(const __m256i *words, const InputUnit &unit, __m256 &sum) const {
        for (int b = 0; b < 2; b++) {
            const uint8_t *q = from + b * BYTES + 2;
            const __m256i first = _mm256_cvtepi8_epi16(load16(q));
            const __m256i last = _mm256_cvtepi8_epi16(load16(q + 16));
            const __m256i whole = _mm256_add_epi32(_mm256_madd_epi16(first, words[2 * b]),
                                                   _mm256_madd_epi16(last, words[2 * b + 1]));
            const float scale = half(q - 2) * unit.scale;
            sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(scale), sum);
        }
    }
    INLINED void decode(float *out) const {
        for (int b = 0; b < 2; b++) {
            const uint8_t *q = from + b * BYTES + 2;
            store32<true>(load32(q), half(q - 2), 0, out + 32 * b);
        }
    }
};

// 64 columns of IQ4_NL or IQ4_XS, in two groups. They are multiplied as words, too.
struct Levels {
    __m256i first, last;  // bytes: columns 0 to 15 of both groups, then 16 to 31

    INLINED explicit Levels(__m256i nibbles) {
        const __m256i four = _mm256_set1_epi8(15), table = both_lanes(load16(LEVELS));
        const __m256i upper = _mm256_srli_epi16(nibbles, 4);
        first = _mm256_shuffle_epi8(table, _mm256_and_si256(nibbles, four));
        last = _mm256_shuffle_epi8(table, _mm256_and_si256(upper, four));
    }

    INLINED static __m256i even(__m256i all) {
        return _mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8);
    }
    INLINED static __m256i odd(__m256i all) { return _mm256_srai_epi16(all, 8); }

    // Even columns of 16, then odd ones, each lane of a group.
    static void set(const Rounded &rounded, long from, __m256i *words) {
        for (long part = 0; part < 2; part++) {
            const __m256i a = rounded.words16(from + 16 * part);
            const __m256i b = rounded.words16(from + 16 * part + 32);
            const __m256i sixteen = _mm256_set1_epi32(0xFFFF);
            const __m256i evens = _mm256_packus_epi32(_mm256_and_si256(a, sixteen),
                                                      _mm256_and_si256(b, sixteen));
            const __m256i odds =
                _mm256_packus_epi32(_mm256_srli_epi32(a, 16), _mm256_srli_epi32(b, 16));
            words[2 * part] = _mm256_permute4x64_epi64(evens, 0xD8);
            words[2 * part + 1] = _mm256_permute4x64_epi64(odds, 0xD8);
        }
    }

    // Lanes 0 to 3 are sums of the first group, 4 to 7 those of the second.
    INLINED __m256i dot(const __m256i *words) const {
        return _mm256_add_epi32(
            _mm256_add_epi32(_mm256_madd_epi16(even(first), words[0]),
                             _mm256_madd_epi16(odd(first), words[1])),
            _mm256_add_epi32(_mm256_madd_epi16(even(last), words[2]),
                             _mm256_madd_epi16(odd(last), words[3])));
    }
    // With the scale of the group of each lane.
    INLINED void decode(__m256 scales, float *out) const {
        store32<true>(_mm256_permute2x128_si256(first, last, 0x20), scales[0], 0, out);
        store32<true>(_mm256_permute2x128_si256(first, last, 0x31), scales[4], 0, out + 32);
    }
};

struct IQ4_NL {
    static const long WEIGHTS = 32, BYTES = 18, UNIT = 64, VECTORS = 4;

    static void set(const Rounded &rounded, __m256i *words, InputUnit &) {
        Levels::set(rounded, 0, words);
    }

    const Levels levels;
    const __m256 scales;

    INLINED explicit IQ4_NL(const uint8_t *from)
        : levels(lanes(load16(from + 2), load16(from + BYTES + 2))),
          scales(spread_two<1>(two_halves(from, from + BYTES))) {}

    INLINED void add(const __m256i *words, const InputUnit &unit, __m256 &sum) const {
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(levels.dot(words)),
                              _mm256_mul_ps(scales, _mm256_set1_ps(unit.scale)), sum);
    }
    INLINED void decode(float *out) const { levels.decode(scales, out); }
};

struct IQ4_XS {
    static const long WEIGHTS = 256, BYTES = 136, UNIT = 256, VECTORS = 16;

    static void set(const Rounded &rounded, __m256i *words, InputUnit &) {
        for (long part = 0; part < 4; part++)
            Levels::set(rounded, 64 * part, words + 4 * part);
    }

    const uint8_t *block;
    __m256 scales;  // of the groups

    INLINED explicit IQ4_XS(const uint8_t *block)
        : block(block),
          scales(_mm256_mul_ps(_mm256_cvtepi32_ps((__m256i)iq4_xs_scales<i32v>(block)),
                               _mm256_set1_ps(half(block)))) {}

    INLINED Levels levels(int part) const { return Levels(load32(block + 8 + 32 * part)); }
    INLINED __m256 scales_of(int part) const {
        const __m256i groups = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
        return _mm256_permutevar8x32_ps(
            scales, _mm256_add_epi32(groups, _mm256_set1_epi32(2 * part)));
    }
    INLINED void add(const __m256i *words, const InputUnit &unit, __m256 &sum) const {
        __m256 whole = _mm256_setzero_ps();
        unrolled<4>([&](int part) INLINED {
            const __m256i products = levels(part).dot(words + 4 * part);
            whole = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), scales_of(part), whole);
        });
        sum = _mm256_fmadd_ps(whole, _mm256_set1_ps(unit.scale), sum);
    }
    INLINED void decode(float *out) const {
        for (int part = 0; part < 4; part++)
            levels(part).decode(scales_of(part), out + 64 * part);
    }
};

// Products of 256 columns, in eight groups of 32, whose scales are integers: sums of hi
// and lo apart.
struct KSums {
    __m256i hi = _mm256_setzero_si256(), lo = _mm256_setzero_si256();

    INLINED void add(__m256i q, __m256i scales, __m256i high, __m256i low) {
        const __m256i his = _mm256_maddubs_epi16(q, high), los = _mm256_maddubs_epi16(q, low);
        hi = _mm256_add_epi32(hi, _mm256_madd_epi16(his, scales));
        lo = _mm256_add_epi32(lo, _mm256_madd_epi16(los, scales));
    }
    INLINED __m256 whole() const {
        return _mm256_fmadd_ps(_mm256_cvtepi32_ps(hi), _mm256_set1_ps(LOW),
                               _mm256_cvtepi32_ps(lo));
    }
};

// Each group of 32 columns of an input: hi, then lo.
static void set_groups(const Rounded &rounded, __m256i *words) {
    int8_t *bytes = (int8_t *)words;
    for (long k = 0; k < 256; k += 16)
        rounded.split16(k, bytes + k / 32 * 64 + k % 32, bytes + k / 32 * 64 + 32 + k % 32);
}

// Each byte's bits FROM and up, moved to bit TO and up. Its other bits are undefined.
template <int FROM, int TO>
INLINED static inline __m256i moved(__m256i all) {
    return FROM < TO ? _mm256_slli_epi16(all, TO - FROM) : _mm256_srli_epi16(all, FROM - TO);
}

template <bool FIFTH>
struct KBits {  // Q4_K, Q5_K
    static const long WEIGHTS = 256, HIGH = 16, NIBBLES = FIFTH ? 48 : 16;
    static const long BYTES = NIBBLES + 128, UNIT = 256, VECTORS = 16;

    static void set(const Rounded &rounded, __m256i *words, InputUnit &unit) {
        set_groups(rounded, words);
        for (long g = 0; g < 8; g++)
            unit.sums[g] = rounded.sum(32 * g, 32) * rounded.scale;
    }

    const uint8_t *block;
    float scale, least;
    u8x16 both;  // scales of the groups, then their minima

    INLINED explicit KBits(const uint8_t *block)
        : block(block), scale(half(block)), least(half(block + 2)),
          both(q4_k_scales(block + 4)) {}

    // The numbers of a group of 32 columns.
    template <int GROUP>
    INLINED __m256i group() const {
        __m256i found = load32(block + NIBBLES + GROUP / 2 * 32);
        if (GROUP % 2) found = _mm256_srli_epi16(found, 4);
        found = _mm256_and_si256(found, _mm256_set1_epi8(15));
        if (FIFTH) {  // bit g of byte k is the fifth of column k of group g
            const __m256i bits = load32(block + HIGH);
            const __m256i fifth = _mm256_and_si256(moved<GROUP, 4>(bits), _mm256_set1_epi8(16));
            found = _mm256_or_si256(found, fifth);
        }
        return found;
    }

    INLINED void add(const __m256i *words, const InputUnit &unit, __m256 &sum) const {
        KSums sums;
        const __m256i wide = both_lanes(_mm_cvtepu8_epi16((__m128i)both));
        unrolled<8>([&](auto g) INLINED {
            constexpr int GROUP = decltype(g)::value;
            const __m256i at = _mm256_set1_epi16((2 * GROUP + 1) << 8 | 2 * GROUP);
            sums.add(group<GROUP>(), _mm256_shuffle_epi8(wide, at), words[2 * GROUP],
                     words[2 * GROUP + 1]);
        });
        const __m256 shifts = _mm256_cvtepi32_ps(
            _mm256_cvtepu8_epi32(_mm_srli_si128((__m128i)both, 8)));
        sum = _mm256_fnmadd_ps(_mm256_mul_ps(shifts, _mm256_set1_ps(least)),
                               _mm256_loadu_ps(unit.sums), sum);
        sum = _mm256_fmadd_ps(sums.whole(), _mm256_set1_ps(scale * unit.scale), sum);
    }
    INLINED void decode(float *out) const {
        unrolled<8>([&](auto g) INLINED {
            constexpr int GROUP = decltype(g)::value;
            store32(group<GROUP>(), scale * both[GROUP], -(least * both[8 + GROUP]),
                       out + 32 * GROUP);
        });
    }
};

// What the blocks of Q2_K, Q3_K and Q6_K differ in. A weight of group g, of 16 columns, is
// scale · scales[g] · q + least · minima[g]; group<G>() are the numbers q of 32 columns.
struct Packed6 {
    static const long BYTES = 210;

    const uint8_t *block;
    __m128i scales = load16(block + 192), minima = scales;
    float scale = half(block + 208), least = -32 * scale;

    template <int GROUP>
    INLINED __m256i group() const {
        constexpr int PART = GROUP / 4, FOURTH = GROUP % 4;
        const __m256i four = load32(block + 64 * PART + 32 * (FOURTH % 2));
        const __m256i two = load32(block + 128 + 32 * PART);  // of four columns
        return _mm256_or_si256(
            _mm256_and_si256(moved<FOURTH / 2 * 4, 0>(four), _mm256_set1_epi8(15)),
            _mm256_and_si256(moved<2 * FOURTH, 4>(two), _mm256_set1_epi8(48)));
    }
};

struct Packed3 {
    static const long BYTES = 110;

    const uint8_t *block;
    __m128i scales = (__m128i)q3_k_scales(block + 96), minima = scales;
    float scale = half(block + 108), least = -4 * scale;

    template <int GROUP>
    INLINED __m256i group() const {
        const __m256i two = load32(block + 32 + GROUP / 4 * 32), bits = load32(block);
        return _mm256_or_si256(
            _mm256_and_si256(moved<GROUP % 4 * 2, 0>(two), _mm256_set1_epi8(3)),
            _mm256_and_si256(moved<GROUP, 2>(bits), _mm256_set1_epi8(4)));
    }
};

struct Packed2 {
    static const long BYTES = 84;

    const uint8_t *block;
    __m128i four = _mm_set1_epi8(15), scales = _mm_and_si128(load16(block), four);
    __m128i minima = _mm_and_si128(_mm_srli_epi16(load16(block), 4), four);
    float scale = half(block + 80), least = -half(block + 82);

    template <int GROUP>
    INLINED __m256i group() const {
        const __m256i two = load32(block + 16 + GROUP / 4 * 32);
        return _mm256_and_si256(moved<GROUP % 4 * 2, 0>(two), _mm256_set1_epi8(3));
    }
};

template <typename Packed>
struct Groups16 : Packed {
    static const long WEIGHTS = 256, UNIT = 256, VECTORS = 16;

    static void set(const Rounded &rounded, __m256i *words, InputUnit &unit) {
        set_groups(rounded, words);
        for (long g = 0; g < 16; g++)
            unit.sums[g] = rounded.sum(16 * g, 16) * rounded.scale;
    }

    INLINED explicit Groups16(const uint8_t *block) : Packed{block} {}

    INLINED void add(const __m256i *words, const InputUnit &unit, __m256 &sum) const {
        KSums sums;
        unrolled<8>([&](auto g) INLINED {
            constexpr int GROUP = decltype(g)::value;
            constexpr long long FIRST = 0x0101010101010101 * (2 * GROUP);
            const __m128i at = _mm_set_epi64x(FIRST + 0x0101010101010101, FIRST);
            const __m128i of_group = _mm_shuffle_epi8(this->scales, at);
            sums.add(this->template group<GROUP>(), _mm256_cvtepi8_epi16(of_group),
                     words[2 * GROUP], words[2 * GROUP + 1]);
        });
        for (int i = 0; i < 2; i++) {
            const __m128i eight = i ? _mm_srli_si128(this->minima, 8) : this->minima;
            const __m256 minima = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight));
            sum = _mm256_fmadd_ps(_mm256_mul_ps(minima, _mm256_set1_ps(this->least)),
                                  _mm256_loadu_ps(unit.sums + 8 * i), sum);
        }
        sum = _mm256_fmadd_ps(sums.whole(), _mm256_set1_ps(this->scale * unit.scale), sum);
    }
    INLINED void decode(float *out) const {
        const i8x16 scales = (i8x16)this->scales, minima = (i8x16)this->minima;
        unrolled<8>([&](auto g) INLINED {
            constexpr int GROUP = decltype(g)::value;
            const __m256i q = this->template group<GROUP>();
            const __m128i halves[] = {_mm256_castsi256_si128(q),
                                      _mm256_extracti128_si256(q, 1)};
            for (int i = 0; i < 2; i++) {
                const int at = 2 * GROUP + i;
                store16(halves[i], this->scale * scales[at], this->least * minima[at],
                        out + 16 * at);
            }
        });
    }
};
typedef Groups16<Packed2> Q2_K;
typedef Groups16<Packed3> Q3_K;
typedef Groups16<Packed6> Q6_K;

// Calls take(u, bytes) for the units of a row. Where the last one lacks a block, that
// block is all zeros.
template <typename Format, typename Take>
INLINED static inline void each_unit(const uint8_t *row, long columns, const Take &take) {
    const long blocks = Format::UNIT / Format::WEIGHTS, bytes = blocks * Format::BYTES;
    const long whole = columns / Format::UNIT;
    for (long u = 0; u < whole; u++) {
        for (long line = 0; line < bytes; line += 64)
            __builtin_prefetch(row + u * bytes + AHEAD + line);
        take(u, row + u * bytes);
    }
    if (const long rest = columns % Format::UNIT) {
        uint8_t last[bytes] = {};
        std::memcpy(last, row + whole * bytes, rest / Format::WEIGHTS * Format::BYTES);
        take(whole, last);
    }
}

template <typename Format>
static void set_inputs(const float *inputs, long count, long columns, Inputs &to) {
    to.units = (columns + Format::UNIT - 1) / Format::UNIT;
    to.bytes.resize(count * to.units * Format::VECTORS);
    to.about.resize(count * to.units);
    Rounded rounded;
    for (long i = 0; i < count; i++)
        for (long u = 0; u < to.units; u++) {
            const long at = i * to.units + u, first = u * Format::UNIT;
            round_unit(inputs + i * columns + first, std::min(Format::UNIT, columns - first),
                       Format::UNIT, rounded);
            InputUnit &unit = to.about[at] = {};
            unit.scale = rounded.scale;
            Format::set(rounded, (__m256i *)&to.bytes[at * Format::VECTORS], unit);
        }
}

// One row times COUNT inputs, from input `first` on.
template <typename Format, int COUNT>
static inline void dot_row(const uint8_t *row, long columns, const Inputs &in, long first,
                           float *out) {
    const __m256i *words = (const __m256i *)in.bytes.data() + first * in.units * Format::VECTORS;
    const InputUnit *about = in.about.data() + first * in.units;
    __m256 sums[COUNT];
    for (int i = 0; i < COUNT; i++) sums[i] = _mm256_setzero_ps();
    each_unit<Format>(row, columns, [&](long u, const uint8_t *from) INLINED {
        const Format unit(from);
        for (int i = 0; i < COUNT; i++) {
            const long at = i * in.units + u;
            unit.add(words + at * Format::VECTORS, about[at], sums[i]);
        }
    });
    for (int i = 0; i < COUNT; i++) out[i] = hsum((f32v)sums[i]);
}

template <typename Format>
static void dot_all(const uint8_t *const *rows, long row_count, long columns,
                    const Inputs &in, long count, float *out) {
    for (long i = 0; i < count; i += 4) {
        const auto dot = count - i >= 4   ? dot_row<Format, 4>
                         : count - i == 3 ? dot_row<Format, 3>
                         : count - i == 2 ? dot_row<Format, 2>
                                          : dot_row<Format, 1>;
        for (long r = 0; r < row_count; r++) dot(rows[r], columns, in, i, out + r * count + i);
    }
}

template <typename Format>
static void decode_row(const uint8_t *row, long columns, float *out) {
    each_unit<Format>(row, columns, [&](long u, const uint8_t *from) INLINED {
        const Format unit(from);
        if ((u + 1) * Format::UNIT <= columns) return unit.decode(out + u * Format::UNIT);
        float last[Format::UNIT];
        unit.decode(last);
        std::copy_n(last, columns - u * Format::UNIT, out + u * Format::UNIT);
    });
}

template <typename Format>
static void decode_row_bf16(const uint8_t *row, long columns, bf16 *out) {
    each_unit<Format>(row, columns, [&](long u, const uint8_t *from) INLINED {
        float unit[Format::UNIT];
        Format(from).decode(unit);
        const long first = u * Format::UNIT, count = std::min(Format::UNIT, columns - first);
        round_floats<float>((const uint8_t *)unit, count, out + first);
    });
}

template <typename Format>
BlockFormat format() {
    return {Format::WEIGHTS, Format::BYTES,      set_inputs<Format>,
            dot_all<Format>, decode_row<Format>, decode_row_bf16<Format>};
}

#include "gguf_format_table.h"

#endif
