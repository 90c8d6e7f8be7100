// Keys and values that are held, and what comes to them.
//
// Owns where each of them lies. Knows neither what they are read for nor who made room
// for them. HEAD, the width of a head, and GROUP, the queries that share a key, are
// given where this is compiled.

#pragma once

#include "simd.h"

// Keys and values [n, 2·KV, room, HEAD] of a layer, of which `count` tokens are held.
struct Held {
    half *data;
    long room, count;

    half *at(long row, long kv_heads, long head, long token) const {
        return data + ((row * 2 * kv_heads + head) * room + token) * HEAD;
    }
};

// Put down the keys and values of new tokens, the last ones: `heads` [n, t, H + 2·KV,
// HEAD] has their queries, too.
static inline void put_down(const float *heads, long rows, long tokens, long kv_heads,
                            const Held &own) {
    const long query_heads = kv_heads * GROUP, every = query_heads + 2 * kv_heads;
    for (long m = 0; m < rows * tokens; m++)
        for (long head = 0; head < 2 * kv_heads; head++) {
            const long token = own.count - tokens + m % tokens;
            narrow(heads + (m * every + query_heads + head) * HEAD,
                   own.at(m / tokens, kv_heads, head, token), HEAD);
        }
}
