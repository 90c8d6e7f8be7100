// Attention of a few new tokens over a float16 KV cache, in float32.
//
// Each key and value is read once for all query heads that share it (grouped-query
// attention). Keys are split into blocks of fixed length; each block has its own softmax,
// and the partial results are combined at the end (Dao et al., "Flash-Decoding", 2023). A
// token's result has the same bits alone or among others, with one thread or many.
// HEAD is the width of a head.

#include <numeric>
#include <vector>

#include "kv_cache.h"
#include "thread_pool.h"

static const long BLOCK = 256;  // keys of a split

// The splits of a cache from the one that holds key `first` on.
struct Splits {
    long skipped, count;

    Splits(const KVView &cache, long first)
        : skipped(std::min(std::max(first, 0L), cache.count) / BLOCK),
          count((cache.count + BLOCK - 1) / BLOCK - skipped) {}
};

// How far each of the new tokens is from the end of the cache: its index, or in a tree the
// number of new tokens before it that it sees.
static std::vector<long> depths_of(long tokens, const float *mask) {
    std::vector<long> depths(tokens);
    for (long t = 0; t < tokens; t++)
        depths[t] = mask ? std::count(mask + t * tokens, mask + (t + 1) * tokens, 0) - 1 : t;
    return depths;
}

template <long HEAD>
struct FewTokens {
    static constexpr long HEAD_VECTORS = HEAD / LANES;
    static constexpr int QUERY_TILE = HEAD <= 64 ? 4 : HEAD <= 128 ? 2 : 1;  // one key's

    // The result of one query over one block: the maximum of its scores, the sum of
    // exp(score - max), and the values weighted by that (m, l and o of Flash-Decoding).
    struct Partial {
        float max, sum;
        float acc[HEAD];
    };

    struct Query {
        const float *q;  // [HEAD]
        Partial *partial;
        long token;  // its index among the new tokens of its row
    };

    // A split of one key head's keys and values.
    struct KVBlock {
        const fp16 *keys, *values;  // [count, HEAD], of [count, room]
        long count, room;
        long first_new;  // the index of the first new token in this block; can be negative
        long tokens;     // the number of new tokens
        const float *mask;  // [tokens, tokens], added to the scores of new tokens: 0 or
                            // -inf; null for a causal mask
        const long *depths;  // [tokens]
        long window;         // the last positions that a token sees
        long position;       // where depth 0 would be in this block
    };

    // q · kᵀ / √HEAD: scores [N, count].
    template <int N>
    static void qk_scores(const KVBlock &block, const Query *queries,
                          float (*scores)[BLOCK]) {
        const float scale = 1 / std::sqrt((float)HEAD);
        f32v q[N][HEAD_VECTORS];
        for (int i = 0; i < N; i++)
            for (int p = 0; p < HEAD_VECTORS; p++)
                q[i][p] = load(queries[i].q + p * LANES) * scale;
        for (long j = 0; j < block.count; j++) {
            f32v dots[N] = {};
            for (int p = 0; p < HEAD_VECTORS; p++) {
                const f32v key = to_f32(block.keys + j * block.room + p * LANES);
                for (int i = 0; i < N; i++) dots[i] = fmadd(q[i][p], key, dots[i]);
            }
            for (int i = 0; i < N; i++) scores[i][j] = hsum(dots[i]);
        }
    }

    // Mask the scores of new tokens and of those before the window; other cached tokens
    // are visible to every query.
    static void apply_mask(const KVBlock &block, const Query &query, float *scores) {
        const long depth = block.depths[query.token];
        const long cached = std::min(block.count, std::max(block.first_new, 0L));
        const long hidden = std::min(cached, block.position + depth + 1 - block.window);
        for (long j = 0; j < hidden; j++) scores[j] = NEG_INF;
        for (long j = cached; j < block.count; j++) {
            const long key_token = j - block.first_new;
            if (block.mask)
                scores[j] += block.mask[query.token * block.tokens + key_token];
            else if (key_token > query.token)
                scores[j] = NEG_INF;
            if (depth - block.depths[key_token] >= block.window) scores[j] = NEG_INF;
        }
    }

    // Replace scores by exp(score - max), not yet divided by their sum; set max and sum.
    static void softmax_partial(long count, float *scores, Partial &partial) {
        const long padded = (count + LANES - 1) / LANES * LANES;
        std::fill(scores + count, scores + padded, NEG_INF);
        partial.max = hmax(scores, padded);
        // 0 where all keys are masked
        const float max = partial.max == NEG_INF ? 0 : partial.max;
        f32v sum = {};
        for (long j = 0; j < padded; j += LANES) {
            const f32v weights = exp_neg(load(scores + j) - max);
            std::memcpy(scores + j, &weights, sizeof weights);
            sum += weights;
        }
        partial.sum = hsum(sum);
    }

    // weights · V: acc [N, HEAD], STRIP vectors of a head at a time, so that the
    // accumulators stay in registers.
    template <int N>
    static void accumulate_values(const KVBlock &block, const Query *queries,
                                  float (*weights)[BLOCK]) {
        constexpr long STRIP = std::gcd(HEAD_VECTORS, REGISTERS / 4);
        for (long start = 0; start < HEAD_VECTORS; start += STRIP) {
            f32v acc[N][STRIP] = {};
            for (long j = 0; j < block.count; j++)
                for (int p = 0; p < STRIP; p++) {
                    const long offset = j * block.room + (start + p) * LANES;
                    const f32v value = to_f32(block.values + offset);
                    for (int i = 0; i < N; i++)
                        acc[i][p] = fmadd(broadcast(weights[i][j]), value, acc[i][p]);
                }
            for (int i = 0; i < N; i++)
                std::memcpy(queries[i].partial->acc + start * LANES, acc[i], sizeof acc[i]);
        }
    }

    template <int N>
    static void attend_block(const KVBlock &block, const Query *queries) {
        float scores[N][BLOCK];
        qk_scores<N>(block, queries, scores);
        for (int i = 0; i < N; i++) {
            apply_mask(block, queries[i], scores[i]);
            softmax_partial(block.count, scores[i], *queries[i].partial);
        }
        accumulate_values<N>(block, queries, scores);
    }

    static void attend_block_all(const KVBlock &block, const std::vector<Query> &queries) {
        const size_t count = queries.size();
        size_t i = 0;
        for (; i + QUERY_TILE <= count; i += QUERY_TILE)
            attend_block<QUERY_TILE>(block, &queries[i]);
        if (count - i == 3) attend_block<3>(block, &queries[i]);
        if (count - i == 2) attend_block<2>(block, &queries[i]);
        if (count - i == 1) attend_block<1>(block, &queries[i]);
    }

    // Rescale the partial results of one query to their common maximum, add them up and
    // divide by the sum of all weights: out [HEAD].
    static void combine_partials(const Partial *partials, long count, float *out) {
        float max = NEG_INF, sum = 0;
        for (long b = 0; b < count; b++) max = std::max(max, partials[b].max);
        f32v acc[HEAD_VECTORS] = {};
        for (long b = 0; b < count; b++) {
            const float scale = std::exp(partials[b].max - max);
            sum += scale * partials[b].sum;
            for (int p = 0; p < HEAD_VECTORS; p++)
                acc[p] = fmadd(broadcast(scale), load(partials[b].acc + p * LANES), acc[p]);
        }
        for (int p = 0; p < HEAD_VECTORS; p++) acc[p] /= sum;
        std::memcpy(out, acc, sizeof acc);
    }

    // See `attend`.
    static void run(const float *qkv, float *out, long rows, long tokens, KVView shared,
                    KVView own, const float *mask) {
        const Heads heads = own.heads;
        const long own_count = own.count, group = heads.group(), window = heads.window;
        const std::vector<long> depths = depths_of(tokens, mask);

        // 1) Append the new keys and values to `own`.
        own.append(qkv, rows, tokens);

        // 2) Make room for the partial results: [n, t, H, blocks], shared blocks first.
        const Splits shared_splits(shared, shared.count + own_count + 1 - window);
        const Splits own_splits(own, own_count + 1 - window);
        const long shared_blocks = shared_splits.count;
        const long blocks = shared_blocks + own_splits.count;
        static thread_local std::vector<Partial> buffer;
        const size_t needed = rows * tokens * heads.query * blocks;
        if (buffer.size() < needed) buffer.resize(needed);
        Partial *partials = buffer.data();

        // 3) Attend over each block. A task is one block of one key head: of the shared
        // row, for the queries of all rows, or of an own row, for the queries of that row.
        const long shared_tasks = heads.kv * shared_blocks;
        const long tasks = shared_tasks + rows * heads.kv * own_splits.count;
        ThreadPool::run(tasks, [&](long i) {
            const bool is_shared = i < shared_tasks;
            const KVView &cache = is_shared ? shared : own;
            const long task = is_shared ? i : i - shared_tasks;
            const Splits &splits = is_shared ? shared_splits : own_splits;
            const long count = splits.count;
            const long index = task % count, kv = task / count % heads.kv;
            const long row = task / count / heads.kv;
            const long first = (splits.skipped + index) * BLOCK;
            const long size = std::min(BLOCK, cache.count - first);
            const long position = own_count + (is_shared ? shared.count : 0) - first;
            const KVBlock block = {cache.at(row, kv, first),
                                   cache.at(row, heads.kv + kv, first),
                                   size,
                                   cache.room,
                                   is_shared ? size : own_count - first,
                                   tokens,
                                   mask,
                                   depths.data(),
                                   window,
                                   position};
            std::vector<Query> queries;
            const long from = is_shared ? 0 : row * tokens;
            const long to = is_shared ? rows * tokens : from + tokens;
            for (long m = from; m < to; m++)
                for (long head = kv * group; head < (kv + 1) * group; head++) {
                    Partial *of_query = partials + (m * heads.query + head) * blocks;
                    queries.push_back({qkv + (m * heads.all() + head) * HEAD,
                                       of_query + (is_shared ? 0 : shared_blocks) + index,
                                       m % tokens});
                }
            attend_block_all(block, queries);
        });

        // 4) Combine the partial results of each query: out [n, t, H, HEAD].
        for (long q = 0; q < rows * tokens * heads.query; q++)
            combine_partials(partials + q * blocks, blocks, out + q * HEAD);
    }
};

extern "C" void attend(const float *qkv, float *out, long rows, long tokens,
                       const Heads *heads, const KVLayers *shared, const KVLayers *own,
                       long layer, const float *mask) {
    with_width(CompiledWidths{}, heads->width, [&](auto width) {
        FewTokens<width>::run(qkv, out, rows, tokens, KVView(*shared, layer, *heads),
                              KVView(*own, layer, *heads), mask);
    });
    apply_gates(qkv, out, rows * tokens, *heads);
}

// Whether attention is compiled for heads of this width.
extern "C" bool attends_width(long width) {
    return with_width(CompiledWidths{}, width, [](auto) {});
}
