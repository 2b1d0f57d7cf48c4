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
  decision.stats_3 = at::zeros({3}, score_B.options().dtype(at::kDouble));
  if (n == 0) return decision;

  // s_AMF = mean - k * std, over the queue as it was before this step's push.
  Tensor kept_B;
  std::tie(decision.stats_3, kept_B) = ops::momentum_filter(score_B, queue_scores_n, options.k);
  decision.active = n >= options.min_valid;
  if (!decision.active) return decision;

  const auto least =
      static_cast<int64_t>(std::ceil(options.min_keep_fraction * static_cast<double>(B)));
  if (least > 0) {
    const Tensor ranked_B =
        score_B.masked_fill(finite_B.logical_not(), -std::numeric_limits<float>::infinity());
    const Tensor best_B = best_rows(ranked_B, std::min(least, B));
    kept_B = at::where(kept_B.sum() < least, best_B, kept_B);
  }
  decision.weights_B = kept_B.logical_and(finite_B).to(at::kFloat);
  return decision;
}

}  // namespace cots::loss
