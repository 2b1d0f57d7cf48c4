// What follows the sum of a linear layer, for 16 outputs of one row while they are in registers.
#pragma once

#include <algorithm>

#include "infer/kernels/packed_linear.h"
#include "ops/cpu/activation.h"

namespace cots::kernels {

using namespace ops;  // the lanes and activations

/// Where results go: N outputs a row.
struct Outputs {
  float* y;
  int64_t stride, N;
  Epilogue epilogue;
};

/// y[row, column ..] = residual + gamma * activation(x), of which the columns beyond N are no
/// outputs.
template <class Floats>
COTS_INLINE void finish(const Outputs& o, int64_t row, int64_t column, Floats x) {
  const int64_t count = std::min(kLanes, o.N - column);
  const auto part = [&](const float* from) __attribute__((always_inline)) {
    return load_run<Floats>(from + column, count);
  };
  const Epilogue& e = o.epilogue;
  if (e.activation == LinearActivation::kGelu) x = gelu_value(x);
  if (e.activation == LinearActivation::kQuickGelu) x = quick_gelu_value(x);
  if (e.gamma != nullptr) x = x * part(e.gamma);
  if (e.residual != nullptr) x = x + part(e.residual + row * e.residual_stride);
  store_run(o.y + row * o.stride + column, count, x);
}

}  // namespace cots::kernels
