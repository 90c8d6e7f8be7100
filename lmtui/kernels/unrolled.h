// Loops that a compiler unrolls before anything else.

#pragma once

#include <utility>

// What a loop calls: sums stay in registers only if all of it is inlined.
#define INLINED __attribute__((always_inline))

// Calls f(0) … f(N - 1), each with a constant.
template <typename F, int... I>
INLINED static inline void unrolled(std::integer_sequence<int, I...>, const F &f) {
    (f(std::integral_constant<int, I>{}), ...);
}
template <int N, typename F>
INLINED static inline void unrolled(const F &f) {
    unrolled(std::make_integer_sequence<int, N>{}, f);
}
