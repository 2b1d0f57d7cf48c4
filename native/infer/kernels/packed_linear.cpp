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

// Rows whose inputs stay in the second-level cache, whole tiles; the last block takes up to
// kFewRows more.
constexpr int64_t kRowBlock = 96, kFewRows = 11;
struct Piece {
  Rows2d x;
  int64_t row, row_end, panel, panel_end, K;
  const void* panels;
  const float* bias;
  Outputs outputs;
};

template <class Floats, class Weight, int kRows, int kPanels>
COTS_INLINE void linear_tile(const Piece& p, int64_t row, int64_t panel) {
  Floats sum[kRows][kPanels] = {};
  const int64_t panel_size = p.K * kLanes;
  multiply_tile<Floats, kRows, kPanels>(p.x.data + row * p.x.stride, p.x.stride,
                                        static_cast<const Weight*>(p.panels) + panel * panel_size,
                                        panel_size, p.K, sum);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < kPanels; ++c) {
      const int64_t column = (panel + c) * kLanes;
      finish(p.outputs, row + r, column, sum[r][c] + load<Floats>(p.bias + column));
    }
}

template <class Floats, class Weight>
COTS_INLINE void linear_piece_of(const Piece& p) {
  each_tile<Floats>(
      p.row_end - p.row, p.panel_end - p.panel,
      [&]<int kRows, int kPanels>(int64_t row, int64_t panel) __attribute__((always_inline)) {
        linear_tile<Floats, Weight, kRows, kPanels>(p, p.row + row, p.panel + panel);
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

/// `count` rows of K weights as one panel [K][16].
template <class Weight>
void pack_panel(const float* rows, int64_t count, int64_t K, Weight* panel) {
  for (int64_t k = 0; k < K; ++k, panel += kLanes)
    for (int64_t l = 0; l < kLanes; ++l)
      panel[l] = static_cast<Weight>(l < count ? rows[l * K + k] : 0.0F);
}

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
  const int64_t first_panel = first / kLanes, panels = panels_of(count < 0 ? N_ - first : count),
                row_blocks = std::max<int64_t>(1, (rows + kRowBlock - 1 - kFewRows) / kRowBlock),
                column_blocks = cuts(row_blocks, std::max<int64_t>(panels / 2, 1)),
                panels_a_block = (panels + column_blocks - 1) / column_blocks;
  const Piece whole{.x = x,
                    .row = 0,
                    .row_end = rows,
                    .panel = first_panel,
                    .panel_end = first_panel + panels,
                    .K = K_,
                    .panels = panels_.const_data_ptr(),
                    .bias = bias_.const_data_ptr<float>(),
                    .outputs = {y, y_stride, N_, epilogue}};
  for_each_task(row_blocks * column_blocks, [&](int64_t task) {
    Piece piece = whole;
    const int64_t block = task / column_blocks;
    piece.row = block * kRowBlock;
    if (block + 1 < row_blocks) piece.row_end = piece.row + kRowBlock;
    piece.panel = std::min(whole.panel_end, first_panel + task % column_blocks * panels_a_block);
    piece.panel_end = std::min(whole.panel_end, piece.panel + panels_a_block);
    if (panels_.scalar_type() == at::kBFloat16)
      bfloat16_piece(piece);
    else
      linear_piece(piece);
  });
}

}  // namespace cots::kernels
