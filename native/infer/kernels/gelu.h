// GELU on sixteen lanes.
#pragma once

#include "ops/cpu/lanes.h"

namespace cots::kernels {

using namespace ops;  // the lanes

/// x Phi(x) = max(x, 0) - |x| / 2 erfc(|x| / sqrt 2), with erfc by Abramowitz and Stegun 7.1.26:
/// off by at most 1.5e-7 |x| / 2.
template <class Floats>
COTS_INLINE Floats gelu(const Floats& x) {
  const Floats size = maximum(x, -1.0f * x);
  const Floats t = 1.0f / (size * (0.3275911f * 0.70710678118654752f) + 1.0f);
  Floats p = t * 1.061405429f - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const Floats erfc = p * t * exponential(size * size * -0.5f);
  return maximum(x, Floats{}) - 0.5f * size * erfc;
}

/// CLIP's x sigmoid(1.702 x).
template <class Floats>
COTS_INLINE Floats quick_gelu(const Floats& x) {
  constexpr float kMost = 87.0f;  // e^87 is finite, and 1 / (1 + e^87) is as good as 0
  const Floats exponent = -1.0f * maximum(x * 1.702f, Floats{} - kMost);
  return x / (exponential(exponent) + 1.0f);
}

}  // namespace cots::kernels
