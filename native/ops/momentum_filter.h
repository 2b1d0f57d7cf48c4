// Mean and population standard deviation of the score queue, the threshold mean - k * std, and who
// passes it (SPEC 3.6).
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace cots::ops {

using at::Tensor;

/// Schema cots::momentum_filter(Tensor scores, Tensor queue_scores, float deviations) -> (Tensor
/// stats, Tensor keep). scores_B, queue_scores_n f32, n >= 1. stats f64 [3] = mean, std, threshold
/// (two passes, float64 accumulators); keep bool [B] = score >= threshold, all true when std <
/// 1e-6, false where the score is not finite.
std::tuple<Tensor, Tensor> momentum_filter(const Tensor& scores_B, const Tensor& queue_scores_n,
                                           double deviations);
std::tuple<Tensor, Tensor> momentum_filter_composite(const Tensor& scores_B,
                                                     const Tensor& queue_scores_n,
                                                     double deviations);

}  // namespace cots::ops
