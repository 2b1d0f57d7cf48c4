// A tile of products whose summed index goes in steps of 4 bytes, four 8-bit integers or two
// bfloat16, for any Dot (infer/kernels/dot4.h, dot2.h).
#pragma once

#include "ops/cpu/tile.h"

namespace cots::kernels {

using namespace ops;  // the lanes and their tiles

/// Bytes of one row in a step, and of 16 columns.
constexpr int64_t kCellBytes = 4, kStepBytes = 16 * kCellBytes;

template <class Whole>
COTS_INLINE Whole load_bytes(const void* from) {
  Whole to;
  std::memcpy(&to, from, sizeof to);
  return to;
}

/// tile[r][p]: the sums over all steps of row r of A times panel p of B [steps][16][4 bytes].
template <class Dot, int kRows, int kPanels>
COTS_INLINE void multiply_dots(const void* A, int64_t row_bytes, const void* B, int64_t panel_bytes,
                               int64_t steps, typename Dot::Sums (&tile)[kRows][kPanels]) {
  const auto *rows = static_cast<const char*>(A), *panels = static_cast<const char*>(B);
  typename Dot::Sums sums[kRows][kPanels] = {};
  for (int64_t step = 0; step < steps; ++step) {
    typename Dot::Weights w[kPanels];
    unrolled<kPanels>([&](auto p) __attribute__((always_inline)) {
      const char* from = panels + p * panel_bytes + step * kStepBytes;
      __builtin_prefetch(from + kPrefetchBytes);
      w[p] = Dot::weights(from);
    });
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      const auto c = Dot::codes(load_bytes<uint32_t>(rows + r * row_bytes + step * kCellBytes));
      unrolled<kPanels>([&](auto p)
                            __attribute__((always_inline)) { Dot::add(sums[r][p], c, w[p]); });
    });
  }
  unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
    unrolled<kPanels>([&](auto p) __attribute__((always_inline)) { tile[r][p] = sums[r][p]; });
  });
}

}  // namespace cots::kernels
