#include "infer/pooled_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace cots {
namespace {

constexpr double kNormFloor = 1e-12;  // SPEC 3.8: ||z|| = 0

}  // namespace

void mean_rows(const float* x, const std::vector<int64_t>& starts, int64_t skip, int64_t d,
               float* mean_Bd) {
  for (size_t b = 0; b + 1 < starts.size(); ++b, mean_Bd += d) {
    const int64_t first = starts[b] + skip, rows = starts[b + 1] - first;
    std::fill_n(mean_Bd, d, 0.0F);
    for (int64_t row = first; row < first + rows; ++row)
      for (int64_t k = 0; k < d; ++k) mean_Bd[k] += x[row * d + k];
    for (int64_t k = 0; k < d; ++k) mean_Bd[k] /= static_cast<float>(rows);
  }
}

void project_to_unit(const kernels::PackedLinear& proj, const float* pooled_Bd, int64_t B,
                     int64_t d, float* out) {
  const int64_t D = proj.out() > 0 ? proj.out() : d;
  if (proj.out() > 0)
    proj.run({pooled_Bd, d}, B, out, D);
  else
    std::memcpy(out, pooled_Bd, static_cast<size_t>(B * D) * sizeof(float));
  for (int64_t b = 0; b < B; ++b, out += D) {
    double square = 0;
    for (int64_t k = 0; k < D; ++k)
      square += static_cast<double>(out[k]) * static_cast<double>(out[k]);
    const auto norm = static_cast<float>(std::max(std::sqrt(square), kNormFloor));
    for (int64_t k = 0; k < D; ++k) out[k] /= norm;
  }
}

}  // namespace cots
