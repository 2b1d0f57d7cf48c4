#include <ATen/ATen.h>

#include "ops/adamw.h"
#include "tensors.h"

using namespace cots;
using at::Tensor;

namespace {

struct State {
  Tensor parameter, grad, first, second, decay;
  State to(at::ScalarType type) const {
    return {parameter.to(type).clone(), grad.to(type), first.to(type).clone(),
            second.to(type).clone(), decay.to(type)};
  }
};

State random_state(int64_t N) {
  const auto draw = [&](uint64_t seed) {
    return at::randn({N}, test::generator(seed), at::TensorOptions());
  };
  return {draw(1), draw(2) * 0.1, draw(3) * 0.01, draw(4).square() * 1e-3,
          draw(5).gt(0).to(at::kFloat)};
}

}  // namespace

TEST_CASE("adamw_ follows the composite over several steps") {
  for (const int64_t N : {1, 2, 123, 257, 70001}) {
    const State start = random_state(N);
    State kernel = start.to(at::kFloat), composite = start.to(at::kFloat),
          reference = start.to(at::kDouble);
    for (int64_t step = 1; step <= 5; ++step) {
      const ops::AdamW options{1e-3, 0.9, 0.999, 1e-8, 0.02, step, 0.5};
      ops::adamw_(kernel.parameter, kernel.grad, kernel.first, kernel.second, kernel.decay,
                  options);
      ops::adamw_composite_(composite.parameter, composite.grad, composite.first, composite.second,
                            composite.decay, options);
      ops::adamw_composite_(reference.parameter, reference.grad, reference.first, reference.second,
                            reference.decay, options);
    }
    test::check_twice(kernel.parameter, composite.parameter, reference.parameter);
    test::check_twice(kernel.first, composite.first, reference.first);
    test::check_twice(kernel.second, composite.second, reference.second);
    CHECK(test::max_error(kernel.parameter, start.parameter) > 1e-4);  // it moved
  }
}

TEST_CASE("adamw_ gives torch.optim.AdamW's numbers") {
  // torch 2.13: AdamW([1.0, -2.0], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1), grads
  // [0.5, -0.25] then [0.1, 0.3].
  const Tensor p = at::tensor({1.0f, -2.0f}), m = at::zeros({2}), v = at::zeros({2}),
               decay = at::ones({2});
  ops::adamw_(p, at::tensor({0.5f, -0.25f}), m, v, decay, {0.1, 0.9, 0.99, 1e-8, 0.1, 1, 1.0});
  CHECK(test::max_error(p, at::tensor({0.890000002, -1.880000004}, at::kDouble)) < 1e-6);
  ops::adamw_(p, at::tensor({0.1f, 0.3f}), m, v, decay, {0.1, 0.9, 0.99, 1e-8, 0.1, 2, 1.0});
  CHECK(test::max_error(p, at::tensor({0.800627594, -1.875488649}, at::kDouble)) < 1e-6);
}

TEST_CASE("adamw_ decays only where the mask is 1") {
  const Tensor p = at::ones({2}), zero = at::zeros({2});
  ops::adamw_(p, zero, zero.clone(), zero.clone(), at::tensor({0.0f, 1.0f}),
              {0.1, 0.9, 0.999, 1e-8, 0.5, 1, 1.0});
  CHECK(p[0].item<float>() == 1.0f);
  CHECK(p[1].item<float>() == doctest::Approx(0.95));
}

TEST_CASE("adamw_ refuses a buffer of another length") {
  const Tensor p = at::ones({4}), other = at::ones({3});
  CHECK_THROWS_WITH_AS(ops::adamw_(p, other, p, p, p, {0.1, 0.9, 0.999, 1e-8, 0, 1, 1.0}),
                       doctest::Contains("expected grad as contiguous float32 of 4 elements"),
                       c10::Error);
}

TEST_CASE("adamw_ with a moving average and live options follows the composite") {
  const State start = random_state(257);
  const State kernel = start.to(at::kFloat), composite = start.to(at::kFloat);
  const Tensor average = at::ones({257}), composite_average = average.clone();
  const Tensor live = at::tensor({0.5, 7.0, 0.25, 1.0}, at::kDouble);
  const ops::AdamW options{1e-2, 0.9, 0.999, 1e-8, 0.02, 1, 1.0};
  const auto run = [&] {
    ops::adamw_(kernel.parameter, kernel.grad, kernel.first, kernel.second, kernel.decay, options,
                live, {average, 0.75});
    ops::adamw_composite_(composite.parameter, composite.grad, composite.first, composite.second,
                          composite.decay, options, live, {composite_average, 0.75});
  };
  run();
  CHECK(test::max_error(kernel.parameter, composite.parameter) < 1e-6);
  CHECK(test::max_error(average, composite_average) < 1e-6);
  CHECK(test::max_error(average, 0.75 + 0.25 * kernel.parameter) < 1e-6);

  // The live step, factor and scale are used: the same as plain options with those values.
  const State plain = start.to(at::kFloat);
  ops::adamw_(plain.parameter, plain.grad, plain.first, plain.second, plain.decay,
              {5e-3, 0.9, 0.999, 1e-8, 0.02, 7, 0.25});
  CHECK(plain.parameter.equal(kernel.parameter));

  const Tensor before = kernel.parameter.clone(), average_before = average.clone();
  live[3].fill_(0.0);  // a step whose pairs were all filtered out
  run();
  CHECK(kernel.parameter.equal(before));
  CHECK(average.equal(average_before));
}
