#include "ops/exact_dot.h"

namespace cots::ops {

// The product of two floats is exact in float64, so contraction to fused multiply-add cannot change the sum; the order
// is fixed because the compiler may not reassociate floating-point additions.
float exact_dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return static_cast<float>(sum);
}

}  // namespace cots::ops
