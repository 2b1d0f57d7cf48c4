#include "model/momentum.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "tiny-model.h"

using namespace cots;

namespace {

Tensor tower_weights(const Cots& model) {
  return model.parameters().flat().narrow(0, 0, model.tower_count()).clone();
}

}  // namespace

TEST_CASE("the momentum encoder starts as a copy, under its own names") {
  Cots model(test::tiny_model(), test::tiny_token(), 0.05, 1);
  Momentum momentum(model, test::tiny_model());
  CHECK(at::equal(momentum.parameters().flat(), tower_weights(model)));
  for (const Parameter& p : momentum.parameters().all()) {
    const bool visual = p.name.starts_with("visual_m.");
    CHECK((visual || p.name.starts_with("text_m.")));
    const std::string online = (visual ? "visual." : "text.") + p.name.substr(p.name.find('.') + 1);
    REQUIRE(model.parameters().find(online) != nullptr);
    CHECK(at::equal(p.value, model.parameters().find(online)->value.detach()));
    CHECK_FALSE(p.value.requires_grad());
  }
}

TEST_CASE("momentum 1 keeps, momentum 0 copies, between them is the weighted mean") {
  Cots model(test::tiny_model(), test::tiny_token(), 0.05, 1);
  Momentum momentum(model, test::tiny_model());
  const Tensor old = momentum.parameters().flat().clone();
  test::enlarge_weights(model.parameters(), 0.3);

  momentum.update(model, 1);
  CHECK(at::equal(momentum.parameters().flat(), old));
  momentum.update(model, 0.75);
  CHECK(test::max_difference(momentum.parameters().flat(),
                             0.75 * old + 0.25 * tower_weights(model)) < 1e-6);
  momentum.update(model, 0);
  CHECK(at::equal(momentum.parameters().flat(), tower_weights(model)));
}

TEST_CASE("the heads and the logit scale have no momentum twin") {
  Cots model(test::tiny_model(), test::tiny_token(), 0.05, 1);
  int64_t outside = 0;
  for (const Parameter& p : model.parameters().all())
    if (!p.name.starts_with("visual.") && !p.name.starts_with("text.")) outside += p.value.numel();
  CHECK(model.tower_count() + outside == model.parameters().count());
  CHECK(model.log_scale().item<double>() == doctest::Approx(std::log(20.0)));
}
