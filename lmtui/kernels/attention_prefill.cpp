// Attention of many new tokens, a prompt, over a float16 KV cache, with AVX2 or AVX-512.
//
// The mask is causal. With AVX512-BF16, queries, keys, values and weights are rounded to
// bfloat16; products are summed in float32. Keys are visited one tile at a time with an
// online softmax: a larger maximum rescales the sums so far (Milakov & Gimelshein, "Online
// normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022). On other
// processors this file is empty. HEAD is the width of a head.

#include <numeric>
#include <vector>

#include "kv_cache.h"
#include "thread_pool.h"
#include "unrolled.h"

// Factors are units: numbers along the sum, which are multiplied together. to_units rounds
// the LANES numbers of a vector; dot adds to a sum the products of one unit with LANES
// others.
#if defined(__AVX512BF16__)
#define HAS_ATTEND_MANY

typedef uint32_t Unit;  // two bfloat16 numbers
static const long NUMBERS = 2, KEY_TILE = 64, MOST_STRIP = 4;

static inline void to_units(f32v all, Unit *to) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)all));
}
static inline f32v dot(f32v sum, Unit a, const Unit *b) {
    const __m512bh one = (__m512bh)_mm512_set1_epi32((int)a);
    return (f32v)_mm512_dpbf16_ps((__m512)sum, one, (__m512bh)_mm512_loadu_si512(b));
}
// The numbers of two vectors, one of each in a unit.
static inline void zip(f32v even, f32v odd, Unit *to) {
    Unit units[LANES];
    uint16_t numbers[2][LANES];
    to_units(even, (Unit *)numbers[0]);
    to_units(odd, (Unit *)numbers[1]);
    for (long i = 0; i < LANES; i++) units[i] = numbers[0][i] | (Unit)numbers[1][i] << 16;
    std::memcpy(to, units, sizeof units);
}

#elif defined(__AVX2__) && defined(__FMA__)
#define HAS_ATTEND_MANY

typedef float Unit;
static const long NUMBERS = 1, MOST_STRIP = REGISTERS == 32 ? 4 : 2;
static const long KEY_TILE = MOST_STRIP * LANES;

static inline void to_units(f32v all, Unit *to) { std::memcpy(to, &all, sizeof all); }
static inline f32v dot(f32v sum, Unit a, const Unit *b) {
    return fmadd(broadcast(a), load(b), sum);
}
static inline void zip(f32v even, f32v, Unit *to) { to_units(even, to); }

#endif

#ifdef HAS_ATTEND_MANY

static const long TILE_VECTORS = KEY_TILE / LANES;  // keys of a tile
static const long QUERY_TILE = 6;    // queries of a tile: all sums stay in registers
static const long TOKEN_BLOCK = 32;  // tokens of a task

template <long HEAD>
struct ManyTokens {
    static constexpr long HEAD_VECTORS = HEAD / LANES, HEAD_UNITS = HEAD / NUMBERS;
    static constexpr long STRIP = std::gcd(HEAD_VECTORS, MOST_STRIP);  // vectors of a value

    // Keys and values of one row and head, in the order of the dot products.
    struct PackedKV {
        // [tiles, HEAD_UNITS, KEY_TILE] of one key each, and
        // [tiles, KEY_TILE / NUMBERS, HEAD] of a number of each value
        std::vector<Unit> keys, values;
        long count = 0;

        // Pack `tokens` keys and values, each [tokens, HEAD], of [tokens, room].
        void pack(const fp16 *k, const fp16 *v, long tokens, long room) {
            count = tokens;
            const size_t size = (tokens + KEY_TILE - 1) / KEY_TILE * KEY_TILE * HEAD_UNITS;
            keys.resize(size), values.resize(size);
            for (long at = 0; at < tokens; at += KEY_TILE) {
                const long valid = std::min(KEY_TILE, tokens - at);
                pack_keys(k + at * room, room, valid, keys.data() + at * HEAD_UNITS);
                pack_values(v + at * room, room, valid, values.data() + at * HEAD_UNITS);
            }
        }

        // One tile, of which the first `valid` keys exist; the others become 0.
        static void pack_keys(const fp16 *from, long room, long valid, Unit *to) {
            for (long key = 0; key < KEY_TILE; key++)
                for (long p = 0; p < HEAD_VECTORS; p++) {
                    Unit units[LANES / NUMBERS] = {};
                    if (key < valid) to_units(to_f32(from + key * room + p * LANES), units);
                    for (long i = 0; i < LANES / NUMBERS; i++)
                        to[(p * LANES / NUMBERS + i) * KEY_TILE + key] = units[i];
                }
        }

        static void pack_values(const fp16 *from, long room, long valid, Unit *to) {
            for (long key = 0; key < KEY_TILE; key += NUMBERS)
                for (long p = 0; p < HEAD_VECTORS; p++) {
                    const fp16 *at = from + key * room + p * LANES;
                    const f32v even = key < valid ? to_f32(at) : f32v{};
                    const f32v odd =
                        NUMBERS == 2 && key + 1 < valid ? to_f32(at + room) : f32v{};
                    zip(even, odd, to + key / NUMBERS * HEAD + p * LANES);
                }
        }
    };

    // A tile of queries and the state of their online softmax: the maximum of the scores so
    // far, the sum of exp(score - max), and the values weighted by that.
    struct QueryTile {
        Unit q[QUERY_TILE][HEAD_UNITS];
        long token[QUERY_TILE];  // the index of each among the new tokens
        float max[QUERY_TILE], sum[QUERY_TILE];
        float acc[QUERY_TILE][HEAD];

        void reset() {
            std::memset(q, 0, sizeof q);
            std::memset(acc, 0, sizeof acc);
            std::fill(max, max + QUERY_TILE, NEG_INF);
            std::fill(sum, sum + QUERY_TILE, 0.f);
            std::fill(token, token + QUERY_TILE, 0L);
        }

        // Set query i to `from` [HEAD], scaled by 1 / √HEAD.
        void set_query(long i, const float *from, long token_index) {
            const float scale = 1 / std::sqrt((float)HEAD);
            for (long p = 0; p < HEAD_VECTORS; p++)
                to_units(load(from + p * LANES) * scale, q[i] + p * LANES / NUMBERS);
            token[i] = token_index;
        }

        // Attend over one tile of packed keys and values, `first` to `first` + KEY_TILE.
        // Visible are the `cached` keys and, if causal, the new ones up to a query's own
        // token; of these the last `window`, of which the new tokens begin at `start`.
        void attend_block(const Unit *keys, const Unit *values, long first, long cached,
                          bool causal, long start, long window) {
            float scores[QUERY_TILE][KEY_TILE];
            qk_scores(keys, scores);
            Unit weights[QUERY_TILE][KEY_TILE / NUMBERS];
            for (long i = 0; i < QUERY_TILE; i++) {
                // Mask the keys after the last visible one.
                const long end = cached + (causal ? token[i] + 1 : 0) - first;
                for (long j = std::max(end, 0L); j < KEY_TILE; j++) scores[i][j] = NEG_INF;
                const long hidden = start + token[i] + 1 - window - first;
                for (long j = 0; j < std::min(hidden, KEY_TILE); j++) scores[i][j] = NEG_INF;
                online_softmax(i, scores[i], weights[i]);
            }
            accumulate_values(values, weights);
        }

        // q · kᵀ: scores [QUERY_TILE, KEY_TILE]. Loops over sums are unrolled, since these
        // stay in registers only then.
        void qk_scores(const Unit *keys, float (*scores)[KEY_TILE]) const {
            f32v sums[QUERY_TILE * TILE_VECTORS];
            unrolled<QUERY_TILE * TILE_VECTORS>([&](int n) INLINED { sums[n] = f32v{}; });
            for (long d = 0; d < HEAD_UNITS; d++)
                unrolled<QUERY_TILE * TILE_VECTORS>([&](int n) INLINED {
                    sums[n] = dot(sums[n], q[n / TILE_VECTORS][d],
                                  keys + d * KEY_TILE + n % TILE_VECTORS * LANES);
                });
            unrolled<QUERY_TILE * TILE_VECTORS>([&](int n) INLINED {
                std::memcpy(scores[n / TILE_VECTORS] + n % TILE_VECTORS * LANES, &sums[n],
                            sizeof sums[n]);
            });
        }

        // Turn the scores of query i into weights exp(score - max) and update max, sum and
        // acc.
        void online_softmax(long i, const float *scores, Unit *weights) {
            const float new_max = std::max(max[i], hmax(scores, KEY_TILE));
            const float base =
                new_max == NEG_INF ? 0 : new_max;  // 0: no key is visible yet
            f32v sums = {};
            for (long v = 0; v < TILE_VECTORS; v++) {
                const f32v weight = exp_neg(load(scores + v * LANES) - base);
                sums += weight;
                to_units(weight, weights + v * LANES / NUMBERS);
            }
            if (new_max > max[i]) {
                const float scale = std::exp(max[i] - new_max);
                sum[i] *= scale;
                for (long p = 0; p < HEAD_VECTORS; p++) {
                    const f32v scaled = load(acc[i] + p * LANES) * scale;
                    std::memcpy(acc[i] + p * LANES, &scaled, sizeof scaled);
                }
                max[i] = new_max;
            }
            sum[i] += hsum(sums);
        }

        // acc += weights · V, STRIP vectors of a head at a time.
        void accumulate_values(const Unit *values, Unit (*weights)[KEY_TILE / NUMBERS]) {
            for (long start = 0; start < HEAD_VECTORS; start += STRIP) {
                f32v sums[QUERY_TILE * STRIP];
                unrolled<QUERY_TILE * STRIP>([&](int n) INLINED {
                    sums[n] = load(acc[n / STRIP] + (start + n % STRIP) * LANES);
                });
                for (long j = 0; j < KEY_TILE / NUMBERS; j++)
                    unrolled<QUERY_TILE * STRIP>([&](int n) INLINED {
                        sums[n] = dot(sums[n], weights[n / STRIP][j],
                                      values + j * HEAD + (start + n % STRIP) * LANES);
                    });
                unrolled<QUERY_TILE * STRIP>([&](int n) INLINED {
                    std::memcpy(acc[n / STRIP] + (start + n % STRIP) * LANES, &sums[n],
                                sizeof sums[n]);
                });
            }
        }

        // Divide by the sum of the weights: out [HEAD] of query i.
        void finish(long i, float *out) const {
            for (long p = 0; p < HEAD_VECTORS; p++) {
                const f32v mean = load(acc[i] + p * LANES) / sum[i];
                std::memcpy(out + p * LANES, &mean, sizeof mean);
            }
        }
    };

    // Attention of `tokens` new tokens from `first` on, for the query heads of one key
    // head, over the packed keys and values of the shared prefix and of their own row. `q`
    // and `out` point to the first of these heads at token 0.
    static void attend_tokens(const PackedKV &shared, const PackedKV &own, long own_count,
                              const float *q, float *out, const Heads &heads, long first,
                              long tokens, long window) {
        // 1) Load the queries, [tokens, group, HEAD], into tiles.
        const long group = heads.group(), count = tokens * group,
                   tile_count = (count + QUERY_TILE - 1) / QUERY_TILE;
        static thread_local std::vector<QueryTile> tiles;
        tiles.resize(tile_count);
        for (QueryTile &tile : tiles) tile.reset();
        for (long i = 0; i < count; i++) {
            const long token = first + i / group;
            tiles[i / QUERY_TILE].set_query(
                i % QUERY_TILE, q + (token * heads.all() + i % group) * HEAD, token);
        }
        // The tile of the first key that the first of these tokens sees.
        const auto first_tile = [&](long start) {
            return std::max(start + first + 1 - window, 0L) / KEY_TILE * KEY_TILE;
        };
        // 2) The shared prefix: all of it is visible, as far as the window goes.
        const long start = shared.count + own_count;
        for (long at = first_tile(start); at < shared.count; at += KEY_TILE)
            for (QueryTile &tile : tiles)
                tile.attend_block(&shared.keys[at * HEAD_UNITS],
                                  &shared.values[at * HEAD_UNITS], at, shared.count, false,
                                  start, window);
        // 3) The own row, as far as the last of these tokens, with a causal mask.
        for (long at = first_tile(own_count); at < own_count + first + tokens; at += KEY_TILE)
            for (QueryTile &tile : tiles)
                tile.attend_block(&own.keys[at * HEAD_UNITS], &own.values[at * HEAD_UNITS],
                                  at, own_count, true, own_count, window);
        // 4) Write the results.
        for (long i = 0; i < count; i++)
            tiles[i / QUERY_TILE].finish(
                i % QUERY_TILE,
                out + ((first + i / group) * heads.query + i % group) * HEAD);
    }

    // See `attend_many`.
    static void run(const float *qkv, float *out, long rows, long tokens, KVView shared,
                    KVView own) {
        const Heads heads = own.heads;
        const long own_count = own.count, window = heads.window;

        // 1) Append the new keys and values to `own`.
        own.append(qkv, rows, tokens);

        std::vector<PackedKV> packed(heads.kv * (1 + rows));  // the shared row is first
        // 2) Pack the keys and values of each row and key head.
        ThreadPool::run(heads.kv * (1 + rows), [&](long i) {
            const long row = std::max(i / heads.kv - 1, 0L), kv = i % heads.kv;
            const KVView &cache = i < heads.kv ? shared : own;
            packed[i].pack(cache.at(row, kv, 0), cache.at(row, heads.kv + kv, 0),
                           cache.count, cache.room);
        });
        // 3) Attend. A task is TOKEN_BLOCK tokens of one row and key head. The last tokens
        // see the most keys and go first, so that all threads finish together.
        const long blocks = (tokens + TOKEN_BLOCK - 1) / TOKEN_BLOCK;
        const long row_heads = rows * heads.kv;
        ThreadPool::run(blocks * row_heads, [&](long i) {
            const long block = blocks - 1 - i / row_heads, first = block * TOKEN_BLOCK;
            const long row = i % row_heads / heads.kv, kv = i % heads.kv;
            const float *from =
                qkv + (row * tokens * heads.all() + kv * heads.group()) * HEAD;
            float *to = out + (row * tokens * heads.query + kv * heads.group()) * HEAD;
            attend_tokens(packed[kv], packed[(1 + row) * heads.kv + kv], own_count, from,
                          to, heads, first, std::min(TOKEN_BLOCK, tokens - first), window);
        });
    }
};

// Whether `attend_many` rounds to bfloat16.
extern "C" bool attend_many_rounds() { return NUMBERS == 2; }

// As `attend`, always with a causal mask.
extern "C" void attend_many(const float *qkv, float *out, long rows, long tokens,
                            const Heads *heads, const KVLayers *shared, const KVLayers *own,
                            long layer) {
    with_width(CompiledWidths{}, heads->width, [&](auto width) {
        ManyTokens<width>::run(qkv, out, rows, tokens, KVView(*shared, layer, *heads),
                               KVView(*own, layer, *heads));
    });
    apply_gates(qkv, out, rows * tokens, *heads);
}

#endif
