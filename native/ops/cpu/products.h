// What the backward pass of a product needs beside the tiles of ops/cpu/tile.h: a factor that is
// given by its transpose, and panels cut out of rows. Legend: K the summed index.
#pragma once

#include <cstring>

#include "ops/cpu/tile.h"

namespace cots::ops {

/// As multiply_tile() with A given by its transpose: element (r, k) lies at A[k * lda + r].
template <class Floats, int kRows, int kPanels>
COTS_INLINE void multiply_transposed_tile(const float* A, int64_t lda, const float* B,
                                          int64_t panel_stride, int64_t K,
                                          Floats (&tile)[kRows][kPanels]) {
  Floats sum[kRows][kPanels] = {};
  for (int64_t k = 0; k < K; ++k) {
    Floats b[kPanels];
    unrolled<kPanels>([&](auto p) __attribute__((always_inline)) {
      b[p] = load<Floats>(B + p * panel_stride + k * kLanes);
    });
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      const float a = A[k * lda + r];
      unrolled<kPanels>([&](auto p) __attribute__((always_inline)) { sum[r][p] += a * b[p]; });
    });
  }
  unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
    unrolled<kPanels>([&](auto p) __attribute__((always_inline)) { tile[r][p] = sum[r][p]; });
  });
}

/// The columns [first, first + 16) of `rows` rows as one panel [rows][16], filled up with zeros.
inline void cut_panel(const float* from, int64_t stride, int64_t rows, int64_t first,
                      int64_t columns, float* panel) {
  const int64_t count = std::min(kLanes, columns - first);
  for (int64_t r = 0; r < rows; ++r, panel += kLanes) {
    std::memcpy(panel, from + r * stride + first, static_cast<size_t>(count) * sizeof(float));
    for (int64_t l = count; l < kLanes; ++l) panel[l] = 0;
  }
}

/// to[row, column ..] (+)= x, of which the columns beyond N are none.
template <class Floats>
COTS_INLINE void store_tile_row(float* to, int64_t N, int64_t column, const Floats& x, bool add) {
  const int64_t count = std::min(kLanes, N - column);
  store_run(to + column, count, add ? load_run<Floats>(to + column, count) + x : x);
}

}  // namespace cots::ops
