#include "model/parameters.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "counted-memory.h"

#include "tiny-model.h"

using namespace cots;

namespace {

const Init kTruncated = Init::truncated_normal(0.02);

}  // namespace

TEST_CASE("flatten keeps the handles that add() gave out, and their values") {
  Parameters parameters(7);
  const Tensor weight = parameters.add("w", {3, 4}, kTruncated, true);
  const Tensor bias = parameters.add("b", {5}, Init::constant(2.5), true);
  const Tensor before = weight.clone();
  parameters.flatten(true);

  CHECK(at::equal(weight.detach(), before));
  CHECK(weight.unsafeGetTensorImpl() == parameters.find("w")->value.unsafeGetTensorImpl());
  CHECK(weight.requires_grad());
  parameters.flat().fill_(9);
  CHECK(weight.detach().eq(9).all().item<bool>());
  CHECK(bias.detach().eq(9).all().item<bool>());
  CHECK(parameters.count() == 17);
  CHECK(parameters.find("nothing") == nullptr);
}

TEST_CASE("gradients accumulate in place into views of the flat gradient") {
  Parameters parameters(7);
  const Tensor a = parameters.add("a", {2, 3}, kTruncated, true);
  const Tensor b = parameters.add("b", {3}, kTruncated, false);
  parameters.flatten(true);
  for (int pass = 1; pass <= 2; ++pass) {
    (a * b).sum().backward();
    const Tensor expected =
        at::cat({b.detach().expand({2, 3}).reshape(-1), a.detach().sum(0)}) * pass;
    CHECK(test::max_difference(parameters.flat_grad(), expected) < 1e-7);
    CHECK(a.grad().data_ptr() == parameters.flat_grad().data_ptr());
  }
  parameters.zero_grad();
  CHECK(a.grad().eq(0).all().item<bool>());
}

TEST_CASE("flatten leaves nothing of the initial values behind") {
  const cots::test::CountedMemory memory;
  cots::Parameters parameters(1);
  const Tensor handle =
      parameters.add("a.weight", {64, 100}, cots::Init::truncated_normal(0.02), true);
  parameters.add("a.bias", {64}, cots::Init::zeros(), false);
  parameters.add("a.scale", {500}, cots::Init::normal(1), false);
  const size_t before = memory.alive();
  const auto whole = static_cast<size_t>(parameters.count()) * sizeof(float);
  CHECK(before >= whole);
  parameters.flatten(/*requires_grad=*/true);
  CHECK(memory.alive() == 2 * whole);  // values and gradients
}

TEST_CASE("without gradients there is no gradient buffer") {
  Parameters parameters(7);
  const Tensor a = parameters.add("a", {2}, kTruncated, false);
  parameters.flatten(false);
  CHECK_FALSE(a.requires_grad());
  CHECK_FALSE(parameters.flat_grad().defined());
  parameters.zero_grad();
}

TEST_CASE("weight decay leaves out what is asked and every tensor of rank 0 or 1") {
  Parameters parameters(7);
  parameters.add("w", {2, 2}, kTruncated, true);
  parameters.add("pos_embed", {1, 2, 1}, kTruncated, false);
  parameters.add("gain", {2}, kTruncated, true);
  parameters.add("scale", {}, Init::constant(1), true);
  for (const Parameter& p : parameters.all()) CHECK_MESSAGE(p.decay == (p.name == "w"), p.name);
}

TEST_CASE("a parameter's draws depend on the seed and its own name alone") {
  Parameters one(7), two(7), other(8);
  const Tensor first = one.add("a", {64}, kTruncated, false);
  two.add("before", {10}, kTruncated, false);
  CHECK(at::equal(two.add("a", {64}, kTruncated, false), first));
  CHECK_FALSE(at::equal(two.add("b", {64}, kTruncated, false), first));
  CHECK_FALSE(at::equal(other.add("a", {64}, kTruncated, false), first));
  CHECK(Parameters(std::nullopt).add("a", {64}, kTruncated, false).eq(0).all().item<bool>());
}

TEST_CASE(
    "truncated normal draws stay within two deviations and have the cut distribution's spread") {
  Parameters parameters(3);
  const Tensor w = parameters.add("w", {100000}, kTruncated, false);
  CHECK(w.abs().max().item<double>() <= 0.04 + 1e-8);
  CHECK(w.abs().max().item<double>() > 0.0395);
  CHECK(std::abs(w.mean().item<double>()) < 2e-4);
  // Standard deviation of the normal distribution cut at +-2: 0.87963.
  CHECK(test::relative_error(w.std(false).item<double>(), 0.02 * 0.87963) < 0.01);
}

TEST_CASE("weight matrices start at 0.02, or at gain / sqrt(fan-in)") {
  constexpr double kCut = 0.87963;
  const auto spread = [](WeightInit rule, at::IntArrayRef shape, double gain) {
    Parameters parameters(3, rule);
    return parameters.add("w", shape, Init::weight(gain), true).std(false).item<double>() / kCut;
  };
  CHECK(test::relative_error(spread(WeightInit::kFixed, {200, 400}, 0.5), 0.02) < 0.02);
  CHECK(test::relative_error(spread(WeightInit::kFanIn, {200, 400}, 1), 0.05) < 0.02);
  CHECK(test::relative_error(spread(WeightInit::kFanIn, {200, 400}, 0.5), 0.025) < 0.02);
  CHECK(test::relative_error(spread(WeightInit::kFanIn, {50, 4, 10, 10}, 1), 0.05) <
        0.02);  // a patch embedding
}
