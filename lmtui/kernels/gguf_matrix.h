// Matrices in the blocks of a GGUF file, and those of a Llama layer.

#pragma once

#include "gguf_formats.h"
#include "llama_ops.h"
#include "thread_pool.h"

// W [rows, columns], plus the product of its LoRA factors of `rank`, 0 for none.
struct Matrix {
    const RowBlocks *parts;  // one above the other
    long part_count, rows, columns;
    const long *row_index;  // the row of W that each output takes; null: its own
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

static inline Row row_of(const Matrix &matrix, const PartFormat *formats, long n) {
    long row = matrix.row_index ? matrix.row_index[n] : n, p = 0;
    for (; row >= matrix.parts[p].rows; p++) row -= matrix.parts[p].rows;
    return {p, matrix.parts[p].weights + row * formats[p].row_size};
}

static inline std::vector<PartFormat> formats_of(const Matrix &matrix) {
    std::vector<PartFormat> formats;
    for (long p = 0; p < matrix.part_count; p++) {
        const BlockFormat format = format_of(matrix.parts[p].format);
        formats.push_back({format, format.row_bytes(matrix.columns)});
    }
    return formats;
}

// The weights between the attention of one layer and that of the next, whose heads have
// width D; H are those of queries, KV those of keys. Weights of RMSNorm contain the factor
// √width.
struct Block {
    long width, ffn;  // of vectors
    Heads heads;
    float epsilon;
    const float *ffn_norm, *attention_norm;  // [width]; the latter of the next layer
    const float *bias;                       // [(H + 2·KV)·D] or null
    const float *q_norm, *k_norm;            // [D] or null
    Matrix o_proj, gate_up_proj, down_proj, qkv_proj;  // the last of the next layer

    long qkv_size() const { return heads.all() * heads.width; }
};

// RMSNorm, if there is one, and RoPE of the queries and keys of one token in qkv
// [H + 2·KV, D].
static inline void norm_rope(const Block &block, const float *rope, float *qkv) {
    const Heads &heads = block.heads;
    for (long h = 0; h < heads.query + heads.kv; h++)
        qk_norm_rope(qkv + h * heads.width, heads.width,
                     h < heads.query ? block.q_norm : block.k_norm, rope, block.epsilon);
}

// hidden [tokens, width] and rope [tokens, D / 2, 2] -> qkv [tokens, H + 2·KV, D] of the
// layer after the block.
extern "C" void gguf_qkv(const Block *block, long tokens, const float *hidden,
                         const float *rope, float *qkv);

// residual [tokens, width], attention_out [tokens, H·D] and rope [tokens, D / 2, 2] ->
// hidden [tokens, width], which may be residual, and, unless it is null, qkv
// [tokens, H + 2·KV, D].
extern "C" void gguf_block(const Block *block, long tokens, const float *residual,
                           const float *attention_out, const float *rope, float *hidden,
                           float *qkv);
