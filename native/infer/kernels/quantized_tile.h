// A tile of an int8 product, for any Dot4 (infer/kernels/dot4.h). In a header of its own, so that
// the tests compile it for a Dot4 that this machine lacks.
#pragma once

#include "infer/kernels/dot4.h"
#include "infer/kernels/epilogue.h"

namespace cots::kernels {

/// The part [row, row_end) x [panel, panel_end) of one product of K inputs, `steps` = K / 4.
struct QuantizedPiece {
  const uint8_t* codes;  // rows `steps` x 4 apart
  const float* ranges;   // (scale, least) of each row
  int64_t row, row_end, panel, panel_end, steps;
  const int8_t* panels;               // [N / 16][steps][16][4]
  const float *scales, *sums, *bias;  // of each output: step size, sum of the weights, bias
  Outputs outputs;
};

template <class Dot, int kRows, int kPanels>
COTS_INLINE void multiply_codes(const uint8_t* codes, int64_t row_bytes, const int8_t* weights,
                                int64_t panel_bytes, int64_t steps,
                                typename Dot::Ints (&sums)[kRows][kPanels]) {
  for (int64_t step = 0; step < steps; ++step) {
    typename Dot::Weights w[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const int8_t* from = weights + p * panel_bytes + step * kDotBytes;
      __builtin_prefetch(from + kPrefetchBytes);
      w[p] = Dot::weights(from);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const auto c = Dot::codes(load_bytes<uint32_t>(codes + r * row_bytes + step * kDotInputs));
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) Dot::add(sums[r][p], c, w[p]);
    }
  }
}

/// x = scale * code + least and w = step * code: with S the exact sum of the products of the codes,
/// y = (scale * S + least * sum of the weights' codes) * step + bias.
template <class Dot>
COTS_INLINE void finish_sums(const QuantizedPiece& p, int64_t row, int64_t column,
                             const typename Dot::Ints& sums) {
  using Floats = typename Dot::Floats;
  const float scale = p.ranges[2 * row], least = p.ranges[2 * row + 1];
  const Floats x = to_floats<Floats>(sums) * scale + load<Floats>(p.sums + column) * least;
  finish(p.outputs, row, column,
         x * load<Floats>(p.scales + column) + load<Floats>(p.bias + column));
}

template <class Dot>
COTS_INLINE void quantized_piece_body(const QuantizedPiece& p) {
  const int64_t row_bytes = p.steps * kDotInputs, panel_bytes = p.steps * kDotBytes;
  each_tile<Dot>(
      p.row_end - p.row, p.panel_end - p.panel,
      [&]<int kRows, int kPanels>(int64_t tile_row, int64_t tile_panel)
          __attribute__((always_inline)) {
            const int64_t row = p.row + tile_row, panel = p.panel + tile_panel;
            typename Dot::Ints sums[kRows][kPanels] = {};
            multiply_codes<Dot, kRows, kPanels>(p.codes + row * row_bytes, row_bytes,
                                                p.panels + panel * panel_bytes, panel_bytes,
                                                p.steps, sums);
#pragma GCC unroll 16
            for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
              for (int c = 0; c < kPanels; ++c)
                finish_sums<Dot>(p, row + r, (panel + c) * kLanes, sums[r][c]);
          });
}

}  // namespace cots::kernels
