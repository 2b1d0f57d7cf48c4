// Legend: B scores of the batch, n scores of the queue.
#include "ops/momentum_filter.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include "ops/dispatch.h"

namespace cots::ops {

std::tuple<Tensor, Tensor> momentum_filter(const Tensor& scores_B, const Tensor& queue_scores_n,
                                           double deviations) {
  static const auto op = find_op<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, double)>(
      "cots::momentum_filter");
  return op.call(scores_B, queue_scores_n, deviations);
}

std::tuple<Tensor, Tensor> momentum_filter_composite(const Tensor& scores_B,
                                                     const Tensor& queue_scores_n,
                                                     double deviations) {
  TORCH_CHECK(queue_scores_n.numel() > 0,
              "momentum_filter: expected at least one queue score, got none");
  const Tensor queue_n = queue_scores_n.to(at::kDouble);
  const Tensor mean = queue_n.mean();
  const Tensor std = (queue_n - mean).square().mean().sqrt();
  const Tensor threshold = mean - deviations * std;
  const Tensor passes_B = scores_B.to(at::kDouble).ge(threshold).logical_or(std.lt(1e-6));
  return {at::stack({mean, std, threshold}), passes_B.logical_and(scores_B.isfinite())};
}

TORCH_LIBRARY_FRAGMENT(cots, m) {
  m.def(
      "momentum_filter(Tensor scores, Tensor queue_scores, float deviations) -> (Tensor stats, "
      "Tensor keep)");
}

}  // namespace cots::ops
