// The KV cache in float16, and the append of new keys and values.
//
// A layer's is [n, 2·KV, capacity, room]: for each of n rows, all key heads, then all value
// heads, of width D, which is at most the room of each. New tokens come as float32
// [n, t, H + 2·KV + G, D]: queries, keys, values, and the gates of outputs.

#pragma once

#include <utility>

#include "llama_ops.h"
#include "thread_pool.h"

// Keys and values of all layers, of which `count` tokens are filled.
struct KVLayers {
    char *data;
    long layer_bytes, capacity, count, room;
};

// Keys and values of one layer.
struct KVView {
    fp16 *data;
    long capacity, count, room;
    Heads heads;

    KVView(const KVLayers &all, long layer, const Heads &heads)
        : data((fp16 *)(all.data + layer * all.layer_bytes)),
          capacity(all.capacity),
          count(all.count),
          room(all.room),
          heads(heads) {}

    // Keys are at heads 0 to KV - 1, values at heads KV to 2·KV - 1.
    fp16 *at(long row, long head, long token) const {
        return data + ((row * 2 * heads.kv + head) * capacity + token) * room;
    }

    // Adds the keys and values of `qkv` [n, t, H + 2·KV + G, D], or finds those that the
    // layer borrows.
    void append(const float *qkv, long rows, long tokens) {
        count += tokens;
        for (long m = 0; m < rows * tokens; m++)
            for (long head = 0; head < 2 * heads.own_kv(); head++)
                store_fp16(qkv + (m * heads.all() + heads.query + head) * heads.width,
                           at(m / tokens, head, count - tokens + m % tokens), heads.width);
    }
};

// Attention of n rows with t new tokens each: qkv [n, t, H + 2·KV + G, D] -> out [n, t, H, D].
// `shared` holds one row, a prefix of all n; `own` holds the n rows that follow it, to
// which the new keys and values are appended. `mask` [t, t] is added to the scores of new tokens, 0 or -inf; null for a
// causal mask. D is a compiled width.
extern "C" void attend(const float *qkv, float *out, long rows, long tokens,
                       const Heads *heads, const KVLayers *shared, const KVLayers *own,
                       long layer, const float *mask);

// Multiplies out [tokens, H, D] by the sigmoid of the gates in qkv, if there are any.
static inline void apply_gates(const float *qkv, float *out, long tokens,
                               const Heads &heads) {
    const long size = heads.gates * heads.width;
    if (!size) return;
    ThreadPool::run(tokens, [&](long m) {
        const float *const gates = qkv + (m + 1) * heads.all() * heads.width - size;
        for (long k = 0; k < size; k += LANES) {
            float *const at = out + m * size + k;
            const f32v gated = times_sigmoid(load(at), load(gates + k));
            std::memcpy(at, &gated, sizeof gated);
        }
    });
}

// Calls `call` with the integral constant among WIDTHS that is `width`, if any; returns
// whether there is one.
template <typename Call, long... WIDTHS>
static inline bool with_width(std::integer_sequence<long, WIDTHS...>, long width,
                              const Call &call) {
    const auto tried = [&](auto each) {
        if (width != each) return false;
        call(each);
        return true;
    };
    return (tried(std::integral_constant<long, WIDTHS>{}) || ...);
}

#ifdef HEAD_WIDTHS
// Compile-time macro of the attention sources: the widths of a head that they have.
typedef std::integer_sequence<long, HEAD_WIDTHS> CompiledWidths;
#endif
