#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <array>

#include "ops/keyed_random.h"
#include "ops/philox.h"
#include "tensors.h"

using namespace cots;
using at::Tensor;

TEST_CASE("philox gives the known answers of Random123") {
  using Words = std::array<uint32_t, 4>;
  CHECK(ops::philox(0, 0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const uint64_t ones = ~uint64_t{0};
  CHECK(ops::philox(ones, ones, ones) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(ops::philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("keyed_uniform is philox of (key, site, element / 4), whatever the row length") {
  const Tensor keys = at::tensor({int64_t{5}, int64_t{-7}}, at::kLong);
  for (const int64_t n : {1, 2, 63, 64, 65, 257, 1023, 1025, 3001}) {
    const Tensor u = ops::keyed_uniform(keys, 9, n);
    REQUIRE(u.sizes() == at::IntArrayRef({2, n}));
    bool equal = true;
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t i = 0; i < n; ++i) {
        const auto words = ops::philox(static_cast<uint64_t>(keys[b].item<int64_t>()), 9,
                                       static_cast<uint64_t>(i / 4));
        const float expected =
            static_cast<float>(words[static_cast<size_t>(i % 4)] >> 8) * 0x1p-24f;
        equal = equal && u.const_data_ptr<float>()[b * n + i] == expected;
      }
    CHECK(equal);
  }
}

TEST_CASE("keyed_uniform fills [0, 1) evenly and differs by key and site") {
  const Tensor keys = ops::sample_keys(1, 2, at::arange(2, at::kLong));
  const Tensor u = ops::keyed_uniform(keys, 0, 200000);
  CHECK(u.min().item<float>() >= 0.0f);
  CHECK(u.max().item<float>() < 1.0f);
  CHECK(u.mean().item<double>() == doctest::Approx(0.5).epsilon(0.005));
  CHECK(u.var().item<double>() == doctest::Approx(1.0 / 12).epsilon(0.01));
  CHECK_FALSE(u[0].equal(u[1]));
  CHECK_FALSE(u.equal(ops::keyed_uniform(keys, 1, 200000)));
}

TEST_CASE("sample_keys depend on seed, step and sample alone") {
  const Tensor sample = at::tensor({int64_t{3}, int64_t{1}, int64_t{3}}, at::kLong);
  const Tensor keys = ops::sample_keys(4, 5, sample);
  CHECK(keys[0].equal(keys[2]));
  CHECK(keys[1].equal(ops::sample_keys(4, 5, sample.narrow(0, 1, 1))[0]));
  CHECK_FALSE(keys[0].equal(keys[1]));
  CHECK_FALSE(keys.equal(ops::sample_keys(5, 4, sample)));
  CHECK_FALSE(keys.equal(ops::sample_keys(4, 6, sample)));
}

TEST_CASE("keyed draws do not depend on the thread count") {
  const Tensor keys = ops::sample_keys(1, 1, at::arange(37, at::kLong)),
               x = at::randn({37, 5001}, test::generator(3));
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Tensor uniform = ops::keyed_uniform(keys, 2, 5001),
               dropped = ops::keyed_dropout(x, keys, 2, 0.3);
  at::set_num_threads(2);
  CHECK(uniform.equal(ops::keyed_uniform(keys, 2, 5001)));
  CHECK(dropped.equal(ops::keyed_dropout(x, keys, 2, 0.3)));
  at::set_num_threads(threads);
  CHECK(dropped.narrow(0, 20, 5).equal(
      ops::keyed_dropout(x.narrow(0, 20, 5), keys.narrow(0, 20, 5), 2, 0.3)));  // nor on the batch
}

TEST_CASE("keyed_dropout equals its composite") {
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16})
    for (const int64_t n : {1, 2, 123, 257, 2049}) {
      const Tensor keys = ops::sample_keys(7, 1, at::arange(3, at::kLong));
      const Tensor x = at::randn({3, n}, test::generator(8)).to(type);
      for (const double p : {0.0, 0.1, 0.5, 0.999}) {
        const Tensor kernel = ops::keyed_dropout(x, keys, 4, p),
                     composite = ops::keyed_dropout_composite(x, keys, 4, p);
        CHECK(kernel.eq(0).equal(composite.eq(0)));
        CHECK(test::max_error(kernel, composite) <=
              (type == at::kBFloat16 ? 1e-2 : 1e-6) * test::max_abs(composite));
      }
    }
}

TEST_CASE("keyed_dropout drops a share p and keeps the mean") {
  const Tensor keys = ops::sample_keys(7, 1, at::arange(4, at::kLong));
  const Tensor y = ops::keyed_dropout(at::ones({4, 100000}), keys, 4, 0.1);
  CHECK(y.eq(0).to(at::kDouble).mean().item<double>() == doctest::Approx(0.1).epsilon(0.02));
  CHECK(y.to(at::kDouble).mean().item<double>() == doctest::Approx(1.0).epsilon(0.003));
}

TEST_CASE(
    "keyed_dropout draws the same mask in backward, in double backward shapes and non-contiguous "
    "input") {
  const Tensor keys = ops::sample_keys(7, 1, at::arange(6, at::kLong));
  const Tensor leaf = at::ones({50, 6}).requires_grad_(), x = leaf.t().view({6, 5, 10});
  const Tensor y = ops::keyed_dropout(x, keys, 4, 0.4);
  y.sum().backward();
  CHECK(leaf.grad().t().equal(y.view({6, 50}).detach()));  // x is 1, so the gradient is the output
  CHECK(y.eq(0).any().item<bool>());
}

TEST_CASE("keyed_normal is normal and keyed") {
  const Tensor z = ops::keyed_normal(11, 200001).to(at::kDouble);
  CHECK(z.mean().item<double>() == doctest::Approx(0).epsilon(0.01));
  CHECK(z.std().item<double>() == doctest::Approx(1).epsilon(0.01));
  CHECK(z.pow(4).mean().item<double>() == doctest::Approx(3).epsilon(0.05));
  CHECK(z.isfinite().all().item<bool>());
  CHECK(ops::keyed_normal(11, 7).equal(ops::keyed_normal(11, 200001).narrow(0, 0, 7)));
  CHECK_FALSE(ops::keyed_normal(12, 7).equal(ops::keyed_normal(11, 7)));
}

TEST_CASE("keyed_dropout over rows of mixed length draws what each draws alone") {
  const Tensor keys = ops::sample_keys(1, 2, at::arange(3)),
               starts = at::tensor({0, 2, 2, 9}, at::kLong);
  Tensor x = at::rand({9, 300}).add_(1).requires_grad_();
  const Tensor y = ops::keyed_dropout(x, keys, 4, 0.4, starts);
  const auto alone = [&](int64_t key, int64_t first, int64_t rows) {
    return ops::keyed_dropout(x.detach().narrow(0, first, rows).view({1, -1}),
                              keys.narrow(0, key, 1), 4, 0.4)
        .view({rows, 300});
  };
  CHECK(y.detach().equal(at::cat({alone(0, 0, 2), alone(2, 2, 7)})));
  y.sum().backward();
  CHECK(x.grad().gt(0).equal(y.detach().gt(0)));
  CHECK_THROWS_WITH_AS(ops::keyed_dropout(x, keys, 4, 0.4, at::tensor({0, 2, 2, 8}, at::kLong)),
                       doctest::Contains("rise from 0 to 9"), c10::Error);
}

TEST_CASE("keyed_dropout refuses a key count that is not the row count and p = 1") {
  const Tensor keys = ops::sample_keys(1, 1, at::arange(2, at::kLong));
  CHECK_THROWS_WITH_AS(ops::keyed_dropout(at::ones({3, 4}), keys, 0, 0.1),
                       doctest::Contains("one key a row"), c10::Error);
  CHECK_THROWS_WITH_AS(ops::keyed_dropout(at::ones({2, 4}), keys, 0, 1.0),
                       doctest::Contains("p in [0, 1)"), c10::Error);
}
