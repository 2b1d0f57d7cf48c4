// A tile of a matrix product in registers: kRows rows of A times panels of 16 columns of B. The
// inner loop of the inference kernels and of exact search. Legend: K the summed index.
#pragma once

#include <c10/util/BFloat16.h>

#include <algorithm>
#include <utility>

#include "ops/cpu/lanes.h"

namespace cots::ops {

/// What fits the registers: 12 x 2 sums of AVX-512's 32, 6 x 1 (of two registers each) of AVX2's
/// 16. Under a sanitizer, which checks every read of an unrolled tile, large ones take the compiler
/// minutes: there small ones stand for them.
#ifdef __SANITIZE_ADDRESS__
constexpr int kMostTileRows = 3;
#else
constexpr int kMostTileRows = 12;
#endif
template <class Floats>
struct TileShape;
template <>
struct TileShape<Floats512> {
  static constexpr int kRows = kMostTileRows, kPanels = 2;
};
template <>
struct TileShape<Floats256> {
  static constexpr int kRows = std::min(6, kMostTileRows), kPanels = 1;
};
template <>
struct TileShape<Floats128> {
  static constexpr int kRows = 2, kPanels = 1;
};

/// 16 weights as float32: as they are, or the upper halves of float32 that bfloat16 are.
template <class Floats>
COTS_INLINE Floats load_weights(const float* p) {
  return load<Floats>(p);
}
#define COTS_EXPAND(V, BYTES)                                          \
  COTS_INLINE V expand(const at::BFloat16* p, V*) {                    \
    using Halves = uint16_t __attribute__((vector_size(BYTES / 2)));   \
    using Wholes = uint32_t __attribute__((vector_size(BYTES)));       \
    Halves halves;                                                     \
    std::memcpy(&halves, p, sizeof halves);                            \
    const Wholes bits = __builtin_convertvector(halves, Wholes) << 16; \
    V x;                                                               \
    std::memcpy(&x, &bits, sizeof x);                                  \
    return x;                                                          \
  }
COTS_EXPAND(Vector512, 64)
COTS_EXPAND(Vector256, 32)
COTS_EXPAND(Vector128, 16)
#undef COTS_EXPAND
template <class V, int n>
COTS_INLINE void expand_into(Joined<V, n>& x, const at::BFloat16* p) {
  if constexpr (n == 1) {
    x.value = expand(p, &x.value);
  } else {
    expand_into(x.low, p);
    expand_into(x.high, p + n / 2 * static_cast<int64_t>(sizeof(V) / sizeof(float)));
  }
}
template <class Floats>
COTS_INLINE Floats load_weights(const at::BFloat16* p) {
  Floats x;
  expand_into(x, p);
  return x;
}

/// tile[r][p] = A[r, :] B_p, with A's rows `lda` apart and B_p the panel [K][16] at B + p *
/// panel_stride. The sums are registers until the end.
template <class Floats, int kRows, int kPanels, class Weight>
COTS_INLINE void multiply_tile(const float* A, int64_t lda, const Weight* B, int64_t panel_stride,
                               int64_t K, Floats (&tile)[kRows][kPanels]) {
  Floats sum[kRows][kPanels] = {};
  for (int64_t k = 0; k < K; ++k) {
    Floats b[kPanels];
    unrolled<kPanels>([&](auto p) __attribute__((always_inline)) {
      const Weight* from = B + p * panel_stride + k * kLanes;
      // With few rows the weights come from memory: the hardware's own prefetch stops at a page's
      // end.
      __builtin_prefetch(reinterpret_cast<const char*>(from) + kPrefetchBytes);
      b[p] = load_weights<Floats>(from);
    });
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      const float a = A[r * lda + k];
      unrolled<kPanels>([&](auto p) __attribute__((always_inline)) { sum[r][p] += a * b[p]; });
    });
  }
  unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
    unrolled<kPanels>([&](auto p) __attribute__((always_inline)) { tile[r][p] = sum[r][p]; });
  });
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
template <class Lanes, class F>
COTS_INLINE void each_tile(int64_t rows, int64_t panels, const F& f) {
  constexpr int kRows = TileShape<Lanes>::kRows, kPanels = TileShape<Lanes>::kPanels;
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

/// `count` rows of K numbers as one panel [K][16], filled up with zeros.
template <class Weight>
void pack_panel(const float* rows, int64_t count, int64_t K, Weight* panel) {
  for (int64_t k = 0; k < K; ++k, panel += kLanes)
    for (int64_t l = 0; l < kLanes; ++l)
      panel[l] = static_cast<Weight>(l < count ? rows[l * K + k] : 0.0F);
}

}  // namespace cots::ops
