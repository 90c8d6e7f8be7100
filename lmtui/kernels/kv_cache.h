// A view of one layer's KV cache in float16, and the append of new keys and values.
//
// The cache is [n, 2·KV, capacity, HEAD]: for each of n rows, all key heads, then all
// value heads. New tokens come as float32 [n, t, H + 2·KV, HEAD], with their queries.
//
// Compile-time macros: HEAD, the width of a head, and GQA, the query heads that share
// one key head (H = KV · GQA).

#pragma once

#include "simd.h"

// Keys and values of one layer [n, 2·KV, capacity, HEAD]; `count` tokens are filled.
struct KVView {
    fp16 *data;
    long capacity, count;

    // Keys are at heads 0 to KV - 1, values at heads KV to 2·KV - 1.
    fp16 *at(long row, long kv_heads, long head, long token) const {
        return data + ((row * 2 * kv_heads + head) * capacity + token) * HEAD;
    }
};

// Write the keys and values of `qkv` [n, t, H + 2·KV, HEAD] to the last t tokens of
// `cache`, whose count includes them already.
static inline void append_kv(const float *qkv, long rows, long tokens, long kv_heads,
                             const KVView &cache) {
    const long query_heads = kv_heads * GQA, qkv_heads = query_heads + 2 * kv_heads;
    for (long m = 0; m < rows * tokens; m++)
        for (long head = 0; head < 2 * kv_heads; head++) {
            const long token = cache.count - tokens + m % tokens;
            store_fp16(qkv + (m * qkv_heads + query_heads + head) * HEAD,
                       cache.at(m / tokens, kv_heads, head, token), HEAD);
        }
}

// Attention of n rows with t new tokens each: qkv [n, t, H + 2·KV, HEAD] -> out
// [n, t, H, HEAD]. `shared` holds one row, a prefix of all n; `own` holds the n rows that
// follow it, to which the new keys and values are appended.
extern "C" void attend(const float *qkv, float *out, long rows, long tokens, long kv_heads,
                       fp16 *shared_data, long shared_capacity, long shared_count,
                       fp16 *own_data, long own_capacity, long own_count,
                       const float *mask);
