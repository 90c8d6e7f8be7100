// Layers that keep a state of fixed size: Gated DeltaNet and gated short convolutions.

#pragma once

// What mixes the tokens of such a layer. A short convolution has no heads.
struct Recurrent {
    long taps, channels;  // of a causal convolution of each channel by itself
    long key_heads, value_heads, key_width, value_width;
    long is_tiled;  // else outputs of the value heads that share a key head lie together
    float epsilon;
    const float *convolution;      // [taps, channels]; the last tap is the token's own
    const float *decay, *dt_bias;  // [value_heads]
    const float *norm;             // [value_width]

    // Floats of a row's state: the last inputs of the convolution [taps - 1, channels],
    // then the heads' [value_heads, key_width, value_width].
    long state_size() const {
        return (taps - 1) * channels + value_heads * key_width * value_width;
    }
    // The key head that value head h shares is h modulo their number. Where its output lies:
    long place_of(long h) const {
        return is_tiled ? h : h % key_heads * (value_heads / key_heads) + h / key_heads;
    }
};

// Runs `tokens` new tokens of each row: projected [rows · tokens, …] -> out [rows · tokens,
// channels or value_heads · value_width]. A token's result has the same bits alone or among
// others. `states` are those of the first row, which is `stride` floats before the next.
// Projected are, for a short convolution, what multiplies its inputs, what multiplies its
// outputs, and the inputs [3, channels]; for Gated DeltaNet queries, keys and values
// [channels], the gates of the outputs [value_heads, value_width], then β and the time step
// of each value head.
extern "C" void mix_recurrent(const Recurrent *recurrent, const float *projected, long rows,
                              long tokens, float *states, long stride, float *out);
