// Two passes over n scores with float64 accumulators. A single pass (sum of squares) would lose the
// deviation of a queue whose scores are close together. Legend: B scores of the batch, n scores of
// the queue.
#include "ops/momentum_filter.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <cmath>

namespace cots::ops {
namespace {

std::tuple<Tensor, Tensor> momentum_filter_cpu(const Tensor& scores_B, const Tensor& queue_scores_n,
                                               double deviations) {
  TORCH_CHECK(scores_B.dim() == 1 && scores_B.scalar_type() == at::kFloat,
              "momentum_filter: expected scores as float32 [B], got ", scores_B.scalar_type(), " ",
              scores_B.sizes());
  TORCH_CHECK(queue_scores_n.dim() == 1 && queue_scores_n.scalar_type() == at::kFloat,
              "momentum_filter: expected queue scores as float32 [n], got ",
              queue_scores_n.scalar_type(), " ", queue_scores_n.sizes());
  const int64_t n = queue_scores_n.size(0), B = scores_B.size(0);
  TORCH_CHECK(n > 0, "momentum_filter: expected at least one queue score, got none");
  const Tensor queue = queue_scores_n.contiguous(), scores = scores_B.contiguous();
  const float* q = queue.const_data_ptr<float>();
  const float* s = scores.const_data_ptr<float>();

  double mean = 0, variance = 0;
  for (int64_t j = 0; j < n; ++j) mean += q[j];
  mean /= static_cast<double>(n);
  for (int64_t j = 0; j < n; ++j) variance += (q[j] - mean) * (q[j] - mean);
  const double std = std::sqrt(variance / static_cast<double>(n));
  const double threshold = mean - deviations * std;

  Tensor stats_3 = at::empty({3}, scores.options().dtype(at::kDouble));
  double* stats = stats_3.mutable_data_ptr<double>();
  stats[0] = mean, stats[1] = std, stats[2] = threshold;
  Tensor keep_B = at::empty({B}, scores.options().dtype(at::kBool));
  bool* keep = keep_B.mutable_data_ptr<bool>();
  for (int64_t i = 0; i < B; ++i)
    keep[i] = std::isfinite(s[i]) && (std < 1e-6 || s[i] >= threshold);
  return {stats_3, keep_B};
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) { m.impl("momentum_filter", momentum_filter_cpu); }

}  // namespace cots::ops
