// LayerNorm of one row. Legend: K numbers of the row.
#pragma once

#include <cmath>

#include "ops/cpu/lanes.h"

namespace cots::ops {

/// f(k, count) for each run of lanes of a row; only the last may be shorter.
template <class F>
COTS_INLINE void each_run(int64_t K, const F& f) {
  int64_t k = 0;
  for (; k + kLanes <= K; k += kLanes) f(k, kLanes);
  if (k < K) f(k, K - k);
}

/// Of one row: (x - mean) * scale is the normalized row.
struct RowMoments {
  float mean, scale;
};

template <class Floats>
COTS_INLINE RowMoments moments_of(const float* x, int64_t K, double eps) {
  Floats sum{};
  each_run(
      K, [&](int64_t k, int64_t count)
             __attribute__((always_inline)) { sum += load_run<Floats>(x + k, count); });
  const auto width = static_cast<double>(K);
  const float mean = static_cast<float>(reduce_sum(sum) / width);
  Floats squares{};
  each_run(
      K, [&](int64_t k, int64_t count) __attribute__((always_inline)) {
        const Floats off = count == kLanes ? load<Floats>(x + k) - mean
                                           : load_part<Floats>(x + k, count, mean) - mean;
        squares += off * off;
      });
  return {mean, static_cast<float>(1 / std::sqrt(reduce_sum(squares) / width + eps))};
}

/// y = weight * normalized row + bias; y may be x.
template <class Floats>
COTS_INLINE void normalize_row(const float* x, int64_t K, const float* weight, const float* bias,
                               double eps, float* y) {
  const RowMoments m = moments_of<Floats>(x, K, eps);
  each_run(
      K, [&](int64_t k, int64_t count) __attribute__((always_inline)) {
        store_run(y + k, count,
                  (load_run<Floats>(x + k, count) - m.mean) * m.scale *
                          load_run<Floats>(weight + k, count) +
                      load_run<Floats>(bias + k, count));
      });
}

}  // namespace cots::ops
