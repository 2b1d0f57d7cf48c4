// Activations and their slopes on sixteen lanes.
#pragma once

#include "ops/cpu/lanes.h"

namespace cots::ops {

/// An activation's value and its derivative.
template <class Floats>
struct Activated {
  Floats value, slope;
};

/// x Phi(x) with slope Phi(x) + x phi(x). 1 - Phi(|x|) = erfc(|x| / sqrt 2) / 2 by Abramowitz and
/// Stegun 7.1.26, off by at most 1.5e-7.
template <class Floats>
COTS_INLINE Activated<Floats> gelu(const Floats& x) {
  constexpr float kInverseRoot2Pi = 0.39894228040143268f;
  const Floats size = maximum(x, -1.0f * x);
  const Floats t = 1.0f / (size * (0.3275911f * 0.70710678118654752f) + 1.0f);
  Floats p = t * 1.061405429f - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const Floats bell = exponential(size * size * -0.5f), beyond = 0.5f * (p * t * bell);
  const Floats below = map(
      x, beyond, [](const auto& a, const auto& b) __attribute__((always_inline)) {
        return a > 0 ? 1.0f - b : b;
      });
  return {maximum(x, Floats{}) - size * beyond, below + x * bell * kInverseRoot2Pi};
}

/// CLIP's x s(1.702 x), s the sigmoid, with slope s + 1.702 x s (1 - s).
template <class Floats>
COTS_INLINE Activated<Floats> quick_gelu(const Floats& x) {
  constexpr float kMost = 87.0f;  // e^87 is finite, and 1 / (1 + e^87) is as good as 0
  const Floats exponent = -1.0f * maximum(x * 1.702f, Floats{} - kMost);
  const Floats s = 1.0f / (exponential(exponent) + 1.0f);
  return {x * s, s + x * s * (1.0f - s) * 1.702f};
}

}  // namespace cots::ops
