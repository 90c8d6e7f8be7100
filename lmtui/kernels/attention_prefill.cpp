// Attention of many new tokens, a prompt, over keys and values in half precision.
//
// Owns what no library does well without matrix registers: products of pairs of
// bfloat16, summed in float32, on processors that have them (AVX512-BF16); elsewhere
// this is empty. Keys are looked at a tile at a time, in the order they lie in: what was
// found before is weakened where a tile has a larger score (Milakov & Gimelshein,
// "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention",
// 2022). Knows no model: HEAD and GROUP are as in attention_decode.cpp.

#include "kv_cache.h"

#if defined(__AVX512BF16__)

#include <numeric>
#include <vector>

static const long PARTS = HEAD / WIDE, PAIRS = HEAD / 2;
static const long TILE = 64, VECTORS = TILE / WIDE;  // keys
static const long ROWS = 6;                          // queries: all sums in registers
static const long STRIP = std::gcd(PARTS, 4L);       // of values, likewise
static const long TOKENS = 32;                       // whose queries go together

typedef uint16_t brain;  // bfloat16
typedef uint32_t pair;   // two of them

static inline lanes product(lanes sum, pair one, const pair *others) {
    const __m512bh same = (__m512bh)_mm512_set1_epi32((int)one);
    const __m512bh different = (__m512bh)_mm512_loadu_si512(others);
    return (lanes)_mm512_dpbf16_ps((__m512)sum, same, different);
}

static inline __m256i rounded(lanes all) {
    return (__m256i)_mm512_cvtneps_pbh((__m512)all);
}

// Keys and values of one head and row, in the order in which they are multiplied.
struct Packed {
    std::vector<pair> keys;    // [tiles, PAIRS, TILE]: two numbers of a key
    std::vector<pair> values;  // [tiles, TILE / 2, HEAD]: a number of two values
    long count = 0;

    void set(const half *all_keys, const half *all_values, long number) {
        count = number;
        const size_t size = (number + TILE - 1) / TILE * TILE * PAIRS;
        keys.resize(size), values.resize(size);
        for (long at = 0; at < number; at += TILE) {
            const long filled = std::min(TILE, number - at);
            set_keys(all_keys + at * HEAD, filled, keys.data() + at * PAIRS);
            set_values(all_values + at * HEAD, filled, values.data() + at * PAIRS);
        }
    }

    static void set_keys(const half *from, long filled, pair *to) {
        for (long key = 0; key < TILE; key++)
            for (long p = 0; p < PARTS; p++) {
                pair some[WIDE / 2] = {};
                if (key < filled)
                    _mm256_storeu_si256((__m256i *)some,
                                        rounded(widened(from + key * HEAD + p * WIDE)));
                for (long i = 0; i < WIDE / 2; i++)
                    to[(p * WIDE / 2 + i) * TILE + key] = some[i];
            }
    }

    static void set_values(const half *from, long filled, pair *to) {
        for (long key = 0; key < TILE; key += 2)
            for (long p = 0; p < PARTS; p++) {
                const half *at = from + key * HEAD + p * WIDE;
                const lanes low = key < filled ? widened(at) : lanes{};
                const lanes high = key + 1 < filled ? widened(at + HEAD) : lanes{};
                const __m512i both = _mm512_or_si512(
                    _mm512_cvtepu16_epi32(rounded(low)),
                    _mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded(high)), 16));
                _mm512_storeu_si512(to + key / 2 * HEAD + p * WIDE, both);
            }
    }
};

// Some queries, and what they have found so far.
struct Queries {
    pair asked[ROWS][PAIRS];
    long token[ROWS];  // the place of each among those that are new
    float most[ROWS], total[ROWS];
    float values[ROWS][HEAD];

    void begin() {
        std::memset(asked, 0, sizeof asked);
        std::memset(values, 0, sizeof values);
        std::fill(most, most + ROWS, NOTHING);
        std::fill(total, total + ROWS, 0.f);
        std::fill(token, token + ROWS, 0L);
    }

    void set(long row, const float *numbers, long place) {
        const float scale = 1 / std::sqrt((float)HEAD);
        for (long p = 0; p < PARTS; p++)
            _mm256_storeu_si256((__m256i *)(asked[row] + p * WIDE / 2),
                                rounded(loaded(numbers + p * WIDE) * scale));
        token[row] = place;
    }

    // Look at the keys from `first` to `first` + TILE, of which each query sees as many
    // as lie before `seen` and its own place.
    void look(const pair *keys, const pair *tile_values, long first, long seen,
              bool causal) {
        float scores[ROWS][TILE];
        score(keys, scores);
        pair weights[ROWS][TILE / 2];
        for (long r = 0; r < ROWS; r++) {
            const long end = seen + (causal ? token[r] + 1 : 0) - first;
            for (long j = std::max(end, 0L); j < TILE; j++) scores[r][j] = NOTHING;
            weigh(r, scores[r], weights[r]);
        }
        gather(tile_values, weights);
    }

    void score(const pair *keys, float (*scores)[TILE]) const {
        lanes sums[ROWS][VECTORS] = {};
        for (long i = 0; i < PAIRS; i++)
            for (long r = 0; r < ROWS; r++)
                for (long v = 0; v < VECTORS; v++)
                    sums[r][v] =
                        product(sums[r][v], asked[r][i], keys + i * TILE + v * WIDE);
        std::memcpy(scores, sums, sizeof sums);
    }

    void weigh(long r, const float *scores, pair *weights) {
        const float larger = std::max(most[r], largest(scores, TILE));
        const float base = larger == NOTHING ? 0 : larger;  // nothing was seen yet
        lanes sums = {};
        for (long v = 0; v < VECTORS; v++) {
            const lanes some = exponential(loaded(scores + v * WIDE) - base);
            sums += some;
            _mm256_storeu_si256((__m256i *)(weights + v * WIDE / 2), rounded(some));
        }
        if (larger > most[r]) {
            const float weaker = std::exp(most[r] - larger);
            total[r] *= weaker;
            for (long p = 0; p < PARTS; p++) {
                const lanes less = loaded(values[r] + p * WIDE) * weaker;
                std::memcpy(values[r] + p * WIDE, &less, sizeof less);
            }
            most[r] = larger;
        }
        total[r] += sum(sums);
    }

    void gather(const pair *tile_values, pair (*weights)[TILE / 2]) {
        for (long start = 0; start < PARTS; start += STRIP) {
            lanes sums[ROWS][STRIP];
            for (long r = 0; r < ROWS; r++)
                std::memcpy(sums[r], values[r] + start * WIDE, sizeof sums[r]);
            for (long j = 0; j < TILE / 2; j++)
                for (long r = 0; r < ROWS; r++)
                    for (long p = 0; p < STRIP; p++)
                        sums[r][p] = product(sums[r][p], weights[r][j],
                                             tile_values + j * HEAD + (start + p) * WIDE);
            for (long r = 0; r < ROWS; r++)
                std::memcpy(values[r] + start * WIDE, sums[r], sizeof sums[r]);
        }
    }

    void end(long row, float *found) const {
        for (long p = 0; p < PARTS; p++) {
            const lanes mean = loaded(values[row] + p * WIDE) / total[row];
            std::memcpy(found + p * WIDE, &mean, sizeof mean);
        }
    }
};

// The queries of some tokens, of the heads that share a key, over two texts.
static void look_at(const Packed &shared, const Packed &own, long held,
                    const float *heads, long every, float *found, long query_heads,
                    long first, long tokens) {
    const long count = tokens * GROUP, groups = (count + ROWS - 1) / ROWS;
    static thread_local std::vector<Queries> all;
    all.resize(groups);
    for (Queries &some : all) some.begin();
    for (long q = 0; q < count; q++) {
        const long token = first + q / GROUP;
        all[q / ROWS].set(q % ROWS, heads + token * every + q % GROUP * HEAD, token);
    }
    for (long at = 0; at < shared.count; at += TILE)
        for (Queries &some : all)
            some.look(&shared.keys[at * PAIRS], &shared.values[at * PAIRS], at,
                      shared.count, false);
    for (long at = 0; at < held + first + tokens; at += TILE)
        for (Queries &some : all)
            some.look(&own.keys[at * PAIRS], &own.values[at * PAIRS], at, held, true);
    for (long q = 0; q < count; q++)
        all[q / ROWS].end(q % ROWS, found + (first + q / GROUP) * query_heads * HEAD +
                                        q % GROUP * HEAD);
}

// As `attend` in attention_decode.cpp; each of the new tokens sees those before it.
extern "C" void attend_many(const float *heads, float *found, long rows, long tokens,
                            long kv_heads, half *shared_data, long shared_room,
                            long shared_count, half *own_data, long own_room,
                            long own_count) {
    const long query_heads = kv_heads * GROUP, every = query_heads + 2 * kv_heads;
    const Held shared = {shared_data, shared_room, shared_count};
    const Held own = {own_data, own_room, own_count + tokens};
    put_down(heads, rows, tokens, kv_heads, own);
    std::vector<Packed> packed(kv_heads * (1 + rows));  // the shared row comes first
#pragma omp parallel
    {
#pragma omp for schedule(dynamic)
        for (long i = 0; i < kv_heads * (1 + rows); i++) {
            const long row = std::max(i / kv_heads - 1, 0L), kv = i % kv_heads;
            const Held &held = i < kv_heads ? shared : own;
            packed[i].set(held.at(row, kv_heads, kv, 0),
                          held.at(row, kv_heads, kv_heads + kv, 0), held.count);
        }
        // The last tokens see most: they come first, so that all threads end together.
        const long blocks = (tokens + TOKENS - 1) / TOKENS, looks = rows * kv_heads;
#pragma omp for schedule(dynamic)
        for (long i = 0; i < blocks * looks; i++) {
            const long block = blocks - 1 - i / looks, first = block * TOKENS;
            const long row = i % looks / kv_heads, kv = i % kv_heads;
            const float *from = heads + (row * tokens * every + kv * GROUP) * HEAD;
            float *to = found + (row * tokens * query_heads + kv * GROUP) * HEAD;
            look_at(packed[kv], packed[(1 + row) * kv_heads + kv], own_count, from,
                    every * HEAD, to, query_heads, first,
                    std::min(TOKENS, tokens - first));
        }
    }
}

#endif
