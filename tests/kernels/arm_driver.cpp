// Runs kernels on numbers from a file, for a processor that Python does not run on:
// `arm_driver IN OUT`. `test_arm` writes the one and reads the other.

#include <cstdio>

#include "gguf_matrix.h"
#include "kv_cache.h"

extern "C" void set_threads(long);
extern "C" void gguf_matmul(const Matrix *, const float *, long, float *);
extern "C" void gguf_rows(const RowBlocks *, long, const long *, long, float *);

static FILE *in, *out;

template <typename Number>
static std::vector<Number> take(long count) {
    std::vector<Number> all(count);
    if (std::fread(all.data(), sizeof(Number), count, in) != (size_t)count) std::abort();
    return all;
}

static void give(const std::vector<float> &all) {
    std::fwrite(all.data(), sizeof(float), all.size(), out);
}

// Blocks and inputs: rows, the product, and that of each input alone.
static void multiply_blocks(long format, long rows, long columns, long count) {
    const auto blocks = take<uint8_t>(rows * format_of(format).row_bytes(columns));
    const auto inputs = take<float>(count * columns);
    const RowBlocks part = {blocks.data(), rows, format};
    const Matrix matrix = {&part, 1, rows, columns, nullptr, 0, nullptr, nullptr};
    std::vector<long> index;
    for (long n = 0; n < rows; n++) index.push_back(n);
    std::vector<float> plain(rows * columns), product(count * rows), alone(count * rows);
    gguf_rows(&part, columns, index.data(), rows, plain.data());
    gguf_matmul(&matrix, inputs.data(), count, product.data());
    for (long i = 0; i < count; i++)
        gguf_matmul(&matrix, inputs.data() + i * columns, 1, alone.data() + i * rows);
    give(plain), give(product), give(alone);
}

// Queries, keys and values of new tokens, and a cache of one row: the attention output.
static void attend_all(long kv_heads, long tokens, long held, long group) {
    const Heads heads = {kv_heads * group, kv_heads, HEAD_WIDTHS, 0, 0, 1L << 40};
    const auto qkv = take<float>(tokens * heads.all() * heads.width);
    auto cache = take<fp16>(2 * kv_heads * (held + tokens) * heads.width);
    std::vector<float> found(tokens * heads.query * heads.width);
    const KVLayers shared = {}, own = {(char *)cache.data(), 0, held + tokens, held, HEAD_WIDTHS};
    attend(qkv.data(), found.data(), 1, tokens, &heads, &shared, &own, 0, nullptr);
    give(found);
}

int main(int, char **names) {
    in = std::fopen(names[1], "rb"), out = std::fopen(names[2], "wb");
    set_threads(2);
    for (long step[5]; std::fread(step, sizeof step, 1, in) == 1;)
        (step[0] ? attend_all : multiply_blocks)(step[1], step[2], step[3], step[4]);
    return std::fclose(out);
}
