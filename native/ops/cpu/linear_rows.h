// What a linear layer does to a row of its input, forward and backward (ops/linear.h). Included by
// linear.cpp alone. Legend: K inputs.
#pragma once

#include <cstring>

#include "ops/cpu/activation.h"
#include "ops/cpu/norm_row.h"
#include "ops/linear.h"

namespace cots::ops {

/// f of the input: a LayerNorm where the weights are there, else the activation.
struct RowTransform {
  const float *norm_weight, *norm_bias;
  double eps;
  InputActivation activation;
  bool identity() const { return norm_weight == nullptr && activation == InputActivation::kNone; }
};

template <class Floats>
COTS_INLINE Activated<Floats> activated(InputActivation activation, const Floats& x) {
  return activation == InputActivation::kGelu ? gelu(x) : quick_gelu(x);
}

/// y = f(x).
template <class Floats>
COTS_INLINE void transform_row(const RowTransform& f, const float* x, int64_t K, float* y) {
  if (f.norm_weight != nullptr) {
    normalize_row<Floats>(x, K, f.norm_weight, f.norm_bias, f.eps, y);
  } else if (f.activation != InputActivation::kNone) {
    each_run(
        K, [&](int64_t k, int64_t count) __attribute__((always_inline)) {
          store_run(y + k, count, activated(f.activation, load_run<Floats>(x + k, count)).value);
        });
  } else {
    std::memcpy(y, x, static_cast<size_t>(K) * sizeof(float));
  }
}

/// Where the gradient of a norm's weight and bias is summed, [K] each.
struct NormGradient {
  float *weight, *bias;
};

/// y = f(x), and g, the gradient of f(x), becomes that of x in dx.
template <class Floats>
COTS_INLINE void norm_row_backward(const RowTransform& f, const float* x, int64_t K, const float* g,
                                   float* y, float* dx, const NormGradient& sums) {
  const RowMoments m = moments_of<Floats>(x, K, f.eps);
  Floats sum{}, product{};
  each_run(
      K, [&](int64_t k, int64_t count) __attribute__((always_inline)) {
        const Floats grad = load_run<Floats>(g + k, count),
                     weight = load_run<Floats>(f.norm_weight + k, count),
                     normal = (load_run<Floats>(x + k, count) - m.mean) * m.scale;
        store_run(y + k, count, normal * weight + load_run<Floats>(f.norm_bias + k, count));
        store_run(sums.weight + k, count, load_run<Floats>(sums.weight + k, count) + grad * normal);
        store_run(sums.bias + k, count, load_run<Floats>(sums.bias + k, count) + grad);
        const Floats inner = grad * weight;  // 0 beyond the row
        sum += inner;
        product += inner * normal;
      });
  const auto width = static_cast<double>(K);
  const float mean = static_cast<float>(reduce_sum(sum) / width),
              slope = static_cast<float>(reduce_sum(product) / width);
  each_run(
      K, [&](int64_t k, int64_t count) __attribute__((always_inline)) {
        const Floats inner =
            load_run<Floats>(g + k, count) * load_run<Floats>(f.norm_weight + k, count);
        const Floats normal = (load_run<Floats>(x + k, count) - m.mean) * m.scale;
        store_run(dx + k, count, (inner - mean - normal * slope) * m.scale);
      });
}

template <class Floats>
COTS_INLINE void activation_row_backward(const RowTransform& f, const float* x, int64_t K,
                                         const float* g, float* y, float* dx) {
  each_run(
      K, [&](int64_t k, int64_t count) __attribute__((always_inline)) {
        const Activated<Floats> a = activated(f.activation, load_run<Floats>(x + k, count));
        store_run(y + k, count, a.value);
        store_run(dx + k, count, load_run<Floats>(g + k, count) * a.slope);
      });
}

}  // namespace cots::ops
