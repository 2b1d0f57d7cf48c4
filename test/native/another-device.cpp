// Training on a device that is not the CPU (second-device.h): the numbers are the CPU's, no
// operation meets tensors of both, and once a shape is recorded the host asks for no value.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <functional>

#include "second-device.h"
#include "tiny-trainer.h"

using at::Tensor;
using tiny::difference;

namespace {

std::shared_ptr<cots::ImageTokenizer> placed_tokenizer(const cots::Placement& placement) {
  std::shared_ptr<cots::ImageTokenizer> tokenizer =
      cots::load_image_tokenizer(tiny::tokenizer_config(), "", /*with_decoder=*/false);
  tokenizer->place(placement);
  return tokenizer;
}

using Change = std::function<void(cots::TrainConfig&)>;

void compare(const char* name, const Change& change, at::ScalarType compute = at::kFloat) {
  CAPTURE(name);
  cots::TrainConfig config = tiny::config();
  config.filter.k = -1.2;  // some pairs of each batch are dropped
  change(config);
  cots::TrainConfig away = config;
  away.placement = {cots::test::kSecondDevice, compute};
  config.placement.compute = compute;
  config.fixed_shapes = true;
  cots::Trainer here(config, placed_tokenizer(config.placement)),
      there(away, placed_tokenizer(away.placement));
  here.prefill(tiny::batch(900)), there.prefill(tiny::batch(900));
  for (int64_t step = 0; step < 10; ++step) {
    CAPTURE(step);
    const cots::Batch batch = tiny::batch_of_run(step);
    const int64_t asked = cots::test::values_asked_for();
    const cots::StepMetrics m = there.step(batch), expected = here.step(batch);
    if (step > 6) CHECK(cots::test::values_asked_for() == asked);
    // In bfloat16 two kernels of attention round apart, and few weights soon learn apart.
    if (compute == at::kBFloat16 && step > 2) continue;
    const double tolerance = compute == at::kFloat ? 1e-3 : 0.05;
    CHECK(m.loss == doctest::Approx(expected.loss).epsilon(tolerance));
    CHECK(m.loss_cmvm == doctest::Approx(expected.loss_cmvm).epsilon(tolerance));
    CHECK(m.queue_valid == expected.queue_valid);
    if (compute == at::kFloat) CHECK(m.filter_kept == expected.filter_kept);
  }
  const Tensor weights = there.model().parameters().flat();
  CHECK((weights.device() == cots::test::kSecondDevice));
  if (compute == at::kFloat)
    CHECK(difference(weights.cpu(), here.model().parameters().flat()) < 1e-3);
}

}  // namespace

TEST_CASE("another device: the second device refuses what a GPU refuses") {
  const Tensor there = at::ones({3}).to(cots::test::kSecondDevice);
  CHECK(at::equal((there * 2 + at::scalar_tensor(1)).cpu(), at::full({3}, 3)));
  CHECK_THROWS(there + at::ones({3}));
  const int64_t asked = cots::test::values_asked_for();
  CHECK(there.sum().item<float>() == 3);
  CHECK(cots::test::values_asked_for() == asked + 1);
}

TEST_CASE("another device: training there is training here, and waits for no value") {
  using Config = cots::TrainConfig;
  compare("as it is", [](Config&) {});
  compare("learnable temperature", [](Config& c) { c.loss.tau_learnable = true; });
  compare("filter of the contrast alone",
          [](Config& c) { c.filter.apply_to = cots::FilterScope::kContrast; });
  compare("a share is kept", [](Config& c) { c.filter.min_keep_fraction = 0.9; });
  compare("shared passes", [](Config& c) { c.token.passes = cots::Passes::kShared; });
  compare("concatenated embeddings", [](Config& c) {
    c.token.fusion = cots::Fusion::kConcat;
    c.token.global_source = cots::GlobalSource::kEmbed;
  });
  compare("momentum as global state",
          [](Config& c) { c.token.global_source = cots::GlobalSource::kMomentum; });
  compare("micro-batches", [](Config& c) { c.accumulate = 2; });
  compare("batch keys as negatives", [](Config& c) { c.queue.include_batch_keys = true; });
  compare("images of one id",
          [](Config& c) { c.queue.duplicates = cots::DuplicatePolicy::kMaskSameImage; });
  compare("recomputation", [](Config& c) {
    c.model.image.checkpointing = c.model.text.checkpointing = cots::Checkpointing::kFull;
  });
  compare("means as global states",
          [](Config& c) { c.model.image.pool = c.model.text.pool = cots::Pool::kMean; });
  compare("BEiT",
          [](Config& c) { c.model.image.layer_scale = c.model.image.relative_bias = true; });
}

TEST_CASE("another device: bfloat16") {
  compare(
      "bfloat16", [](cots::TrainConfig& c) { c.filter.enabled = false; }, at::kBFloat16);
}

TEST_CASE("another device: checkpoints come and go") {
  const tiny::Folder folder;
  cots::TrainConfig config = tiny::config();
  config.placement.device = cots::test::kSecondDevice;
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
