// A tile of an int8 product, for any Dot4 (infer/kernels/dot4.h). In a header of its own, so that
// the tests compile it for a Dot4 that this machine lacks.
#pragma once

#include "infer/kernels/dot4.h"
#include "infer/kernels/dot_tile.h"
#include "infer/kernels/epilogue.h"
#include "infer/kernels/tasks.h"

namespace cots::kernels {

/// The results `rows` x `panels` of one product of K inputs, `steps` = K / 4.
struct QuantizedPiece {
  const uint8_t* codes;  // rows `steps` x 4 apart
  const float* ranges;   // (scale, least) of each row
  Span rows, panels;
  int64_t steps;
  const int8_t* weights;              // [N / 16][steps][16][4]
  const float *scales, *sums, *bias;  // of each output: step size, sum of the weights, bias
  Outputs outputs;
};

/// x = scale * code + least and w = step * code: with S the exact sum of the products of the codes,
/// y = (scale * S + least * sum of the weights' codes) * step + bias.
template <class Dot>
COTS_INLINE void finish_sums(const QuantizedPiece& p, int64_t row, int64_t column,
                             const typename Dot::Sums& sums) {
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
      p.rows.end - p.rows.first, p.panels.end - p.panels.first,
      [&]<int kRows, int kPanels>(int64_t tile_row, int64_t tile_panel)
          __attribute__((always_inline)) {
            const int64_t row = p.rows.first + tile_row, panel = p.panels.first + tile_panel;
            typename Dot::Sums sums[kRows][kPanels];
            multiply_dots<Dot, kRows, kPanels>(p.codes + row * row_bytes, row_bytes,
                                               p.weights + panel * panel_bytes, panel_bytes,
                                               p.steps, sums);
            for (int r = 0; r < kRows; ++r)
              for (int c = 0; c < kPanels; ++c)
                finish_sums<Dot>(p, row + r, (panel + c) * kLanes, sums[r][c]);
          });
}

}  // namespace cots::kernels
