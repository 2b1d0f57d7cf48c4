// A linear layer and what stands before and after it in a transformer block, as one op: a
// LayerNorm or an activation of its input, formed again in backward instead of being kept, and a
// residual that is added. Legend: M rows, K inputs, N outputs.
#pragma once

#include <ATen/core/Tensor.h>

namespace cots::ops {

using at::Tensor;

enum class InputActivation { kNone, kGelu, kQuickGelu };

struct LinearArguments {
  Tensor x_MK, weight_NK, bias_N;
  // f of the input: a LayerNorm of weight and bias [K] where they are defined, or an activation.
  Tensor norm_weight_K = {}, norm_bias_K = {};
  double norm_eps = 0;
  InputActivation activation = InputActivation::kNone;
  Tensor residual_MN = {};  // undefined: nothing is added
  // The result is not read, its gradient alone is: the kernel leaves it unset.
  bool unread = false;
};

/// Schemas cots::linear and cots::linear_backward: [M, N] = residual + f(x) W^T + b, with gradient
/// to every tensor. What is kept for backward is x alone, not f(x). float32 on a CPU runs the
/// kernel, whose sums depend on the shapes alone: a row is the same in any batch, a gradient with
/// any number of threads. Every other type and device runs the composite, in the number type of x:
/// parameters are cast where they meet activations, so that float32 weights train in bfloat16.
Tensor linear(const LinearArguments& arguments);
/// The same by plain torch operations.
Tensor linear_composite(const LinearArguments& arguments);

}  // namespace cots::ops
