#include "ops/exact_dot.h"

namespace cots::ops {
namespace {

/// The product of two floats is exact in float64, so contraction to fused multiply-add cannot
/// change a sum; its order is fixed because the compiler may not reassociate floating-point
/// additions.
template <int kRows>
void dots(const float* a, const float* const (&b)[kRows], int64_t n, float* out) {
  double sum[kRows] = {};
  for (int64_t k = 0; k < n; ++k)
    for (int r = 0; r < kRows; ++r)
      sum[r] += static_cast<double>(a[k]) * static_cast<double>(b[r][k]);
  for (int r = 0; r < kRows; ++r) out[r] = static_cast<float>(sum[r]);
}

}  // namespace

float exact_dot(const float* a, const float* b, int64_t n) {
  float out;
  dots<1>(a, {b}, n, &out);
  return out;
}

void exact_dots(const float* a, const float* matrix, const int64_t* row, int64_t count, int64_t n,
                float* out) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4)  // one sum waits four cycles for each addition
    dots<4>(a,
            {matrix + row[i] * n, matrix + row[i + 1] * n, matrix + row[i + 2] * n,
             matrix + row[i + 3] * n},
            n, out + i);
  for (; i < count; ++i) dots<1>(a, {matrix + row[i] * n}, n, out + i);
}

}  // namespace cots::ops
