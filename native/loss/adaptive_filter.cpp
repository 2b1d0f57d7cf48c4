#include "loss/adaptive_filter.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "ops/momentum_filter.h"

namespace cots::loss {
namespace {

/// The `count` best scores; the earlier row wins a tie.
Tensor best_rows(const Tensor& score_B, int64_t count) {
  const Tensor order = std::get<1>(score_B.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true));
  return at::zeros_like(score_B, at::kBool).index_fill_(0, order.narrow(0, 0, count), true);
}

}  // namespace

FilterDecision adaptive_filter(const Tensor& score_B, const Tensor& queue_scores_n,
                               const FilterOptions& options) {
  const c10::NoGradGuard no_grad;
  const int64_t B = score_B.size(0), n = queue_scores_n.size(0);
  const Tensor finite_B = score_B.isfinite();
  FilterDecision decision;
  decision.weights_B = finite_B.to(at::kFloat);
  if (n == 0) return decision;

  // s_AMF = mean - k * std, over the queue as it was before this step's push.
  const auto [stats, keep_B] = ops::momentum_filter(score_B, queue_scores_n, options.k);
  const double* const values = stats.const_data_ptr<double>();
  decision.mean = values[0], decision.std = values[1], decision.threshold = values[2];
  decision.active = n >= options.min_valid;
  if (!decision.active) return decision;

  Tensor kept_B = keep_B;
  const auto least =
      static_cast<int64_t>(std::ceil(options.min_keep_fraction * static_cast<double>(B)));
  if (kept_B.sum().item<int64_t>() < least) {
    const Tensor ranked_B =
        score_B.masked_fill(finite_B.logical_not(), -std::numeric_limits<float>::infinity());
    kept_B = best_rows(ranked_B, std::min(least, B));
  }
  decision.weights_B = kept_B.logical_and(finite_B).to(at::kFloat);
  return decision;
}

}  // namespace cots::loss
