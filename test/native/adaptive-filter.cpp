#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <limits>

#include "loss/adaptive_filter.h"

using namespace cots;
using at::Tensor;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

Tensor floats(const std::vector<float>& values) { return at::tensor(values, at::kFloat); }

double statistic(const loss::FilterDecision& decision, int64_t which) {
  return decision.stats_3[which].item<double>();  // mean, standard deviation, threshold
}

const loss::FilterOptions kPlain{.k = 1, .min_valid = 4, .min_keep_fraction = 0};

}  // namespace

TEST_CASE("the filter keeps what reaches mean - k * std of the queue") {
  const Tensor queue =
      floats({0.1f, 0.2f, 0.3f, 0.4f});  // mean 0.25, population deviation 0.1118034
  const auto decision = loss::adaptive_filter(floats({0.5f, 0.14f, 0.13f, -1}), queue, kPlain);
  CHECK(decision.active);
  CHECK(statistic(decision, 0) == doctest::Approx(0.25));
  CHECK(statistic(decision, 1) == doctest::Approx(0.1118034));
  CHECK(statistic(decision, 2) == doctest::Approx(0.1381966));
  CHECK(at::equal(decision.weights_B, floats({1, 1, 0, 0})));
}

TEST_CASE("the filter rests until enough real pairs are queued") {
  const Tensor scores = floats({0.5f, -1, kNaN});
  const auto early = loss::adaptive_filter(scores, floats({0.1f, 0.2f, 0.3f}), kPlain);
  CHECK_FALSE(early.active);
  CHECK(at::equal(early.weights_B, floats({1, 1, 0})));
  const auto empty = loss::adaptive_filter(scores, at::empty({0}),
                                           {.k = 1, .min_valid = 0, .min_keep_fraction = 0});
  CHECK_FALSE(empty.active);
  CHECK(at::equal(empty.weights_B, floats({1, 1, 0})));
  CHECK(loss::adaptive_filter(scores, floats({0.1f, 0.2f, 0.3f, 0.4f}), kPlain).active);
}

TEST_CASE("σ = 0") {
  const auto decision = loss::adaptive_filter(floats({0.1f, 0.3f, 0.5f, kNaN}),
                                              floats({0.3f, 0.3f, 0.3f, 0.3f}), kPlain);
  CHECK(decision.active);
  CHECK(statistic(decision, 1) == 0);
  CHECK(statistic(decision, 2) == statistic(decision, 0));
  CHECK(at::equal(decision.weights_B,
                  floats({1, 1, 1, 0})));  // every pair, but never a non-finite one
}

TEST_CASE("at least the asked share is kept, best scores first") {
  const Tensor queue = floats({0.8f, 0.82f, 0.84f, 0.86f}),
               scores = floats({0.1f, 0.4f, kNaN, 0.4f, 0.2f});
  CHECK(loss::adaptive_filter(scores, queue, kPlain).weights_B.sum().item<double>() == 0);
  const auto keep = [&](double share) {
    return loss::adaptive_filter(scores, queue,
                                 {.k = 1, .min_valid = 4, .min_keep_fraction = share})
        .weights_B;
  };
  CHECK(at::equal(keep(0.2), floats({0, 1, 0, 0, 0})));  // a tie goes to the earlier row
  CHECK(at::equal(keep(0.5), floats({0, 1, 0, 1, 1})));
  CHECK(at::equal(keep(1), floats({1, 1, 0, 1, 1})));  // non-finite rows stay out
}
