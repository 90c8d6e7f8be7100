// Products of a few inputs with matrices in the blocks of a GGUF file: one alone, or all
// from the attention of one Llama layer to that of the next. Needs no macros.

#include "gguf_matrix.h"

// Buffers of each thread; kept, since new memory costs as much as its use.
static thread_local std::vector<Inputs> rounded;
static thread_local std::vector<float> low, products, of_thread, norms, of_caller;

static const long MOST_ROWS = 256;  // of a chunk: others may have to wait for one

// Rows that a thread claims at once: some four times for each thread, or more often.
static long rows_of_chunk(long rows) {
    const long many = rows / (4 * ThreadPool::threads()) / MAX_ROWS * MAX_ROWS;
    return std::min(std::max(many, MAX_ROWS), MOST_ROWS);
}

// Row n of lora_b times input t of `low` [count, rank].
static float lora_product(const Matrix &matrix, long n, const float *low, long t) {
    float sum = 0;
    for (long r = 0; r < matrix.rank; r++)
        sum += matrix.lora_b[n * matrix.rank + r] * low[t * matrix.rank + r];
    return sum;
}

// Inputs [count, columns] times W. Each thread makes the inputs for itself, since that is
// cheaper than to wait for others. epilogue(t, n, product) receives the product of input t
// with row n.
template <typename MakeInputs, typename Epilogue>
static void matmul(const Matrix &matrix, long count, const MakeInputs &make_inputs,
                   const Epilogue &epilogue) {
    const Stack &stack = matrix.for_few;
    const std::vector<PartFormat> formats = formats_of(stack, matrix.columns);
    std::vector<long> same;  // the first part of the same format
    for (long p = 0; p < stack.count; p++) {
        long first = 0;
        while (stack.parts[first].format != stack.parts[p].format) first++;
        same.push_back(first);
    }
    const auto prepare = [&] {
        const float *inputs = make_inputs();
        rounded.resize(std::max<size_t>(rounded.size(), stack.count));
        for (long p = 0; p < stack.count; p++)
            if (same[p] == p) formats[p].set(inputs, count, matrix.columns, rounded[p]);
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
    };
    const long step = rows_of_chunk(matrix.rows);
    ThreadPool::run((matrix.rows + step - 1) / step, prepare, [&](long chunk) {
        const long end = std::min(matrix.rows, (chunk + 1) * step);
        float *const out = products.data();
        for (long n = chunk * step, size; n < end; n += size) {
            const uint8_t *rows[MAX_ROWS];
            const long part = row_of(stack, formats.data(), n).part;
            for (size = 0; size < MAX_ROWS && n + size < end; size++) {  // of one part
                const Row row = row_of(stack, formats.data(), n + size);
                if (row.part != part) break;
                rows[size] = row.blocks;
            }
            formats[part].dot(rows, size, matrix.columns, rounded[same[part]], count, out);
            for (long i = 0; i < size; i++)
                for (long t = 0; t < count; t++) {
                    float product = out[i * count + t];
                    if (matrix.rank) product += lora_product(matrix, n + i, low.data(), t);
                    epilogue(t, n + i, product);
                }
        }
    });
}

// inputs [count, columns] -> out [count, rows].
extern "C" void gguf_matmul(const Matrix *matrix, const float *inputs, long count,
                            float *out) {
    matmul(
        *matrix, count, [&] { return inputs; },
        [=](long t, long n, float product) { out[t * matrix->rows + n] = product; });
}

// hidden [tokens, width] = residual + scale · (W · inputs), the products after RMSNorm if
// there is one. `products` [tokens, width] is room for them.
template <typename MakeInputs>
static void add_product(const Block &block, const Matrix &matrix, const float *norm,
                        long tokens, const MakeInputs &make_inputs, const float *residual,
                        float *hidden, float *products) {
    const long width = block.width;
    const float scale = block.residual_scale;
    if (!norm)
        return matmul(matrix, tokens, make_inputs, [=](long t, long n, float product) {
            hidden[t * width + n] = residual[t * width + n] + scale * product;
        });
    matmul(matrix, tokens, make_inputs,
           [=](long t, long n, float product) { products[t * width + n] = product; });
    for (long k = 0; k < tokens * width; k += width)
        add_normed(products + k, norm, width, block.epsilon, scale, residual + k, hidden + k);
}

extern "C" void gguf_qkv(const Block *block, long tokens, const float *hidden,
                         const float *rope, float *qkv) {
    const long width = block->width, qkv_size = block->qkv_proj.rows;

    // 1) RMSNorm and QKV projection. The division by the norm comes after the product.
    const auto scaled = [&]() -> const float * {
        of_thread.resize(tokens * width), norms.assign(tokens, 1);
        if (!block->attention_norm) return hidden;
        for (long t = 0; t < tokens; t++) {
            norms[t] = rms_norm_denominator(hidden + t * width, width, block->epsilon);
            for (long k = t * width; k < (t + 1) * width; k++)
                of_thread[k] = hidden[k] * block->attention_norm[k - t * width];
        }
        return of_thread.data();
    };
    matmul(block->qkv_proj, tokens, scaled, [=](long t, long n, float product) {
        qkv[t * qkv_size + n] = product / norms[t] + (block->bias ? block->bias[n] : 0);
    });

    // 2) RMSNorm of the heads, if there is one, and RoPE of queries and keys.
    for (long t = 0; t < tokens; t++) norm_rope(*block, tokens, t, rope, qkv);
}

extern "C" void gguf_block(const Block *block, long tokens, const float *residual,
                           const float *attention_out, const float *rope,
                           const float *inputs, float *hidden, float *qkv) {
    const long width = block->width, ffn = block->ffn, further = block->input_gate.rows;
    of_caller.resize(tokens * (2 * ffn + width));
    float *const gate_up = of_caller.data();  // a thread_local name is each one's own
    float *const products = gate_up + tokens * 2 * ffn;

    // 1) o_proj and residual: hidden [tokens, width].
    add_product(*block, block->o_proj, block->attention_post_norm, tokens,
                [&] { return attention_out; }, residual, hidden, products);

    // 2) RMSNorm, then gate and up projection: gate_up [tokens, 2 · ffn].
    const auto normed = [&]() -> const float * {
        if (!block->ffn_norm) return hidden;
        of_thread.resize(tokens * width);
        for (long t = 0; t < tokens; t++) {
            const float norm =
                rms_norm_denominator(hidden + t * width, width, block->epsilon);
            for (long k = t * width; k < (t + 1) * width; k++)
                of_thread[k] = hidden[k] / norm * block->ffn_norm[k - t * width];
        }
        return of_thread.data();
    };
    matmul(block->gate_up_proj, tokens, normed, [=](long t, long n, float product) {
        gate_up[t * 2 * ffn + n] = product;
    });

    // 3) SwiGLU or GeGLU, down projection and residual: hidden [tokens, width].
    const auto gated = [&] {
        of_thread.resize(tokens * ffn);
        for (long t = 0; t < tokens; t++)
            for (long k = 0; k < ffn; k += LANES) {
                const float *gate = gate_up + t * 2 * ffn + k;
                const f32v product = block->activated(load(gate)) * load(gate + ffn);
                std::memcpy(of_thread.data() + t * ffn + k, &product, sizeof product);
            }
        return of_thread.data();
    };
    add_product(*block, block->down_proj, block->ffn_post_norm, tokens, gated, hidden, hidden,
                products);

    // 4) Further inputs, gated by the state, and their projection; the scale of the layer.
    if (further) {
        float *const gates = gate_up;
        matmul(block->input_gate, tokens, [&] { return hidden; },
               [=](long t, long n, float product) { gates[t * further + n] = product; });
        const auto gated_inputs = [&] {
            of_thread.resize(tokens * further);
            for (long k = 0; k < tokens * further; k += LANES) {
                const f32v product = block->activated(load(gates + k)) * load(inputs + k);
                std::memcpy(of_thread.data() + k, &product, sizeof product);
            }
            return of_thread.data();
        };
        add_product(*block, block->input_proj, block->input_norm, tokens, gated_inputs, hidden,
                    hidden, products);
    }
    if (block->layer_scale != 1)
        for (long k = 0; k < tokens * width; k++) hidden[k] *= block->layer_scale;

    // 5) The queries, keys and values of the next layer.
    if (qkv) gguf_qkv(block, tokens, hidden, rope, qkv);
}
