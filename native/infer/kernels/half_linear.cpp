#include "infer/kernels/half_linear.h"

#include <ATen/ATen.h>

#include "infer/kernels/dot2.h"
#include "infer/kernels/epilogue.h"
#include "infer/kernels/tasks.h"

namespace cots::kernels {
namespace {

constexpr int64_t kRowsATask = 64;

int64_t steps_of(int64_t K) { return (K + 1) / 2; }

/// The results `rows` x `panels` of one product.
struct HalfPiece {
  const uint16_t* x;
  int64_t x_stride;
  Span rows, panels;
  int64_t steps;
  const at::BFloat16* weights;
  const float* bias;
  Outputs outputs;
};

template <class Dot>
COTS_INLINE void half_piece(const HalfPiece& p) {
  using Floats = typename Dot::Floats;
  const int64_t row_bytes = p.x_stride * static_cast<int64_t>(sizeof(uint16_t)),
                panel_bytes = p.steps * kStepBytes;
  each_tile<Dot>(
      p.rows.end - p.rows.first, p.panels.end - p.panels.first,
      [&]<int kRows, int kPanels>(int64_t tile_row,
                                  int64_t tile_panel) __attribute__((always_inline)) {
        const int64_t row = p.rows.first + tile_row, panel = p.panels.first + tile_panel;
        Floats sums[kRows][kPanels];
        multiply_dots<Dot>(p.x + row * p.x_stride, row_bytes,
                           p.weights + panel * p.steps * 2 * kLanes, panel_bytes, p.steps, sums);
        for (int r = 0; r < kRows; ++r)
          for (int c = 0; c < kPanels; ++c) {
            const int64_t column = (panel + c) * kLanes;
            finish(p.outputs, row + r, column, sums[r][c] + load<Floats>(p.bias + column));
          }
      });
}

template <class Dot>
COTS_INLINE void round_row(const float* x, int64_t K, uint16_t* to) {
  using Floats = typename Dot::Floats;
  for (int64_t k = 0; k < K; k += kLanes) Dot::round(load_run<Floats>(x + k, K - k), to + k);
}

void half_piece_portable(const HalfPiece& p) { half_piece<PlainDot2>(p); }
void round_row_portable(const float* x, int64_t K, uint16_t* to) { round_row<PlainDot2>(x, K, to); }
#ifdef COTS_HAS_BFLOAT16_DOTS
COTS_AVX512_BFLOAT16 void half_piece_avx512(const HalfPiece& p) { half_piece<Avx512Dot2>(p); }
COTS_AVX512_BFLOAT16 void round_row_avx512(const float* x, int64_t K, uint16_t* to) {
  round_row<Avx512Dot2>(x, K, to);
}
#else
constexpr auto half_piece_avx512 = half_piece_portable;
constexpr auto round_row_avx512 = round_row_portable;
#endif

}  // namespace

Dot2Path dot2_path() {
#ifdef COTS_HAS_BFLOAT16_DOTS
  static const Dot2Path found = isa() == Isa::kAvx512 && __builtin_cpu_supports("avx512bf16")
                                    ? Dot2Path::kAvx512Bf16
                                    : Dot2Path::kPortable;
  return found;
#else
  return Dot2Path::kPortable;
#endif
}

std::string to_text(Dot2Path path) {
  return path == Dot2Path::kPortable ? "portable" : "avx512_bf16";
}

void HalfRows::reserve(int64_t rows, int64_t K) {
  const int64_t numbers = rows * panels_of(K) * kLanes;
  if (!numbers_.defined() || numbers_.numel() < numbers)
    numbers_ = at::empty({numbers}, at::kBFloat16);
}

void HalfRows::round(Rows2d x, int64_t rows, int64_t K, Dot2Path path) {
  reserve(rows, K);
  stride_ = panels_of(K) * kLanes;
  auto* numbers = reinterpret_cast<uint16_t*>(numbers_.mutable_data_ptr<at::BFloat16>());
  const auto one = path == Dot2Path::kAvx512Bf16 ? round_row_avx512 : round_row_portable;
  for_each_task((rows + kRowsATask - 1) / kRowsATask, [&](int64_t task) {
    const int64_t last = std::min(rows, (task + 1) * kRowsATask);
    for (int64_t row = task * kRowsATask; row < last; ++row)
      one(x.data + row * x.stride, K, numbers + row * stride_);
  });
}

HalfLinear::HalfLinear(const Tensor& weight_NK, const Tensor& bias_N)
    : N_(weight_NK.size(0)), K_(weight_NK.size(1)) {
  const int64_t panels = panels_of(N_), steps = steps_of(K_);
  const Tensor weight = weight_NK.contiguous();
  const float* w = weight.const_data_ptr<float>();
  panels_ = at::zeros({panels, steps, kLanes, 2}, at::kBFloat16);
  auto* halves = panels_.mutable_data_ptr<at::BFloat16>();
  for_each_task(panels, [&](int64_t panel) {
    for (int64_t n = panel * kLanes; n < std::min(N_, (panel + 1) * kLanes); ++n)
      for (int64_t k = 0; k < K_; ++k)
        halves[((panel * steps + k / 2) * kLanes + n % kLanes) * 2 + k % 2] =
            at::BFloat16(w[n * K_ + k]);
  });
  bias_ = at::zeros({panels * kLanes});
  if (bias_N.defined()) bias_.narrow(0, 0, N_).copy_(bias_N);
}

void HalfLinear::run(const HalfRows& x, int64_t rows, float* y, int64_t y_stride,
                     const Epilogue& epilogue, Dot2Path path) const {
  const auto run_piece = path == Dot2Path::kAvx512Bf16 ? half_piece_avx512 : half_piece_portable;
  for_each_piece(rows, {0, panels_of(N_)}, [&](Span some_rows, Span panels) {
    run_piece({.x = x.numbers(),
               .x_stride = x.stride(),
               .rows = some_rows,
               .panels = panels,
               .steps = steps_of(K_),
               .weights = panels_.const_data_ptr<at::BFloat16>(),
               .bias = bias_.const_data_ptr<float>(),
               .outputs = {y, y_stride, N_, epilogue}});
  });
}

}  // namespace cots::kernels
