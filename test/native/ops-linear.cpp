#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <vector>

#include "ops/linear.h"
#include "tensors.h"

using namespace cots;
using at::Tensor;
using ops::InputActivation;

namespace {

struct Case {
  int64_t M, K, N;
  bool norm = false, residual = false;
  InputActivation activation = InputActivation::kNone;
};

/// The tensors of a layer as leaves of one number type, and the gradient that comes from above.
struct Layer {
  ops::LinearArguments arguments;
  Tensor upstream;

  Layer(const Case& c, at::ScalarType type) {
    const auto leaf = [&](at::IntArrayRef size, uint64_t seed, double scale = 1, double add = 0) {
      return (at::randn(size, test::generator(seed)) * scale + add).to(type).requires_grad_();
    };
    arguments.x_MK = leaf({c.M, c.K}, 1, 1, 0.5);
    arguments.weight_NK = leaf({c.N, c.K}, 2, 0.3);
    arguments.bias_N = leaf({c.N}, 3);
    if (c.norm) {
      arguments.norm_weight_K = leaf({c.K}, 4, 0.3, 1);
      arguments.norm_bias_K = leaf({c.K}, 5);
      arguments.norm_eps = 1e-6;
    }
    arguments.activation = c.activation;
    if (c.residual) arguments.residual_MN = leaf({c.M, c.N}, 6);
    upstream = at::randn({c.M, c.N}, test::generator(7)).to(type);
  }
  std::vector<Tensor> leaves() const {
    std::vector<Tensor> all;
    for (const Tensor& t : {arguments.x_MK, arguments.weight_NK, arguments.bias_N,
                            arguments.norm_weight_K, arguments.norm_bias_K, arguments.residual_MN})
      if (t.defined()) all.push_back(t);
    return all;
  }
};

void compare(const Case& c) {
  const Layer kernel(c, at::kFloat), composite(c, at::kFloat), reference(c, at::kDouble);
  const Tensor y = ops::linear(kernel.arguments), y32 = ops::linear_composite(composite.arguments),
               y64 = ops::linear_composite(reference.arguments);
  test::check_twice(y.detach(), y32.detach(), y64.detach());
  y.backward(kernel.upstream);
  y32.backward(composite.upstream);
  y64.backward(reference.upstream);
  for (size_t i = 0; i < kernel.leaves().size(); ++i)
    test::check_twice(kernel.leaves()[i].grad(), composite.leaves()[i].grad(),
                      reference.leaves()[i].grad());
}

}  // namespace

TEST_CASE("linear equals its composite on awkward shapes") {
  for (const int64_t M : {1, 2, 123, 257})
    for (const int64_t K : {1, 2, 17, 123})
      for (const int64_t N : {1, 12, 16, 123}) {
        CAPTURE(M);
        CAPTURE(K);
        CAPTURE(N);
        compare({M, K, N});
        compare({M, K, N, /*norm=*/K > 2, /*residual=*/true});
        compare({M, K, N, false, false, InputActivation::kGelu});
        compare({M, K, N, false, true, InputActivation::kQuickGelu});
      }
}

TEST_CASE("linear over several chunks of rows and blocks of columns") {
  compare({2500, 257, 515, /*norm=*/true, /*residual=*/true});
  compare({2500, 768, 40, false, false, InputActivation::kGelu});
}

TEST_CASE("linear takes rows of any number of dimensions, and not contiguous ones") {
  const Layer layer({30, 20, 7}, at::kFloat);
  ops::LinearArguments a = layer.arguments;
  const Tensor flat = ops::linear(a).detach();
  a.x_MK = layer.arguments.x_MK.detach().view({5, 6, 20});
  CHECK(ops::linear(a).detach().equal(flat.view({5, 6, 7})));
  a.x_MK = layer.arguments.x_MK.detach().t().contiguous().t();
  CHECK(ops::linear(a).detach().equal(flat));
}

TEST_CASE("linear: a row is the same in any batch, a gradient with any number of threads") {
  const Layer layer({500, 64, 48, /*norm=*/true}, at::kFloat);
  ops::LinearArguments one = layer.arguments;
  one.x_MK = layer.arguments.x_MK.narrow(0, 300, 1);
  CHECK(ops::linear(one).detach().equal(ops::linear(layer.arguments).detach().narrow(0, 300, 1)));
  const int threads = at::get_num_threads();
  std::vector<Tensor> gradients;
  for (const int count : {1, 2}) {
    at::set_num_threads(count);
    layer.arguments.weight_NK.mutable_grad() = Tensor();
    ops::linear(layer.arguments).backward(layer.upstream);
    gradients.push_back(layer.arguments.weight_NK.grad().clone());
  }
  at::set_num_threads(threads);
  CHECK(gradients[0].equal(gradients[1]));
}

TEST_CASE("linear of no rows is empty and gives zero gradients") {
  const Layer layer({0, 5, 3, /*norm=*/true}, at::kFloat);
  ops::linear(layer.arguments).sum().backward();
  CHECK(layer.arguments.x_MK.grad().sizes() == at::IntArrayRef({0, 5}));
  CHECK(test::max_abs(layer.arguments.weight_NK.grad()) == 0.0);
  CHECK(test::max_abs(layer.arguments.bias_N.grad()) == 0.0);
  CHECK(test::max_abs(layer.arguments.norm_weight_K.grad()) == 0.0);
}

TEST_CASE("linear whose result is not read has the same gradients") {
  for (const auto type : {at::kFloat, at::kDouble}) {
    const Case c{50, 20, 12, /*norm=*/true, /*residual=*/true};
    const Layer read(c, type), unread(c, type);
    ops::LinearArguments a = unread.arguments;
    a.unread = true;
    ops::linear(read.arguments).backward(read.upstream);
    const Tensor y = ops::linear(a);
    CHECK(y.sizes() == at::IntArrayRef({c.M, c.N}));
    y.backward(unread.upstream);
    for (size_t i = 0; i < read.leaves().size(); ++i)
      CHECK(unread.leaves()[i].grad().equal(read.leaves()[i].grad()));
  }
}

TEST_CASE("linear refuses a weight of another width") {
  ops::LinearArguments a = Layer({4, 5, 3}, at::kFloat).arguments;
  a.weight_NK = at::zeros({3, 6});
  CHECK_THROWS_WITH_AS(ops::linear(a), doctest::Contains("weight [N, K]"), c10::Error);
}
