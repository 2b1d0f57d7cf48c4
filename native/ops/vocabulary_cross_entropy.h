// Linear classifier and cross-entropy in one, by chunks of rows: never holds all logits (SPEC 3.4;
// Wijmans et al. 2024).
#pragma once

#include <ATen/core/Tensor.h>

#include "ops/ignored_target.h"

namespace cots::ops {

using at::Tensor;

/// Schema cots::vocabulary_cross_entropy. Sum over rows of logsumexp(W u + c) - (W u + c)[t];
/// scalar f32 with gradient to query_Md, weight_Vd and bias_V (formed chunk by chunk in forward
/// when they require it, scaled there in backward, which
/// runs once). A row whose target is kIgnoredTarget adds nothing and
/// has no gradient, so that a captured step may predict any number of rows. On CUDA a bfloat16
/// query keeps the products in bfloat16 with float32 sums, and a target out of range gives NaN
/// instead of an error, because reading it would wait for the device.
Tensor vocabulary_cross_entropy(const Tensor& query_Md, const Tensor& weight_Vd,
                                const Tensor& bias_V, const Tensor& target_M);
Tensor vocabulary_cross_entropy_composite(const Tensor& query_Md, const Tensor& weight_Vd,
                                          const Tensor& bias_V, const Tensor& target_M);

/// The shapes that the twins require alike, and the target's type.
void check_vocabulary_shapes(const Tensor& query_Md, const Tensor& weight_Vd, const Tensor& bias_V,
                             const Tensor& target_M);

}  // namespace cots::ops
