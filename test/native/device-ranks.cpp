// The step of fixed shapes over several ranks: on the CPU over Gloo, and on the second device of
// second-device.h, where an operation that meets tensors of both fails and each value that the host
// asks for is counted. One rank over the whole batch makes the same steps.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "ranked-steps.h"
#include "second-device.h"
#include "thread-backend.h"
#include "training-switches.h"

using at::Tensor;
using tiny::difference;
using tiny::failure_of;
using tiny::says;

namespace {

constexpr int64_t kSteps = 10;

/// Every world-th pair from the rank's own: the order of a step's keys is not that of the ranks.
cots::Batch share_of(const cots::Batch& whole, const cots::Group& group) {
  const Tensor rows = at::arange(group.rank(), whole.ids_BL.size(0), group.world(), at::kLong);
  return tiny::rows_of(whole, rows);
}

/// Small steps, in which rounding stays rounding (distributed.cpp).
cots::TrainConfig steady(const tiny::Change& change) {
  cots::TrainConfig config = tiny::config();
  config.filter.k = -1.2;  // some pairs of each batch are dropped
  config.fixed_shapes = true;
  change(config);
  config.optimizer.lr = 3e-4;
  config.optimizer.eps = 1e-4;
  return config;
}

struct Run {
  std::vector<cots::StepMetrics> steps;
  Tensor weights, momentum, queue;
  int64_t asked = 0;  // once the shapes were recorded
};

Run run(const cots::TrainConfig& config, const cots::Group& group) {
  const std::shared_ptr<cots::ImageTokenizer> tokenizer =
      cots::load_image_tokenizer(tiny::tokenizer_config(), "", /*with_decoder=*/false);
  tokenizer->place(config.placement);
  cots::Trainer trainer(config, tokenizer, group);
  trainer.prefill(share_of(tiny::batch(500, 12), group));
  Run run;
  for (int64_t step = 0; step < kSteps; ++step) {
    group.barrier();
    const int64_t asked = cots::test::values_asked_for();
    run.steps.push_back(trainer.step(share_of(tiny::batch_of_run(step), group)));
    if (step > 6) run.asked += cots::test::values_asked_for() - asked;
    group.barrier();  // the count is of all ranks, and what follows asks
  }
  run.weights = trainer.model().parameters().flat().detach().cpu();
  run.momentum = trainer.momentum().parameters().flat().cpu();
  run.queue = trainer.queue().image().cpu();
  return run;
}

void check_equals(const Run& found, const Run& expected) {
  for (size_t i = 0; i < found.steps.size(); ++i) {
    const cots::StepMetrics &a = found.steps[i], &b = expected.steps[i];
    CAPTURE(i);
    tiny::check_same_step(a, b, 2e-4);
    CHECK(std::abs(a.grad_norm - b.grad_norm) <= 2e-3 * b.grad_norm);
  }
  CHECK(difference(found.weights, expected.weights) < 1e-4);
  CHECK(difference(found.momentum, expected.momentum) < 1e-4);
  CHECK(difference(found.queue, expected.queue) < 1e-3);
}

void compare(const std::string& name, const tiny::Change& change, int64_t world) {
  CAPTURE(name);
  const cots::TrainConfig config = steady(change);
  const Run expected = run(config, {});
  std::vector<Run> found(static_cast<size_t>(world));
  tiny::on_ranks(world, [&](const cots::Group& group) {
    found[static_cast<size_t>(group.rank())] = run(config, group);
  });
  for (const Run& one : found) check_equals(one, expected);
  // Not nearly the same, but the same.
  for (const Run& one : found) CHECK(at::equal(one.weights, found.front().weights));
}

}  // namespace

TEST_CASE("device ranks: 2 and 3 ranks make the steps of one over the whole batch") {
  const auto as_it_is = [](cots::TrainConfig&) {};
  compare("2 ranks", as_it_is, 2);
  compare("3 ranks", as_it_is, 3);
  compare(
      "small buckets", [](cots::TrainConfig& c) { c.bucket_bytes = 600; }, 2);
}

TEST_CASE("device ranks: under every switch") {
  for (const auto& [name, change] : tiny::switches()) {
    if (std::string(name) == "batch keys as negatives") continue;  // one rank's alone
    compare(name, change, 2);
  }
}

TEST_CASE("device ranks: on a device of their own, recorded, no value comes to the host") {
  const cots::TrainConfig here = steady([](cots::TrainConfig&) {});
  cots::TrainConfig there = here;
  there.fixed_shapes = false;
  there.placement.device = cots::test::kSecondDevice;
  const Run expected = run(here, {});
  std::vector<Run> found(2);
  tiny::on_threads(2, [&](const cots::Group& group) {
    found[static_cast<size_t>(group.rank())] = run(there, group);
  });
  for (const Run& one : found) {
    check_equals(one, expected);
    CHECK(one.asked == 0);
  }
}

TEST_CASE("device ranks: one rank's loss that is not finite skips the step on all") {
  tiny::check_skips_on_all(steady([](cots::TrainConfig& c) { c.filter.enabled = false; }), share_of,
                           2, "visual.norm.weight", std::numeric_limits<float>::infinity());
}

TEST_CASE("device ranks: a sharded optimizer is refused") {
  const cots::TrainConfig config = steady([](cots::TrainConfig& c) { c.sharded_optimizer = true; });
  tiny::on_ranks(2, [&](const cots::Group& group) {
    CHECK(says(failure_of([&] { cots::Trainer(config, tiny::tokenizer(), group); }),
               "ERR_COTS_NOT_IMPLEMENTED Expected optim.sharded=false with several GPUs"));
  });
}
