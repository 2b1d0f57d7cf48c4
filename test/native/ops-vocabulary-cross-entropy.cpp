#include <ATen/ATen.h>

#include <array>
#include <tuple>
#include <vector>

#include "ops/dispatch.h"
#include "ops/vocabulary_cross_entropy.h"
#include "tensors.h"

using namespace cots;
using at::Tensor;

namespace {

struct Inputs {
  Tensor query, weight, bias, target;

  Inputs to(at::ScalarType type) const {
    const auto leaf = [&](const Tensor& x) { return x.detach().to(type).clone().requires_grad_(); };
    return {leaf(query), leaf(weight), leaf(bias), target};
  }
  std::vector<Tensor> gradients() const { return {query.grad(), weight.grad(), bias.grad()}; }
};

Inputs random_inputs(int64_t M, int64_t d, int64_t V, double scale) {
  const auto draw = [](at::IntArrayRef size, uint64_t seed) {
    return at::randn(size, test::generator(seed));
  };
  return {draw({M, d}, 1), draw({V, d}, 2) * scale, draw({V}, 3),
          at::randint(V, {M}, test::generator(4), at::TensorOptions().dtype(at::kLong))};
}

void compare(const Inputs& inputs) {
  const Inputs kernel = inputs.to(at::kFloat), composite = inputs.to(at::kFloat),
               reference = inputs.to(at::kDouble);
  const Tensor loss =
      ops::vocabulary_cross_entropy(kernel.query, kernel.weight, kernel.bias, kernel.target);
  const Tensor loss32 = ops::vocabulary_cross_entropy_composite(composite.query, composite.weight,
                                                                composite.bias, inputs.target);
  const Tensor loss64 = ops::vocabulary_cross_entropy_composite(reference.query, reference.weight,
                                                                reference.bias, inputs.target);
  for (const Tensor& x : {loss, loss32, loss64}) (x * 0.25).backward();
  test::check_twice(loss.detach(), loss32.detach(), loss64.detach());
  for (size_t i = 0; i < 3; ++i)
    test::check_twice(kernel.gradients()[i], composite.gradients()[i], reference.gradients()[i],
                      1.0);
}

}  // namespace

TEST_CASE("vocabulary_cross_entropy equals its composite on awkward shapes") {
  for (const int64_t M : {1, 2, 123, 257})
    for (const int64_t V : {1, 2, 123, 257})
      for (const int64_t d : {1, 2, 123}) compare(random_inputs(M, d, V, 0.3));
}

TEST_CASE("vocabulary_cross_entropy over several chunks, and with large logits") {
  compare(random_inputs(700, 24, 5003, 0.5));  // more than one chunk of rows
  compare(random_inputs(40, 16, 300, 30.0));   // softmax saturates
}

TEST_CASE("vocabulary_cross_entropy of no rows is 0 and gives zero gradients") {
  Inputs x = random_inputs(0, 4, 9, 1.0).to(at::kFloat);
  const Tensor loss = ops::vocabulary_cross_entropy(x.query, x.weight, x.bias, x.target);
  loss.backward();
  CHECK(loss.item<float>() == 0.0f);
  CHECK(test::max_abs(x.weight.grad()) == 0.0);
  CHECK(x.query.grad().sizes() == at::IntArrayRef({0, 4}));
}

TEST_CASE("vocabulary_cross_entropy forms only the gradients that are wanted") {
  using Op = std::tuple<Tensor, Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&,
                                                        const Tensor&, std::array<bool, 3>);
  const Inputs x = random_inputs(5, 4, 9, 1.0);
  const auto op = ops::find_op<Op>("cots::vocabulary_cross_entropy");
  const auto [loss, query, weight, bias] =
      op.call(x.query, x.weight, x.bias, x.target, {true, false, true});
  CHECK(query.defined());
  CHECK_FALSE(weight.defined());
  CHECK(bias.defined());
}

TEST_CASE("vocabulary_cross_entropy refuses a target outside the vocabulary") {
  Inputs x = random_inputs(5, 4, 9, 1.0);
  CHECK_THROWS_WITH_AS(
      ops::vocabulary_cross_entropy(x.query, x.weight, x.bias, at::full({5}, 9, at::kLong)),
      doctest::Contains("targets in [0, 9)"), c10::Error);
}

TEST_CASE(
    "vocabulary_cross_entropy refuses a second backward, whose gradients would be scaled twice") {
  const Inputs x = random_inputs(5, 4, 9, 1.0).to(at::kFloat);
  const Tensor loss = ops::vocabulary_cross_entropy(x.query, x.weight, x.bias, x.target);
  loss.backward({}, /*retain_graph=*/true);
  CHECK_THROWS_WITH_AS(loss.backward(), doctest::Contains("expected one backward"), c10::Error);
}
