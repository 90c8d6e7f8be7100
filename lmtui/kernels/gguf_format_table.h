// The table of the formats, from `format<Format>()` of each and MOST.

#pragma once

#include "float_formats.h"

BlockFormat format_of(long number) {
    if (number >= PANELS) return panel_format_of(number - PANELS);
    switch (number) {
        case 0: return float_format<float>();
        case 1: return float_format<fp16>();
        case 2: return format<Blocks32<false, false>>();
        case 3: return format<Blocks32<false, true>>();
        case 6: return format<Blocks32<true, false>>();
        case 7: return format<Blocks32<true, true>>();
        case 8: return format<Q8_0>();
        case 10: return format<Q2_K>();
        case 11: return format<Q3_K>();
        case 12: return format<KBits<false>>();
        case 13: return format<KBits<true>>();
        case 14: return format<Q6_K>();
        case 20: return format<IQ4_NL>();
        case 23: return format<IQ4_XS>();
        case 30: return float_format<bf16>();
    }
    return {};
}

// The largest number that an input is rounded to.
extern "C" float gguf_largest_input() { return MOST; }
