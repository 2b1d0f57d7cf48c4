// This file is compiled without contraction of products and sums (-ffp-contract=off): all paths
// round alike, so that an int8 layer gives the same bits on every machine.
#include "infer/kernels/quantized_linear.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "infer/kernels/quantized_tile.h"
#include "infer/kernels/tasks.h"

namespace cots::kernels {
namespace {

constexpr int64_t kRowsATask = 64;
constexpr float kCodes = 255, kWeightCodes = 127;
constexpr float kLeastRange = 1e-30F;  // below it a row is as good as constant

int64_t steps_of(int64_t K) { return (K + kDotInputs - 1) / kDotInputs; }

/// code = round((x - least) / scale) of one row.
template <class Floats>
COTS_INLINE void quantize_row_body(const float* x, int64_t K, uint8_t* codes, float* range) {
  float low = x[0], high = x[0];
  const int64_t whole = K / kLanes * kLanes;
  if (whole > 0) {
    Floats most = load<Floats>(x), most_below = load<Floats>(x) * -1.0F;
    for (int64_t k = kLanes; k < whole; k += kLanes) {
      most = maximum(most, load<Floats>(x + k));
      most_below = maximum(most_below, load<Floats>(x + k) * -1.0F);
    }
    high = reduce_max(most);
    low = -reduce_max(most_below);
  }
  for (int64_t k = whole; k < K; ++k) {
    low = x[k] < low ? x[k] : low;
    high = x[k] > high ? x[k] : high;
  }
  const bool constant = !(high - low > kLeastRange);
  const float levels = constant ? 0 : kCodes / (high - low);
  range[0] = constant ? 0 : (high - low) / kCodes;
  range[1] = low;
  for (int64_t k = 0; k < K; ++k)
    codes[k] = static_cast<uint8_t>(static_cast<int32_t>((x[k] - low) * levels + 0.5F));
  for (int64_t k = K; k % kDotInputs != 0; ++k) codes[k] = 0;
}
COTS_LANE_VERSIONS(void, quantize_row, (const float* x, int64_t K, uint8_t* codes, float* range),
                   (x, K, codes, range))

void piece_portable(const QuantizedPiece& p) { quantized_piece_body<PortableDot4>(p); }
#ifdef COTS_HAS_X86_DOTS
__attribute__((target("avx2,fma"))) void piece_avx2(const QuantizedPiece& p) {
  quantized_piece_body<Avx2Dot4>(p);
}
__attribute__((target("avxvnni,avx2,fma"))) void piece_avx_vnni(const QuantizedPiece& p) {
  quantized_piece_body<AvxVnniDot4>(p);
}
COTS_AVX512_VNNI void piece_avx512_vnni(const QuantizedPiece& p) {
  quantized_piece_body<Avx512VnniDot4>(p);
}
#endif

void run_piece(Dot4Path path, const QuantizedPiece& p) {
  switch (path) {
#ifdef COTS_HAS_X86_DOTS
    case Dot4Path::kAvx2:
      return piece_avx2(p);
    case Dot4Path::kAvxVnni:
      return piece_avx_vnni(p);
    case Dot4Path::kAvx512Vnni:
      return piece_avx512_vnni(p);
#endif
    default:
      return piece_portable(p);
  }
}

/// One output: its codes into every fourth-of-a-step of its panel. Returns the squares of what they
/// lose.
double quantize_output(const float* w, int64_t K, int8_t* column, float* step, float* sum) {
  float most = 0;
  for (int64_t k = 0; k < K; ++k) most = std::max(most, std::abs(w[k]));
  *step = std::max(most / kWeightCodes, kLeastRange);
  int32_t codes = 0;
  double lost = 0;
  for (int64_t k = 0; k < K; ++k) {
    const auto code = static_cast<int32_t>(std::lrint(w[k] / *step));
    column[k / kDotInputs * kDotBytes + k % kDotInputs] = static_cast<int8_t>(code);
    codes += code;
    const double off = w[k] - static_cast<double>(*step) * code;
    lost += off * off;
  }
  *sum = static_cast<float>(codes);
  return lost;
}

}  // namespace

Dot4Path dot4_path() {
#ifdef COTS_HAS_X86_DOTS
  static const Dot4Path found = [] {
    if (isa() == Isa::kAvx512 && __builtin_cpu_supports("avx512vnni")) return Dot4Path::kAvx512Vnni;
    if (isa() != Isa::kBaseline && __builtin_cpu_supports("avxvnni")) return Dot4Path::kAvxVnni;
    return isa() != Isa::kBaseline ? Dot4Path::kAvx2 : Dot4Path::kPortable;
  }();
  return found;
#else
  return Dot4Path::kPortable;
#endif
}

std::string to_text(Dot4Path path) {
  constexpr const char* kNames[] = {"portable", "avx2", "avx_vnni", "avx512_vnni"};
  return kNames[static_cast<int>(path)];
}

void QuantizedRows::reserve(int64_t rows, int64_t K) {
  const int64_t bytes = steps_of(K) * kDotInputs;
  if (!codes_.defined() || codes_.numel() < rows * bytes)
    codes_ = at::empty({rows * bytes}, at::kByte);
  if (!ranges_.defined() || ranges_.numel() < 2 * rows) ranges_ = at::empty({2 * rows}, at::kFloat);
}

void QuantizedRows::quantize(Rows2d x, int64_t rows, int64_t K) {
  reserve(rows, K);
  const int64_t bytes = steps_of(K) * kDotInputs;
  auto* codes = codes_.mutable_data_ptr<uint8_t>();
  auto* ranges = ranges_.mutable_data_ptr<float>();
  for_each_task((rows + kRowsATask - 1) / kRowsATask, [&](int64_t task) {
    const int64_t last = std::min(rows, (task + 1) * kRowsATask);
    for (int64_t row = task * kRowsATask; row < last; ++row)
      quantize_row(x.data + row * x.stride, K, codes + row * bytes, ranges + 2 * row);
  });
}

QuantizedLinear::QuantizedLinear(const Tensor& weight_NK, const Tensor& bias_N)
    : N_(weight_NK.size(0)), K_(weight_NK.size(1)) {
  const int64_t panels = panels_of(N_), panel_bytes = steps_of(K_) * kDotBytes;
  const Tensor weight = weight_NK.contiguous();
  const float* w = weight.const_data_ptr<float>();
  panels_ = at::zeros({panels * panel_bytes}, at::kChar);
  scales_ = at::zeros({panels * kLanes});
  sums_ = at::zeros({panels * kLanes});
  bias_ = at::zeros({panels * kLanes});
  if (bias_N.defined()) bias_.narrow(0, 0, N_).copy_(bias_N);
  int8_t* codes = panels_.mutable_data_ptr<int8_t>();
  float *scales = scales_.mutable_data_ptr<float>(), *sums = sums_.mutable_data_ptr<float>();
  std::vector<double> lost(panels);
  for_each_task(panels, [&](int64_t panel) {
    for (int64_t n = panel * kLanes; n < std::min(N_, (panel + 1) * kLanes); ++n)
      lost[panel] +=
          quantize_output(w + n * K_, K_, codes + panel * panel_bytes + n % kLanes * kDotInputs,
                          scales + n, sums + n);
  });
  double all = 0;
  for (const double one : lost) all += one;
  const double size = weight.norm().item<double>();
  relative_error_ = size > 0 ? std::sqrt(all) / size : 0;
}

QuantizedPiece QuantizedLinear::piece(const QuantizedRows& x, int64_t rows, float* y,
                                      int64_t y_stride, const Epilogue& epilogue) const {
  return {.codes = x.codes(),
          .ranges = x.ranges(),
          .rows = {0, rows},
          .panels = {0, panels_of(N_)},
          .steps = steps_of(K_),
          .weights = panels_.const_data_ptr<int8_t>(),
          .scales = scales_.const_data_ptr<float>(),
          .sums = sums_.const_data_ptr<float>(),
          .bias = bias_.const_data_ptr<float>(),
          .outputs = {y, y_stride, N_, epilogue}};
}

void QuantizedLinear::run(const QuantizedRows& x, int64_t rows, float* y, int64_t y_stride,
                          const Epilogue& epilogue, Dot4Path path) const {
  const QuantizedPiece whole = piece(x, rows, y, y_stride, epilogue);
  for_each_piece(rows, whole.panels, [&](Span rows_part, Span panels_part) {
    QuantizedPiece part = whole;
    part.rows = rows_part;
    part.panels = panels_part;
    run_piece(path, part);
  });
}

}  // namespace cots::kernels
