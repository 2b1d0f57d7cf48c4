// Training on a device that is not the CPU: an NVIDIA GPU where there is one, else the second
// device of second-device.h. The numbers are the CPU's, no operation meets tensors of both, and
// once a shape is recorded the host asks for no value.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "second-device.h"
#include "training-switches.h"

using at::Tensor;
using tiny::difference;

namespace {

at::Device device() { return at::hasCUDA() ? at::Device(at::kCUDA, 0) : cots::test::kSecondDevice; }

std::shared_ptr<cots::ImageTokenizer> placed_tokenizer(const cots::Placement& placement) {
  std::shared_ptr<cots::ImageTokenizer> tokenizer =
      cots::load_image_tokenizer(tiny::tokenizer_config(), "", /*with_decoder=*/false);
  tokenizer->place(placement);
  return tokenizer;
}

struct Run {
  int64_t steps = 10;
  at::ScalarType compute = at::kFloat;
};

void compare(const char* name, const tiny::Change& change, const Run& run = {}) {
  CAPTURE(name);
  cots::TrainConfig config = tiny::config();
  config.filter.k = -1.2;  // some pairs of each batch are dropped
  change(config);
  cots::TrainConfig away = config;
  away.placement = {device(), run.compute};
  config.placement.compute = run.compute;
  config.fixed_shapes = true;
  cots::Trainer here(config, placed_tokenizer(config.placement)),
      there(away, placed_tokenizer(away.placement));
  here.prefill(tiny::batch(900)), there.prefill(tiny::batch(900));
  // Two sorts of kernels round apart, and few weights soon learn apart.
  const bool half = run.compute == at::kBFloat16;
  const int64_t compared = half ? 3 : device().is_cuda() ? 5 : run.steps;
  const double tolerance = half ? 0.05 : 1e-3;
  for (int64_t step = 0; step < run.steps; ++step) {
    CAPTURE(step);
    const cots::Batch batch = tiny::batch_of_run(step);
    const int64_t asked = cots::test::values_asked_for();
    const cots::StepMetrics m = there.step(batch), expected = here.step(batch);
    if (step > 6) CHECK(cots::test::values_asked_for() == asked);  // none of a GPU is counted
    CHECK(std::isfinite(m.loss));
    CHECK(m.device_bytes > 0);
    CHECK(expected.device_bytes == 0);
    CHECK(m.queue_valid == expected.queue_valid);
    if (step >= compared) continue;
    CHECK(m.loss == doctest::Approx(expected.loss).epsilon(tolerance));
    CHECK(m.loss_cmvm == doctest::Approx(expected.loss_cmvm).epsilon(tolerance));
    if (!half) CHECK(m.filter_kept == expected.filter_kept);
  }
  const Tensor weights = there.model().parameters().flat();
  CHECK((weights.device() == device()));
  if (compared == run.steps)
    CHECK(difference(weights.cpu(), here.model().parameters().flat()) < 1e-3);
}

}  // namespace

TEST_CASE("second device: it refuses what a GPU refuses") {
  const Tensor there = at::ones({3}).to(cots::test::kSecondDevice);
  CHECK(at::equal((there * 2 + at::scalar_tensor(1)).cpu(), at::full({3}, 3)));
  CHECK_THROWS(there + at::ones({3}));
  const int64_t asked = cots::test::values_asked_for();
  CHECK(there.sum().item<float>() == 3);
  CHECK(cots::test::values_asked_for() == asked + 1);
}

TEST_CASE("device: training there is training here, and waits for no value") {
  compare("as it is", [](cots::TrainConfig&) {});
  for (const auto& [name, change] : tiny::switches()) compare(name, change);
}

TEST_CASE("device: training in bfloat16 begins as on the CPU") {
  compare("bfloat16", [](cots::TrainConfig& c) { c.filter.enabled = false; },
          {.compute = at::kBFloat16});
}

TEST_CASE("device: the losses of 50 steps follow the CPU's") {
  cots::TrainConfig config = tiny::config();
  config.filter.enabled = false;
  cots::TrainConfig away = config;
  away.placement.device = device();
  cots::Trainer here(config, tiny::tokenizer()), there(away, placed_tokenizer(away.placement));
  for (int64_t step = 0; step < 50; ++step) {
    CAPTURE(step);
    const cots::Batch batch = tiny::batch_of_run(step);
    CHECK(there.step(batch).loss == doctest::Approx(here.step(batch).loss).epsilon(0.02));
  }
}

TEST_CASE("device: training goes on from a checkpoint bit for bit, and near on the CPU") {
  const tiny::Folder folder;
  cots::TrainConfig config = tiny::config();
  config.placement.device = device();
  cots::Trainer first(config, placed_tokenizer(config.placement)),
      second(config, placed_tokenizer(config.placement)), host(tiny::config(), tiny::tokenizer());
  for (int64_t step = 0; step < 6; ++step) first.step(tiny::batch_of_run(step));
  first.save(folder.path.string());
  second.restore(folder.path.string());
  host.restore(folder.path.string());
  for (int64_t step = 6; step < 9; ++step) {
    const cots::Batch batch = tiny::batch_of_run(step);
    const double loss = first.step(batch).loss;
    CHECK(second.step(batch).loss == loss);
    CHECK(host.step(batch).loss == doctest::Approx(loss).epsilon(1e-3));
  }
  CHECK((first.checkpoint_part().copy().model.front().second.is_cpu()));
}
