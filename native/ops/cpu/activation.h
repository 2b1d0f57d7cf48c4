// Activations on sixteen lanes, with their slopes and alone.
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

/// erf(z) within 1.3e-7 as an odd rational function (the coefficients are those of Eigen and XLA).
/// At 4.05 it is above 1 by more than its rounding, so that the tails are exactly 1 and -1.
template <class Floats>
COTS_INLINE Floats erf(const Floats& z) {
  const Floats x = clamp(z, 4.05f), s = x * x;
  Floats p = s * -2.72614225801306e-10f + 2.77068142495902e-08f;
  p = p * s - 2.10102402082508e-06f;
  p = p * s - 5.69250639462346e-05f;
  p = p * s - 7.34990630326855e-04f;
  p = p * s - 2.95459980854025e-03f;
  p = p * s - 1.60960333262415e-02f;
  Floats q = s * -1.45660718464996e-05f - 2.13374055278905e-04f;
  q = q * s - 1.68282697438203e-03f;
  q = q * s - 7.37332916720468e-03f;
  q = q * s - 1.42647390514189e-02f;
  return clamp(x * p / q, 1.0f);
}

/// x Phi(x) = x / 2 (1 + erf(x / sqrt 2)), off by at most 7e-8 |x|.
template <class Floats>
COTS_INLINE Floats gelu_value(const Floats& x) {
  const Floats half = x * 0.5f;
  return half * erf(x * 0.70710678118654752f) + half;
}

/// CLIP's x sigmoid(1.702 x).
template <class Floats>
COTS_INLINE Floats quick_gelu_value(const Floats& x) {
  constexpr float kMost = 87.0f;  // e^87 is finite, and 1 / (1 + e^87) is as good as 0
  const Floats exponent = -1.0f * maximum(x * 1.702f, Floats{} - kMost);
  return x / (exponential(exponent) + 1.0f);
}

}  // namespace cots::ops
