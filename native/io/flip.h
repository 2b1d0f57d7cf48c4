// A row of RGB pixels the other way around.
#pragma once

#include <cstdint>

#include "ops/cpu/isa.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace cots::io {

#if defined(__x86_64__)
/// Five pixels at a time as far as 16 bytes can be read and written; returns how many pixels.
COTS_AVX2 inline int64_t flip_fives(const uint8_t* row, int64_t width, uint8_t* out) {
  const __m128i order = _mm_setr_epi8(-1, 12, 13, 14, 9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2);
  int64_t x = 0;
  for (; x + 6 <= width; x += 5) {
    const __m128i five = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 3 * x));
    // The byte before the five is of a pixel that is still to come.
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 3 * (width - x - 5) - 1),
                     _mm_shuffle_epi8(five, order));
  }
  return x;
}
#endif

/// out[width - 1 - x] = row[x], of 3 bytes each; the two must not overlap.
inline void flip_row(const uint8_t* row, int64_t width, uint8_t* out) {
  int64_t x = 0;
#if defined(__x86_64__)
  if (ops::isa() != ops::Isa::kBaseline) x = flip_fives(row, width, out);
#endif
  for (; x < width; ++x)
    for (int64_t c = 0; c < 3; ++c) out[3 * (width - 1 - x) + c] = row[3 * x + c];
}

}  // namespace cots::io
