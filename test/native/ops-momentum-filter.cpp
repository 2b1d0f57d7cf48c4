#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <vector>

#include "ops/momentum_filter.h"
#include "tensors.h"

using namespace cots;
using at::Tensor;

namespace {

Tensor booleans(std::vector<int64_t> values) { return at::tensor(values, at::kLong).to(at::kBool); }

}  // namespace

TEST_CASE("momentum_filter: mean, population std, threshold and who passes") {
  const Tensor queue = at::tensor({0.1f, 0.3f, 0.5f, 0.7f});
  const auto [stats, keep] =
      ops::momentum_filter(at::tensor({0.0f, 0.17f, 0.18f, 1.0f}), queue, 1.0);
  CHECK(stats[0].item<double>() == doctest::Approx(0.4));
  CHECK(stats[1].item<double>() == doctest::Approx(std::sqrt(0.05)));
  CHECK(stats[2].item<double>() ==
        stats[0].item<double>() - 1.0 * stats[1].item<double>());  // exactly
  CHECK(keep.equal(booleans({false, false, true, true})));         // threshold 0.1764
}

TEST_CASE("momentum_filter keeps every finite score when std < 1e-6, and no other") {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              inf = std::numeric_limits<float>::infinity();
  const auto [stats, keep] =
      ops::momentum_filter(at::tensor({-1.0f, nan, inf, 0.2f}), at::full({9}, 0.5f), 2.0);
  CHECK(stats[1].item<double>() == 0.0);
  CHECK(keep.equal(booleans({true, false, false, true})));
  const auto wide =
      ops::momentum_filter(at::tensor({-1.0f, nan, inf, 0.5f}), at::tensor({0.4f, 0.6f}), 2.0);
  CHECK(std::get<1>(wide).equal(booleans({false, false, false, true})));
}

TEST_CASE("momentum_filter equals its composite") {
  for (const int64_t n : {1, 2, 123, 257, 12800}) {
    const Tensor scores = at::randn({123}, test::generator(1)),
                 queue = at::randn({n}, test::generator(2)) * 1e-3 + 0.9;
    for (const double k : {0.0, 1.0, 2.0, -0.5}) {
      const auto [stats, keep] = ops::momentum_filter(scores, queue, k);
      const auto [expected_stats, expected_keep] = ops::momentum_filter_composite(scores, queue, k);
      CHECK(test::max_error(stats, expected_stats) < 1e-12);
      CHECK(keep.equal(expected_keep));
    }
  }
}

TEST_CASE("momentum_filter refuses an empty queue") {
  CHECK_THROWS_WITH_AS(ops::momentum_filter(at::ones({1}), at::ones({0}), 2.0),
                       doctest::Contains("at least one queue score"), c10::Error);
}
