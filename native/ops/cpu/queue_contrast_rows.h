// The elementwise half of queue_contrast on one row of a tile of logits: T columns of a (image to
// text) and b (text to image), d = a - b. SPEC 3.5. Included by queue_contrast.cpp alone.
#pragma once

#include "ops/cpu/lanes.h"
#include "ops/queue_contrast_row.h"

namespace cots::ops {

/// Columns out of a row's distributions get this logit on both sides: finite, so that d = 0 and
/// e^(a - m) = 0 without NaN.
constexpr float kMaskedLogit = -1e30f;

struct TileSums {
  float m_a, m_b;
  double l_a, s_a, l_b, s_b;
};

template <class Floats>
COTS_INLINE TileSums row_sums_body(const float* a, const float* b, int64_t T) {
  const int64_t whole = T / kLanes * kLanes, rest = T - whole;
  Floats top_a =
      rest ? load_part<Floats>(a + whole, rest, kMaskedLogit) : splat<Floats>(kMaskedLogit);
  Floats top_b =
      rest ? load_part<Floats>(b + whole, rest, kMaskedLogit) : splat<Floats>(kMaskedLogit);
  for (int64_t j = 0; j < whole; j += kLanes) {
    top_a = maximum(load<Floats>(a + j), top_a);
    top_b = maximum(load<Floats>(b + j), top_b);
  }
  const float m_a = reduce_max(top_a), m_b = reduce_max(top_b);
  Floats l_a{}, s_a{}, l_b{}, s_b{};
  const auto add = [&](const Floats& x, const Floats& y) __attribute__((always_inline)) {
    const Floats d = x - y, e_a = exponential(x - m_a), e_b = exponential(y - m_b);
    l_a += e_a, s_a += e_a * d;
    l_b += e_b, s_b += e_b * d;
  };
  for (int64_t j = 0; j < whole; j += kLanes) add(load<Floats>(a + j), load<Floats>(b + j));
  if (rest)
    add(load_part<Floats>(a + whole, rest, kMaskedLogit),
        load_part<Floats>(b + whole, rest, kMaskedLogit));
  // A tile with nothing but masked columns counts them (e^0 each), under a maximum that any later
  // merge takes to 0.
  return {m_a, m_b, reduce_sum(l_a), reduce_sum(s_a), reduce_sum(l_b), reduce_sum(s_b)};
}
COTS_LANE_VERSIONS(inline TileSums, row_sums, (const float* a, const float* b, int64_t T),
                   (a, b, T))

/// Replaces the logits of a row by their gradients.
template <class Floats>
COTS_INLINE void row_gradient_body(float* a, float* b, int64_t T, const RowGradient& g) {
  const int64_t whole = T / kLanes * kLanes, rest = T - whole;
  const auto gradient = [&](Floats & x, Floats & y) __attribute__((always_inline)) {
    const Floats d = x - y, e_a = exponential(x - g.m_a), e_b = exponential(y - g.m_b);
    x = e_a * (g.a_one + g.a_d * (d - g.mean_a)) - g.a_other * e_b;
    y = e_b * (g.b_one - g.b_d * (d - g.mean_b)) - g.b_other * e_a;
  };
  for (int64_t j = 0; j < whole; j += kLanes) {
    Floats x = load<Floats>(a + j), y = load<Floats>(b + j);
    gradient(x, y);
    store(a + j, x);
    store(b + j, y);
  }
  if (!rest) return;
  Floats x = load_part<Floats>(a + whole, rest, kMaskedLogit),
         y = load_part<Floats>(b + whole, rest, kMaskedLogit);
  gradient(x, y);
  store_part(a + whole, rest, x);
  store_part(b + whole, rest, y);
}
COTS_LANE_VERSIONS(inline void, row_gradient, (float* a, float* b, int64_t T, const RowGradient& g),
                   (a, b, T, g))

}  // namespace cots::ops
