#include <ATen/ATen.h>

#include <atomic>
#include <limits>

#include "io/failure.h"
#include "ops/cancel.h"
#include "ops/exact_dot.h"
#include "ops/top_k.h"
#include "tensors.h"

using namespace cots;
using at::Tensor;

namespace {

/// The exact answer: every score by exact_dot, a stable sort.
std::tuple<Tensor, Tensor> by_sorting(const Tensor& queries, const Tensor& gallery, int64_t k) {
  const int64_t Q = queries.size(0), N = gallery.size(0), D = queries.size(1);
  Tensor scores = at::empty({Q, N});
  for (int64_t q = 0; q < Q; ++q)
    for (int64_t i = 0; i < N; ++i)
      scores.mutable_data_ptr<float>()[q * N + i] = ops::exact_dot(
          queries.const_data_ptr<float>() + q * D, gallery.const_data_ptr<float>() + i * D, D);
  const auto [sorted, order] = scores.sort(true, 1, true);
  return {sorted.narrow(1, 0, k), order.narrow(1, 0, k)};
}

void check_exact(const Tensor& queries, const Tensor& gallery, int64_t k) {
  const auto [scores, indices] = ops::top_k(queries, gallery, k);
  const auto [expected_scores, expected_indices] = by_sorting(queries, gallery.to(at::kFloat), k);
  CHECK(scores.equal(expected_scores));
  CHECK(indices.equal(expected_indices));
}

}  // namespace

TEST_CASE("top_k is exact on awkward shapes") {
  for (const int64_t Q : {1, 2, 3, 123})
    for (const int64_t N : {1, 2, 123, 2057})
      for (const int64_t D : {1, 2, 123})
        for (const int64_t k : {int64_t{1}, std::min<int64_t>(10, N), std::min<int64_t>(N, 300)})
          for (const at::ScalarType type : {at::kFloat, at::kHalf})
            check_exact(test::unit_rows(Q, D, 1), test::unit_rows(N, D, 2).to(type), k);
}

TEST_CASE("top_k over several blocks of queries and chunks of the gallery") {
  check_exact(test::unit_rows(300, 33, 1), test::unit_rows(9001, 33, 2), 7);
}

TEST_CASE("top_k gives equal scores by lower index, however many") {
  const Tensor gallery = test::unit_rows(1, 64, 3).expand({5000, 64}).contiguous();
  for (const int64_t Q : {1, 5}) {
    const auto [scores, indices] = ops::top_k(test::unit_rows(Q, 64, 4), gallery, 20);
    CHECK(indices.equal(at::arange(20, at::kLong).expand({Q, 20})));
    CHECK(scores[0].eq(scores[0][0]).all().item<bool>());
  }
  Tensor mixed = test::unit_rows(3000, 64, 5);  // duplicates far apart, in other tiles and chunks
  mixed[2999].copy_(mixed[1]);
  mixed[1500].copy_(mixed[1]);
  const auto [scores, indices] = ops::top_k(mixed.narrow(0, 1, 1), mixed, 3);
  CHECK(indices.equal(
      at::tensor({int64_t{1}, int64_t{1500}, int64_t{2999}}, at::kLong).unsqueeze(0)));
}

TEST_CASE("top_k decides scores that float32 products confuse, also for rows that are not unit") {
  // Rows a few ulp apart: GEMM's order of summation would shuffle them.
  Tensor gallery = test::unit_rows(1, 200, 6).expand({700, 200}).contiguous();
  gallery += 1e-7 * at::randn({700, 200}, test::generator(7));
  check_exact(test::unit_rows(4, 200, 8), gallery, 25);
  check_exact(100 * test::unit_rows(4, 200, 8), 50 * gallery, 25);
}

TEST_CASE("a score of top_k does not depend on position or batch") {
  const Tensor queries = test::unit_rows(40, 50, 1), gallery = test::unit_rows(600, 50, 2);
  const auto [all_scores, all_indices] = ops::top_k(queries, gallery, 5);
  const auto [one_scores, one_indices] = ops::top_k(queries.narrow(0, 17, 1), gallery, 5);
  CHECK(all_scores[17].equal(one_scores[0]));
  CHECK(all_indices[17].equal(one_indices[0]));
  const auto [flipped_scores, flipped_indices] = ops::top_k(queries, gallery.flip(0), 5);
  CHECK(flipped_scores.equal(all_scores));
  CHECK((599 - flipped_indices).equal(all_indices));
}

TEST_CASE("top_k agrees with its composite") {
  const Tensor queries = test::unit_rows(20, 32, 1), gallery = test::unit_rows(500, 32, 2);
  const auto [scores, indices] = ops::top_k(queries, gallery, 10);
  const auto [expected_scores, expected_indices] = ops::top_k_composite(queries, gallery, 10);
  CHECK(test::max_error(scores, expected_scores) < 1e-6);
  CHECK(indices.eq(expected_indices).to(at::kDouble).mean().item<double>() > 0.99);
}

TEST_CASE("top_k refuses k beyond the gallery and non-finite rows, and stops when cancelled") {
  const Tensor queries = test::unit_rows(3, 8, 1), gallery = test::unit_rows(5000, 8, 2);
  CHECK_THROWS_WITH_AS(ops::top_k(queries, gallery, 5001),
                       doctest::Contains("k in [1, 5000], got 5001"), c10::Error);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const int64_t Q : {1, 3}) {
      Tensor broken = gallery.clone();
      broken[4321][3].fill_(bad);
      CHECK_THROWS_AS(ops::top_k(queries.narrow(0, 0, Q), broken, 2), Failure);
      CHECK_THROWS_AS(ops::top_k(broken.narrow(0, 4320, 3), gallery, 2), Failure);
    }
  const std::atomic<bool> cancelled{true};
  const ops::CancelScope scope(&cancelled);
  CHECK_THROWS_AS(ops::top_k(queries, gallery, 2), ops::Cancelled);
}
