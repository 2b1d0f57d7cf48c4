// A tile of a matrix product in registers: kRows rows of A times panels of 16 columns of B. The
// inner loop of the inference kernels and of exact search. Legend: K the summed index.
#pragma once

#include <algorithm>
#include <utility>

#include "ops/cpu/lanes.h"

namespace cots::ops {

/// What fits the registers: 12 x 2 sums of AVX-512's 32, 6 x 1 (of two registers each) of AVX2's
/// 16.
template <class Floats>
struct TileShape;
template <>
struct TileShape<Floats512> {
  static constexpr int kRows = 12, kPanels = 2;
};
template <>
struct TileShape<Floats256> {
  static constexpr int kRows = 6, kPanels = 1;
};
template <>
struct TileShape<Floats128> {
  static constexpr int kRows = 2, kPanels = 1;
};

/// sum[r][p] += A[r, :] B_p, with A's rows `lda` apart and B_p the panel [K][16] at B + p *
/// panel_stride.
template <class Floats, int kRows, int kPanels>
COTS_INLINE void multiply_tile(const float* A, int64_t lda, const float* B, int64_t panel_stride,
                               int64_t K, Floats (&sum)[kRows][kPanels]) {
  for (int64_t k = 0; k < K; ++k) {
    // With few rows the weights come from memory: the hardware's own prefetch stops at a page's
    // end.
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p)
      __builtin_prefetch(reinterpret_cast<const char*>(B + p * panel_stride + k * kLanes) +
                         kPrefetchBytes);
    Floats b[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) b[p] = load<Floats>(B + p * panel_stride + k * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const float a = A[r * lda + k];
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) sum[r][p] += a * b[p];
    }
  }
}

/// Rows of the next tile where `left` are left: full tiles, but two even ones at the end rather
/// than a full one and a sliver, which would wait for its few sums.
template <int kMost>
COTS_INLINE int64_t tile_rows(int64_t left) {
  if (left > kMost && left < 2 * kMost) return (left + 1) / 2;
  return std::min<int64_t>(left, kMost);
}

/// Calls f.template operator()<n>() with n = rows, 1 <= rows <= kMost.
template <int kMost, class F>
COTS_INLINE void with_rows(int64_t rows, const F& f) {
  if constexpr (kMost > 1) {
    if (rows < kMost) return with_rows<kMost - 1>(rows, f);
  }
  f.template operator()<kMost>();
}

/// f<kRows, kPanels>(row, panel) over all tiles of `rows` rows and `panels` panels, a panel at a
/// time: it stays in the first-level cache.
template <class Floats, class F>
COTS_INLINE void each_tile(int64_t rows, int64_t panels, const F& f) {
  constexpr int kRows = TileShape<Floats>::kRows, kPanels = TileShape<Floats>::kPanels;
  const auto columns = [&]<int kWide>(int64_t panel) __attribute__((always_inline)) {
    for (int64_t row = 0, tile; row < rows; row += tile) {
      tile = tile_rows<kRows>(rows - row);
      with_rows<kRows>(
          tile, [&]<int kTile>() __attribute__((always_inline)) {
            f.template operator()<kTile, kWide>(row, panel);
          });
    }
  };
  int64_t panel = 0;
  for (; panel + kPanels <= panels; panel += kPanels) columns.template operator()<kPanels>(panel);
  for (; panel < panels; ++panel) columns.template operator()<1>(panel);
}

/// Panels of 16 that so many columns take.
inline int64_t panels_of(int64_t columns) { return (columns + kLanes - 1) / kLanes; }

}  // namespace cots::ops
