// Weights in panels of 16 outputs, so that a tile of results (ops/cpu/tile.h) reads them in a
// row and its inputs from the cache. Legend: M rows, K inputs, N outputs.
#include "infer/kernels/packed_linear.h"

#include <ATen/ATen.h>

#include "infer/kernels/epilogue.h"
#include "infer/kernels/tasks.h"
#include "ops/cpu/tile.h"

namespace cots::kernels {
namespace {

using namespace ops;  // the lanes and their tiles

/// The results `rows` x `panels` of one product.
struct Piece {
  Rows2d x;
  Span rows, panels;
  int64_t K;
  const void* weights;  // [N / 16][K][16]
  const float* bias;
  Outputs outputs;
};

template <class Floats, class Weight, int kRows, int kPanels>
COTS_INLINE void linear_tile(const Piece& p, int64_t row, int64_t panel) {
  Floats sum[kRows][kPanels];
  const int64_t panel_size = p.K * kLanes;
  multiply_tile<Floats, kRows, kPanels>(p.x.data + row * p.x.stride, p.x.stride,
                                        static_cast<const Weight*>(p.weights) + panel * panel_size,
                                        panel_size, p.K, sum);
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kPanels; ++c) {
      const int64_t column = (panel + c) * kLanes;
      finish(p.outputs, row + r, column, sum[r][c] + load<Floats>(p.bias + column));
    }
}

template <class Floats, class Weight>
COTS_INLINE void linear_piece_of(const Piece& p) {
  each_tile<Floats>(
      p.rows.end - p.rows.first, p.panels.end - p.panels.first,
      [&]<int kRows, int kPanels>(int64_t row, int64_t panel) __attribute__((always_inline)) {
        linear_tile<Floats, Weight, kRows, kPanels>(p, p.rows.first + row, p.panels.first + panel);
      });
}
template <class Floats>
COTS_INLINE void linear_piece_body(const Piece& p) {
  linear_piece_of<Floats, float>(p);
}
COTS_LANE_VERSIONS(void, linear_piece, (const Piece& p), (p))
template <class Floats>
COTS_INLINE void bfloat16_piece_body(const Piece& p) {
  linear_piece_of<Floats, at::BFloat16>(p);
}
COTS_LANE_VERSIONS(void, bfloat16_piece, (const Piece& p), (p))

/// All panels of a weight [N, K].
template <class Weight>
void pack_panels(const float* weight, int64_t N, int64_t K, Weight* panels) {
  for_each_task(panels_of(N), [&](int64_t panel) {
    const int64_t first = panel * kLanes;
    pack_panel(weight + first * K, std::min(kLanes, N - first), K, panels + first * K);
  });
}

}  // namespace

PackedLinear::PackedLinear(const Tensor& weight_NK, const Tensor& bias_N, Storage storage)
    : N_(weight_NK.size(0)), K_(weight_NK.size(1)) {
  const int64_t panels = panels_of(N_);
  const Tensor weight = weight_NK.contiguous();
  const bool halves = storage == Storage::kBfloat16;
  panels_ = at::empty({panels, K_, kLanes}, halves ? at::kBFloat16 : at::kFloat);
  const float* from = weight.const_data_ptr<float>();
  if (halves)
    pack_panels(from, N_, K_, panels_.mutable_data_ptr<at::BFloat16>());
  else
    pack_panels(from, N_, K_, panels_.mutable_data_ptr<float>());
  bias_ = at::zeros({panels * kLanes});
  if (bias_N.defined()) bias_.narrow(0, 0, N_).copy_(bias_N);
}

Tensor PackedLinear::unpack() const {
  return panels_.to(at::kFloat).transpose(1, 2).reshape({-1, K_}).narrow(0, 0, N_).contiguous();
}

void PackedLinear::run(Rows2d x, int64_t rows, float* y, int64_t y_stride, const Epilogue& epilogue,
                       int64_t first, int64_t count) const {
  const int64_t first_panel = first / kLanes,
                last_panel = first_panel + panels_of(count < 0 ? N_ - first : count);
  const bool halves = panels_.scalar_type() == at::kBFloat16;
  for_each_piece(rows, {first_panel, last_panel}, [&](Span rows_part, Span panels_part) {
    const Piece piece{.x = x,
                      .rows = rows_part,
                      .panels = panels_part,
                      .K = K_,
                      .weights = panels_.const_data_ptr(),
                      .bias = bias_.const_data_ptr<float>(),
                      .outputs = {y, y_stride, N_, epilogue}};
    halves ? bfloat16_piece(piece) : linear_piece(piece);
  });
}

}  // namespace cots::kernels
