#include <ATen/ATen.h>

#include <numeric>
#include <vector>

#include "ops/attention.h"
#include "tensors.h"

using namespace cots;
using at::Tensor;

namespace {

struct Case {
  std::vector<int64_t> lengths;
  int64_t heads, head_width;
  bool first_only = false, causal = false;
};

/// The tensors of a call as leaves of one number type, and the gradient that comes from above.
struct Call {
  ops::AttentionArguments arguments;
  Tensor upstream;

  Call(const Case& c, at::ScalarType type) {
    std::vector<int64_t> starts(c.lengths.size() + 1, 0);
    std::partial_sum(c.lengths.begin(), c.lengths.end(), starts.begin() + 1);
    const auto S = static_cast<int64_t>(c.lengths.size());
    const int64_t d = c.heads * c.head_width, M = starts.back();
    const auto leaf = [&](at::IntArrayRef size, uint64_t seed) {
      return (2 * at::randn(size, test::generator(seed))).to(type).requires_grad_();
    };
    arguments = {.rows_M = leaf({M, (c.first_only ? 2 : 3) * d}, 1),
                 .starts = at::tensor(starts, at::kLong),
                 .heads = c.heads,
                 .causal = c.causal};
    if (c.first_only) arguments.query_Sd = leaf({S, d}, 2);
    upstream = at::randn({c.first_only ? S : M, d}, test::generator(3)).to(type);
  }
  std::vector<Tensor> gradients() const {
    return arguments.query_Sd.defined()
               ? std::vector{arguments.rows_M.grad(), arguments.query_Sd.grad()}
               : std::vector{arguments.rows_M.grad()};
  }
};

void compare(const Case& c) {
  const Call kernel(c, at::kFloat), composite(c, at::kFloat), reference(c, at::kDouble);
  const Tensor y = ops::attention(kernel.arguments),
               y32 = ops::attention_composite(composite.arguments),
               y64 = ops::attention_composite(reference.arguments);
  test::check_twice(y.detach(), y32.detach(), y64.detach());
  y.backward(kernel.upstream);
  y32.backward(composite.upstream);
  y64.backward(reference.upstream);
  for (size_t i = 0; i < kernel.gradients().size(); ++i)
    test::check_twice(kernel.gradients()[i], composite.gradients()[i], reference.gradients()[i]);
}

}  // namespace

TEST_CASE("attention equals its composite over sequences of mixed length") {
  const std::vector<int64_t> lengths = {1, 17, 2, 123, 48, 16, 49};
  for (const int64_t heads : {1, 3})
    for (const int64_t width : {1, 5, 16, 32, 40})
      for (const bool causal : {false, true}) {
        CAPTURE(heads);
        CAPTURE(width);
        CAPTURE(causal);
        compare({lengths, heads, width, /*first_only=*/false, causal});
        compare({lengths, heads, width, /*first_only=*/true, causal});
      }
  compare({{577, 300}, 2, 64});
}

TEST_CASE("attention: a sequence gives the same whatever is beside it") {
  const Call call({{9, 20, 13}, 2, 8}, at::kFloat);
  ops::AttentionArguments alone = call.arguments;
  alone.rows_M = call.arguments.rows_M.narrow(0, 9, 20);
  alone.starts = at::tensor({0, 20}, at::kLong);
  CHECK(ops::attention(alone).detach().equal(
      ops::attention(call.arguments).detach().narrow(0, 9, 20)));
}

TEST_CASE("attention of no sequences is empty") {
  const Call call({{}, 2, 8}, at::kFloat);
  const Tensor y = ops::attention(call.arguments);
  y.sum().backward();
  CHECK(y.sizes() == at::IntArrayRef({0, 16}));
  CHECK(call.arguments.rows_M.grad().sizes() == at::IntArrayRef({0, 48}));
}

TEST_CASE("attention refuses starts that do not fit the rows, and an empty sequence") {
  const Call call({{9, 20}, 2, 8}, at::kFloat);
  ops::AttentionArguments a = call.arguments;
  for (const std::vector<int64_t>& starts :
       {std::vector<int64_t>{0, 9, 28}, {1, 9, 29}, {0, 29, 29}}) {
    a.starts = at::tensor(starts, at::kLong);
    CHECK_THROWS_WITH_AS(ops::attention(a), doctest::Contains("rise from 0 to 29"), c10::Error);
  }
}
