// All layers of a Llama model for a few tokens, in one call.

#include "gguf_matrix.h"
#include "kv_cache.h"

// Runs layers first … end of `count`. hidden [rows · tokens, width] are the embedded tokens
// before the first layer, and the states after RMSNorm with `norm` [width] after the last;
// qkv, with room for that of any layer, is kept between two calls. `rope`, `mask` and the
// caches are as in gguf_block and attend; `inputs` are the further ones of all layers, one
// behind the other; `states` are those of the recurrent layers of each
// row, `stride` floats.
extern "C" void llama_layers(const Block *const *blocks, long first, long end, long count,
                             long rows, long tokens, const float *rope, const float *inputs,
                             const KVLayers *shared, const KVLayers *own, float *states,
                             long stride, const float *mask, const float *norm,
                             float *hidden, float *qkv) {
    const Block &block = *blocks[0];
    const long all = rows * tokens, width = block.width;
    static thread_local std::vector<float> attended;
    for (long layer = first; layer < end; layer++)
        attended.resize(std::max<size_t>(attended.size(), all * blocks[layer]->o_proj.columns));
    // The block after the last layer leads to the first.
    if (first == 0) gguf_qkv(blocks[count - 1], all, hidden, rope, qkv);
    for (long layer = first; layer < end; layer++) {
        const Block &mixed = *blocks[layer];
        if (const Recurrent *recurrent = mixed.recurrent)
            mix_recurrent(recurrent, qkv, rows, tokens,
                          states + mixed.place * recurrent->state_size(), stride,
                          attended.data());
        else
            attend(qkv, attended.data(), rows, tokens, &mixed.heads, shared, own, mixed.place,
                   mask);
        const bool is_last = layer + 1 == count;
        gguf_block(blocks[layer], all, hidden, attended.data(), rope,
                   inputs + layer * all * mixed.input_gate.rows, hidden,
                   is_last ? nullptr : qkv);
    }
    if (end < count) return;
    for (long t = 0; t < all; t++) {
        float *const state = hidden + t * width;
        const float denominator = rms_norm_denominator(state, width, block.epsilon);
        for (long k = 0; k < width; k++) state[k] = state[k] / denominator * norm[k];
    }
}
