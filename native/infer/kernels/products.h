// How attention forms its two products: in float32, or of bfloat16 with float32 sums. Operands are
// rows of numbers and panels of 16 columns, whose summed index goes in cells of 4 bytes: one float,
// or two bfloat16.
#pragma once

#include "infer/kernels/dot2.h"

namespace cots::kernels {

template <class FloatLanes>
struct FloatProducts {
  using Floats = FloatLanes;
  using Tile = FloatLanes;  // its TileShape
  using Number = float;
  static constexpr int64_t kTogether = 1;      // numbers in a cell
  static constexpr int kExponentialTerms = 6;  // exp2 to the precision of a number

  static COTS_INLINE void put(const Floats& x, Number* to) { store(to, x); }
  /// Row k of 16 columns as a step of a panel.
  static COTS_INLINE void join(const Floats (&rows)[kTogether], Number* step) {
    store(step, rows[0]);
  }
  /// tile[r][p] = A[r, :] B_p over `steps` steps; strides in numbers.
  template <int kRows, int kPanels>
  static COTS_INLINE void multiply(const Number* A, int64_t A_stride, const Number* B,
                                   int64_t panel_stride, int64_t steps,
                                   Floats (&tile)[kRows][kPanels]) {
    multiply_tile(A, A_stride, B, panel_stride, steps, tile);
  }
};

template <class Dot>
struct HalfProducts {
  using Floats = typename Dot::Floats;
  using Tile = Dot;
  using Number = uint16_t;  // the bits of a bfloat16
  static constexpr int64_t kTogether = 2;
  static constexpr int kExponentialTerms = 3;

  static COTS_INLINE void put(const Floats& x, Number* to) { Dot::round(x, to); }
  static COTS_INLINE void join(const Floats (&rows)[kTogether], Number* step) {
    Number first[kLanes], second[kLanes];
    Dot::round(rows[0], first);
    Dot::round(rows[1], second);
    for (int64_t l = 0; l < kLanes; ++l) {
      step[2 * l] = first[l];
      step[2 * l + 1] = second[l];
    }
  }
  template <int kRows, int kPanels>
  static COTS_INLINE void multiply(const Number* A, int64_t A_stride, const Number* B,
                                   int64_t panel_stride, int64_t steps,
                                   Floats (&tile)[kRows][kPanels]) {
    constexpr auto kBytes = static_cast<int64_t>(sizeof(Number));
    multiply_dots<Dot>(A, A_stride * kBytes, B, panel_stride * kBytes, steps, tile);
  }
};

/// panel[c][l] = rows[l][c] for the first `cells` cells of 4 bytes of 16 rows, in blocks of 4 x 4;
/// rows are row_cells apart.
COTS_INLINE void transpose_cells(const void* rows, int64_t row_cells, int64_t cells, void* panel) {
  using Four = uint32_t __attribute__((vector_size(16)));
  const auto* from = static_cast<const char*>(rows);
  auto* to = static_cast<char*>(panel);
  const auto at = [&](int64_t row, int64_t cell) __attribute__((always_inline)) {
    return from + (row * row_cells + cell) * 4;
  };
  for (int64_t c = 0; c < cells; c += 4) {
    for (int64_t l = 0; l < kLanes; l += 4) {
      if (c + 4 > cells) {
        for (int64_t i = c; i < cells; ++i)
          for (int64_t j = l; j < l + 4; ++j) std::memcpy(to + (i * kLanes + j) * 4, at(j, i), 4);
        continue;
      }
      const auto a = load_bytes<Four>(at(l, c)), b = load_bytes<Four>(at(l + 1, c)),
                 d = load_bytes<Four>(at(l + 2, c)), e = load_bytes<Four>(at(l + 3, c));
      const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                 de = __builtin_shufflevector(d, e, 0, 4, 1, 5),
                 AB = __builtin_shufflevector(a, b, 2, 6, 3, 7),
                 DE = __builtin_shufflevector(d, e, 2, 6, 3, 7);
      const Four columns[4] = {
          __builtin_shufflevector(ab, de, 0, 1, 4, 5), __builtin_shufflevector(ab, de, 2, 3, 6, 7),
          __builtin_shufflevector(AB, DE, 0, 1, 4, 5), __builtin_shufflevector(AB, DE, 2, 3, 6, 7)};
      for (int64_t i = 0; i < 4; ++i)
        std::memcpy(to + ((c + i) * kLanes + l) * 4, &columns[i], sizeof(Four));
    }
  }
}

}  // namespace cots::kernels
