// The passes of resize_passes.h with 8- and 16-bit products. A coefficient of 23 bits is high *
// 2^16 + low: pixels times `high` add up in 16 bits and pixels times `low` in 32, two taps an
// instruction; what overflows the 16 bits would overflow the 32 of the whole sum just the same, so
// that the result is the exact one (modulo 2^32, in which it fits). For x86-64 alone.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "ops/cpu/resize_axis.h"

namespace cots::ops::avx2 {

/// Sums of 16 lanes: of `low` products (lanes 0-3 | 8-11 and 4-7 | 12-15), and of `high` products.
struct Sums {
  __m256i low0, low1, high;
};

COTS_AVX2_INLINE Sums zero_sums() {
  const __m256i half = _mm256_set1_epi32(1 << (kPrecisionBits - 1));
  return {half, half, _mm256_setzero_si256()};
}

/// bytes: 16 lanes of two neighbors, one of each tap of the pair.
COTS_AVX2_INLINE void add_pair(Sums& sums, __m256i bytes, __m256i low, __m256i high) {
  const __m256i zero = _mm256_setzero_si256();
  sums.high = _mm256_add_epi16(sums.high, _mm256_maddubs_epi16(bytes, high));
  sums.low0 =
      _mm256_add_epi32(sums.low0, _mm256_madd_epi16(_mm256_unpacklo_epi8(bytes, zero), low));
  sums.low1 =
      _mm256_add_epi32(sums.low1, _mm256_madd_epi16(_mm256_unpackhi_epi8(bytes, zero), low));
}

/// The 16 results as int16, in the order of the lanes, not yet clipped to a byte.
COTS_AVX2_INLINE __m256i rounded(const Sums& sums) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i sum0 = _mm256_add_epi32(sums.low0, _mm256_unpacklo_epi16(zero, sums.high));
  const __m256i sum1 = _mm256_add_epi32(sums.low1, _mm256_unpackhi_epi16(zero, sums.high));
  return _mm256_packs_epi32(_mm256_srai_epi32(sum0, kPrecisionBits),
                            _mm256_srai_epi32(sum1, kPrecisionBits));
}

/// strip[x / 2][row][channel][x % 2] from four rows of RGB; the fourth channel is never read back.
COTS_AVX2 inline void interleave(const uint8_t* const* rows, int64_t width, uint8_t* strip) {
  const __m128i order =
      _mm_setr_epi8(0, 3, 1, 4, 2, 5, -1, -1, 6, 9, 7, 10, 8, 11, -1, -1);  // four pixels
  const int64_t whole = width >= 6 ? (width - 2) / 4 * 4 : 0;  // a load reads a third of its bytes
                                                               // past its four pixels
  for (int64_t r = 0; r < kStripRows; ++r) {
    const uint8_t* in = rows[r];
    uint8_t* out = strip + 8 * r;
    for (int64_t x = 0; x < whole; x += 4) {
      const __m128i pixels =
          _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in + 3 * x)), order);
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 16 * x), pixels);
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 16 * (x + 2)),
                       _mm_unpackhi_epi64(pixels, pixels));
    }
    for (int64_t x = whole; x < width; ++x)
      for (int64_t c = 0; c < 3; ++c) out[x / 2 * 32 + 2 * c + x % 2] = in[3 * x + c];
  }
}

COTS_AVX2 inline void resize_rows(const uint8_t* const* rows, int64_t width, const Axis& axis,
                                  uint8_t* strip, uint8_t* const* out, int64_t count) {
  interleave(rows, width, strip);
  const int64_t outputs = static_cast<int64_t>(axis.taps.window.size());
  const Axis::Pair* pair = axis.pair.data();
  for (int64_t x = 0; x < outputs; ++x, pair += axis.pairs) {
    const Window window = axis.taps.window[static_cast<size_t>(x)];
    const int64_t begin = window.first / 2, pairs = (window.first + window.count + 1) / 2 - begin;
    const uint8_t* in = strip + 32 * begin;
    Sums sums = zero_sums();
    for (int64_t p = 0; p < pairs; ++p)
      add_pair(sums, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + 32 * p)),
               _mm256_set1_epi32(static_cast<int>(pair[p].low)),
               _mm256_set1_epi16(static_cast<int16_t>(pair[p].high)));
    const __m256i words = rounded(sums);
    alignas(16) uint8_t pixel[4 * kStripRows];
    _mm_store_si128(
        reinterpret_cast<__m128i*>(pixel),
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
    for (int64_t r = 0; r < count; ++r) std::memcpy(out[r] + 3 * x, pixel + 4 * r, 3);
  }
}

/// Lanes [begin, begin + 32) of an output row.
COTS_AVX2_INLINE __m256i columns_block(const uint8_t* in, int64_t bytes, Window window,
                                       const Axis::Pair* pair) {
  Sums even = zero_sums(), odd = zero_sums();  // lanes 0-7 | 16-23 and 8-15 | 24-31
  const int64_t begin = window.first / 2 * 2, end = window.first + window.count;
  for (int64_t row = begin; row < end; row += 2, ++pair) {
    const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + row * bytes));
    // A last row without a neighbor is its own: the coefficient is 0.
    const int64_t next = row + 1 < end ? row + 1 : row;
    const __m256i second = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + next * bytes));
    const __m256i low = _mm256_set1_epi32(static_cast<int>(pair->low));
    const __m256i high = _mm256_set1_epi16(static_cast<int16_t>(pair->high));
    add_pair(even, _mm256_unpacklo_epi8(first, second), low, high);
    add_pair(odd, _mm256_unpackhi_epi8(first, second), low, high);
  }
  return _mm256_packus_epi16(rounded(even), rounded(odd));
}

/// `bytes` of at least 32.
COTS_AVX2 inline void resize_columns(const uint8_t* in, int64_t bytes, const Axis& axis, int64_t y,
                                     uint8_t* out) {
  const Window window = axis.taps.window[static_cast<size_t>(y)];
  const Axis::Pair* pair = axis.pair.data() + y * axis.pairs;
  for (int64_t begin = 0; begin < bytes; begin += 32) {
    const int64_t at = std::min(begin, bytes - 32);  // the last block overlaps the one before
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + at),
                        columns_block(in + at, bytes, window, pair));
  }
}

}  // namespace cots::ops::avx2
