// Attention of a few new tokens over keys and values that are held in half precision.
//
// Owns what no library does well for one query: each key and value is read once, for
// all queries that share it. Keys come in blocks of a fixed length; each has a softmax
// by itself, and what was found in all of them is put together in the end (Dao et al.,
// "Flash-Decoding", 2023). So a token finds the same, to the bit, alone or among
// others, by one thread or by many. Knows no model: HEAD, the width of a head, and
// GROUP, the queries that share one, are given where it is compiled.

#include <numeric>
#include <vector>

#include "kv_cache.h"

static const long PARTS = HEAD / WIDE, BLOCK = 256;
static const int TILE = HEAD <= 64 ? 4 : HEAD <= 128 ? 2 : 1;  // queries for each key

// What a query has found in a block: its largest score, the sum of the powers of all
// scores relative to that, and the values times these powers.
struct Part {
    float most, total;
    float values[HEAD];
};

struct Query {
    const float *numbers;
    Part *part;
    long token;  // its place among those that are new
};

struct Block {
    const half *keys, *values;  // [count, HEAD]
    long count;
    long fresh;         // the first key of a new token
    long tokens;        // how many those are
    const float *mask;  // [tokens, tokens]: 0 for what they see of each other, -inf
                        // for the rest; none where each sees those before it
};

template <int N>
static void score(const Block &block, const Query *queries, float (*scores)[BLOCK]) {
    const float scale = 1 / std::sqrt((float)HEAD);
    lanes asked[N][PARTS];
    for (int i = 0; i < N; i++)
        for (int p = 0; p < PARTS; p++)
            asked[i][p] = loaded(queries[i].numbers + p * WIDE) * scale;
    for (long j = 0; j < block.count; j++) {
        lanes products[N] = {};
        for (int p = 0; p < PARTS; p++) {
            const lanes key = widened(block.keys + j * HEAD + p * WIDE);
            for (int i = 0; i < N; i++) products[i] += asked[i][p] * key;
        }
        for (int i = 0; i < N; i++) scores[i][j] = sum(products[i]);
    }
}

static void hide(const Block &block, const Query &query, float *scores) {
    for (long j = std::max(block.fresh, 0L); j < block.count; j++) {
        const long other = j - block.fresh;
        if (block.mask)
            scores[j] += block.mask[query.token * block.tokens + other];
        else if (other > query.token)
            scores[j] = NOTHING;
    }
}

// A softmax that is not divided by its sum yet: scores become weights.
static void weigh(long count, float *scores, Part &part) {
    const long filled = (count + WIDE - 1) / WIDE * WIDE;
    std::fill(scores + count, scores + filled, NOTHING);
    part.most = largest(scores, filled);
    const float most = part.most == NOTHING ? 0 : part.most;  // nothing is seen here
    lanes total = {};
    for (long j = 0; j < filled; j += WIDE) {
        const lanes weights = exponential(loaded(scores + j) - most);
        std::memcpy(scores + j, &weights, sizeof weights);
        total += weights;
    }
    part.total = sum(total);
}

template <int N>
static void gather(const Block &block, const Query *queries, float (*weights)[BLOCK]) {
    constexpr long STRIP = std::gcd(PARTS, REGISTERS / 4);  // of values: the sums
    for (long start = 0; start < PARTS; start += STRIP) {   // stay in registers
        lanes found[N][STRIP] = {};
        for (long j = 0; j < block.count; j++)
            for (int p = 0; p < STRIP; p++) {
                const long at = j * HEAD + (start + p) * WIDE;
                const lanes value = widened(block.values + at);
                for (int i = 0; i < N; i++) found[i][p] += weights[i][j] * value;
            }
        for (int i = 0; i < N; i++)
            std::memcpy(queries[i].part->values + start * WIDE, found[i],
                        sizeof found[i]);
    }
}

template <int N>
static void look(const Block &block, const Query *queries) {
    float scores[N][BLOCK];
    score<N>(block, queries, scores);
    for (int i = 0; i < N; i++) {
        hide(block, queries[i], scores[i]);
        weigh(block.count, scores[i], *queries[i].part);
    }
    gather<N>(block, queries, scores);
}

static void look_all(const Block &block, const std::vector<Query> &queries) {
    const size_t count = queries.size();
    size_t i = 0;
    for (; i + TILE <= count; i += TILE) look<TILE>(block, &queries[i]);
    if (count - i == 3) look<3>(block, &queries[i]);
    if (count - i == 2) look<2>(block, &queries[i]);
    if (count - i == 1) look<1>(block, &queries[i]);
}

static void put_together(const Part *parts, long count, float *found) {
    float most = NOTHING, total = 0;
    for (long b = 0; b < count; b++) most = std::max(most, parts[b].most);
    lanes values[PARTS] = {};
    for (long b = 0; b < count; b++) {
        const float weight = std::exp(parts[b].most - most);
        total += weight * parts[b].total;
        for (int p = 0; p < PARTS; p++)
            values[p] += weight * loaded(parts[b].values + p * WIDE);
    }
    for (int p = 0; p < PARTS; p++) values[p] /= total;
    std::memcpy(found, values, sizeof values);
}

static long blocks_of(const Held &held) { return (held.count + BLOCK - 1) / BLOCK; }

// Of n rows with t new tokens each: `heads` [n, t, H + 2·KV, HEAD] are their queries,
// keys and values, `found` [n, t, H, HEAD] what is found. All rows continue the one row
// of `shared`, and each one of `own`, where its new keys and values are put down.
extern "C" void attend(const float *heads, float *found, long rows, long tokens,
                       long kv_heads, half *shared_data, long shared_room,
                       long shared_count, half *own_data, long own_room,
                       long own_count, const float *mask) {
    const long query_heads = kv_heads * GROUP, every = query_heads + 2 * kv_heads;
    const Held shared = {shared_data, shared_room, shared_count};
    const Held own = {own_data, own_room, own_count + tokens};
    put_down(heads, rows, tokens, kv_heads, own);

    const long far = blocks_of(shared), near = blocks_of(own), blocks = far + near;
    static thread_local std::vector<Part> room;
    const size_t needed = rows * tokens * query_heads * blocks;
    if (room.size() < needed) room.resize(needed);
    Part *parts = room.data();  // [n, t, H, blocks]

    const long far_looks = kv_heads * far, looks = far_looks + rows * kv_heads * near;
#pragma omp parallel for schedule(static) if (looks > kv_heads)
    for (long i = 0; i < looks; i++) {
        const bool is_far = i < far_looks;
        const Held &held = is_far ? shared : own;
        const long place = is_far ? i : i - far_looks, count = is_far ? far : near;
        const long index = place % count, kv = place / count % kv_heads;
        const long row = place / count / kv_heads, first = index * BLOCK;
        const long size = std::min(BLOCK, held.count - first);
        const Block block = {held.at(row, kv_heads, kv, first),
                             held.at(row, kv_heads, kv_heads + kv, first),
                             size,
                             is_far ? size : own_count - first,
                             tokens,
                             mask};
        std::vector<Query> queries;
        const long from = is_far ? 0 : row * tokens;
        const long to = is_far ? rows * tokens : from + tokens;
        for (long m = from; m < to; m++)
            for (long head = kv * GROUP; head < (kv + 1) * GROUP; head++) {
                Part *part = parts + (m * query_heads + head) * blocks;
                queries.push_back({heads + (m * every + head) * HEAD,
                                   part + (is_far ? 0 : far) + index, m % tokens});
            }
        look_all(block, queries);
    }
    for (long q = 0; q < rows * tokens * query_heads; q++)
        put_together(parts + q * blocks, blocks, found + q * HEAD);
}
