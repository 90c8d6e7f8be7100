// Matrices in the blocks of a GGUF file, and those of a Llama layer.

#pragma once

#include "gguf_formats.h"
#include "llama_ops.h"
#include "recurrent.h"
#include "thread_pool.h"

// Rows one above the other.
struct Stack {
    const RowBlocks *parts;
    long count;
    const long *row_index;  // the row that each output takes; null: its own
};

// W [rows, columns], plus the product of its LoRA factors of `rank`, 0 for none.
struct Matrix {
    Stack stored, for_few;  // as in the file, and for products of a few inputs
    long rows, columns;
    long rank;
    const float *lora_a, *lora_b;  // [rank, columns] and [rows, rank]
};

// Where an output's row of W lies.
struct Row {
    long part;
    const uint8_t *blocks;
};

// The format of a part, and the bytes of a row: a division for each row takes as long as
// a third of a short row's product.
struct PartFormat : BlockFormat {
    long row_size;
};

static inline Row row_of(const Stack &stack, const PartFormat *formats, long n) {
    long row = stack.row_index ? stack.row_index[n] : n, p = 0;
    for (; row >= stack.parts[p].rows; p++) row -= stack.parts[p].rows;
    return {p, stack.parts[p].weights + row * formats[p].row_size};
}

static inline std::vector<PartFormat> formats_of(const Stack &stack, long columns) {
    std::vector<PartFormat> formats;
    for (long p = 0; p < stack.count; p++) {
        const BlockFormat format = format_of(stack.parts[p].format);
        formats.push_back({format, format.row_bytes(columns)});
    }
    return formats;
}

// The weights between the attention of one layer and that of the next, or what these layers
// have in its place. Heads have width D; H are those of queries, KV those of keys. Weights
// of RMSNorm contain the factor √width. Norms are null where a model has none.
struct Block {
    long width, ffn;  // of vectors
    Heads heads, next_heads;  // of this layer, and of the next; none of those without attention
    long rope_width;          // numbers of a position in a table of RoPE
    float epsilon;
    float residual_scale;  // of what attention and FFN add to the residual state
    long is_gelu;          // the FFN's activation is GELU by tanh, not SiLU
    long norms_all_heads;  // q_norm and k_norm act on all heads at once
    long place;            // of this layer among those with a cache of its kind
    long q_rope, k_rope;   // its tables of RoPE
    const float *ffn_norm, *attention_norm;  // [width]; the latter of the next layer
    const float *attention_post_norm, *ffn_post_norm;  // [width], of what is added
    const float *bias;                                 // [(H + 2·KV)·D] or null
    const float *q_norm, *k_norm, *v_norm;             // [D], or [H·D] and [KV·D]
    const float *input_norm;                           // [width], of what a further input adds
    const Recurrent *recurrent;                        // null where this layer attends
    float layer_scale;                                 // of the state after the layer
    Matrix o_proj, gate_up_proj, down_proj, qkv_proj;  // the last of the next layer
    Matrix input_gate, input_proj;                     // of no rows without further inputs

    f32v activated(f32v x) const { return is_gelu ? gelu(x) : silu(x); }
};

// RMSNorm of heads, if there is one, and RoPE of the queries and keys of token t of `tokens`
// in qkv [tokens, H + 2·KV + G, D], by rope [tables, tokens, R / 2, 2], whose width R is that
// of the widest head.
static inline void norm_rope(const Block &block, long tokens, long t, const float *rope,
                             float *qkv) {
    const Heads &heads = block.next_heads;
    const long width = heads.width, keys_count = heads.own_kv();
    if (!heads.query) return;
    float *const queries = qkv + t * heads.all() * width, *keys = queries + heads.query * width;
    const auto normed = [&](float *from, long count, const float *norm) {
        const long size = block.norms_all_heads ? count * width : width;
        for (long k = 0; norm && k < count * width; k += size)
            head_norm(from + k, size, norm, block.epsilon);
    };
    normed(queries, heads.query, block.q_norm);
    normed(keys, keys_count, block.k_norm);
    normed(keys + keys_count * width, keys_count, block.v_norm);
    for (long h = 0; h < heads.query + keys_count; h++) {
        const long table = h < heads.query ? block.q_rope : block.k_rope;
        turn(queries + h * width, width, rope + (table * tokens + t) * block.rope_width);
    }
}

// hidden [tokens, width] and rope [tables, tokens, R / 2, 2] -> qkv of the layer after the
// block: [tokens, H + 2·KV + G, D], or what a recurrent one projects.
extern "C" void gguf_qkv(const Block *block, long tokens, const float *hidden,
                         const float *rope, float *qkv);

// residual [tokens, width], attention_out [tokens, H·D], rope [tables, tokens, R / 2, 2] and
// the further inputs of the layer, if it has some, [tokens, rows of input_gate] -> hidden
// [tokens, width], which may be residual, and, unless it is null, qkv as above.
extern "C" void gguf_block(const Block *block, long tokens, const float *residual,
                           const float *attention_out, const float *rope,
                           const float *inputs, float *hidden, float *qkv);
