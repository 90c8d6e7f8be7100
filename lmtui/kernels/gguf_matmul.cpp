// Products of a few inputs with matrices in the blocks of a GGUF file: one alone, or all
// from the attention of one Llama layer to that of the next, in one call. Needs no macros.

#include "gguf_matrix.h"

// Inputs [count, columns] times W, inside a parallel region. epilogue(t, n, product)
// receives the product of input t with row n. Each thread rounds the inputs for itself,
// since that is cheaper than a barrier.
template <typename Epilogue>
static void matmul(const Matrix &matrix, const float *inputs, long count,
                   const Epilogue &epilogue) {
    static thread_local std::vector<Inputs> rounded;
    static thread_local std::vector<float> low, products;
    const std::vector<BlockFormat> formats = formats_of(matrix);
    std::vector<const Inputs *> in;
    rounded.resize(std::max<size_t>(rounded.size(), matrix.part_count));
    for (long p = 0; p < matrix.part_count; p++) {
        long same = 0;  // the first part of this format
        while (matrix.parts[same].format != matrix.parts[p].format) same++;
        if (same == p) formats[p].set(inputs, count, matrix.columns, rounded[p]);
        in.push_back(&rounded[same]);
    }
    low.resize(count * matrix.rank);
    for (long i = 0; i < count * matrix.rank; i++) {
        const float *x = inputs + i / matrix.rank * matrix.columns;
        const float *a = matrix.lora_a + i % matrix.rank * matrix.columns;
        f32v sum = {};
        for (long k = 0; k < matrix.columns; k += LANES)
            sum = fmadd(load(a + k), load(x + k), sum);
        low[i] = hsum(sum);
    }
    products.resize(MAX_ROWS * count);
    const long blocks = (matrix.rows + MAX_ROWS - 1) / MAX_ROWS;
#pragma omp for schedule(static)
    for (long b = 0; b < blocks; b++) {
        const long end = std::min(matrix.rows, (b + 1) * MAX_ROWS);
        for (long n = b * MAX_ROWS, size; n < end; n += size) {
            const uint8_t *rows[MAX_ROWS];
            const Row first = row_of(matrix, formats.data(), n);
            for (size = 0; n + size < end; size++) {  // rows of one part
                const Row row = row_of(matrix, formats.data(), n + size);
                if (row.part != first.part) break;
                rows[size] = row.blocks;
            }
            formats[first.part].dot(rows, size, matrix.columns, *in[first.part], count,
                                    products.data());
            for (long i = 0; i < size * count; i++) {
                const long t = i % count, row = n + i / count;
                for (long r = 0; r < matrix.rank; r++)
                    products[i] +=
                        matrix.lora_b[row * matrix.rank + r] * low[t * matrix.rank + r];
                epilogue(t, row, products[i]);
            }
        }
    }
}

// inputs [count, columns] -> out [count, rows].
extern "C" void gguf_matmul(const Matrix *matrix, const float *inputs, long count,
                            float *out) {
#pragma omp parallel
    matmul(*matrix, inputs, count,
           [&](long t, long n, float product) { out[t * matrix->rows + n] = product; });
}

// residual [tokens, width], attention_out [tokens, heads · head] and rope
// [tokens, head / 2, 2] -> hidden [tokens, width] and
// qkv [tokens, heads + 2 · kv_heads, head].
extern "C" void gguf_block(const Block *block, long tokens, const float *residual,
                           const float *attention_out, const float *rope, float *hidden,
                           float *qkv) {
    const long width = block->width, ffn = block->ffn, qkv_size = block->qkv_size();
    std::vector<float> gate_up(tokens * 2 * ffn);

#pragma omp parallel
    {
        static thread_local std::vector<float> x, norms;
        x.resize(tokens * std::max(width, ffn));
        norms.resize(tokens);

        // 1) o_proj and residual: hidden [tokens, width].
        matmul(block->o_proj, attention_out, tokens, [&](long t, long n, float product) {
            hidden[t * width + n] = residual[t * width + n] + product;
        });

        // 2) RMSNorm, then gate and up projection: gate_up [tokens, 2 · ffn].
        for (long t = 0; t < tokens; t++) {
            const float norm =
                rms_norm_denominator(hidden + t * width, width, block->epsilon);
            for (long k = t * width; k < (t + 1) * width; k++)
                x[k] = hidden[k] / norm * block->ffn_norm[k - t * width];
        }
        matmul(block->gate_up_proj, x.data(), tokens, [&](long t, long n, float product) {
            gate_up[t * 2 * ffn + n] = product;
        });

        // 3) SwiGLU, down projection and residual: hidden [tokens, width].
        for (long t = 0; t < tokens; t++)
            for (long k = 0; k < ffn; k += LANES) {
                const float *gate = gate_up.data() + t * 2 * ffn + k;
                const f32v product = silu(load(gate)) * load(gate + ffn);
                std::memcpy(x.data() + t * ffn + k, &product, sizeof product);
            }
        matmul(block->down_proj, x.data(), tokens, [&](long t, long n, float product) {
            hidden[t * width + n] += product;
        });

        // 4) RMSNorm and QKV projection of the next layer: qkv [tokens, qkv_heads, head].
        // The division by the norm comes after the product.
        for (long t = 0; t < tokens; t++) {
            norms[t] = rms_norm_denominator(hidden + t * width, width, block->epsilon);
            for (long k = t * width; k < (t + 1) * width; k++)
                x[k] = hidden[k] * block->attention_norm[k - t * width];
        }
        matmul(block->qkv_proj, x.data(), tokens, [&](long t, long n, float product) {
            qkv[t * qkv_size + n] =
                product / norms[t] + (block->bias ? block->bias[n] : 0);
        });

        // 5) RMSNorm of the heads, if there is one, and RoPE of queries and keys.
        norm_rope(*block, tokens, rope, qkv);
    }
}
