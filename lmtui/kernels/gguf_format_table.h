// The table of the formats, from `format<Format>()` of each and MOST.

#pragma once

#include "float_formats.h"

template <long NUMBER, typename Format>
static void find(long number, BlockFormat &found) {
    if constexpr (FORMATS >> NUMBER & 1)
        if (number == NUMBER) found = format<Format>();
}

BlockFormat format_of(long number) {
    BlockFormat found{};
    find<2, Blocks32<false, false>>(number, found);
    find<3, Blocks32<false, true>>(number, found);
    find<6, Blocks32<true, false>>(number, found);
    find<7, Blocks32<true, true>>(number, found);
    find<8, Q8_0>(number, found);
    find<12, KBits<false>>(number, found);
    find<13, KBits<true>>(number, found);
    find<14, Q6_K>(number, found);
    if (number == 0) return float_format<float>();
    if (number == 1) return float_format<fp16>();
    if (number == 30) return float_format<bf16>();
    return found;
}

// The largest number that an input is rounded to.
extern "C" float gguf_largest_input() { return MOST; }
