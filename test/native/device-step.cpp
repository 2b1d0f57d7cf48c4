// The step of fixed shapes, on the CPU, against the trainer's own: the same losses, weights, queues
// and counters, whatever the switches.
#include "train/device_step.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <limits>

#include "ops/adamw.h"
#include "ops/vocabulary_cross_entropy.h"
#include "training-switches.h"

using at::Tensor;
using tiny::difference;

namespace {

constexpr auto kFigures = {&cots::StepMetrics::loss,       &cots::StepMetrics::loss_image_to_text,
                           &cots::StepMetrics::loss_cmvm,  &cots::StepMetrics::loss_text_to_image,
                           &cots::StepMetrics::loss_cmlm,  &cots::StepMetrics::loss_task,
                           &cots::StepMetrics::grad_norm,  &cots::StepMetrics::filter_mean,
                           &cots::StepMetrics::lr,         &cots::StepMetrics::filter_std,
                           &cots::StepMetrics::momentum,   &cots::StepMetrics::filter_threshold,
                           &cots::StepMetrics::temperature};

cots::TrainConfig fixed(cots::TrainConfig config) {
  config.fixed_shapes = true;
  return config;
}

void check_same(const cots::StepMetrics& a, const cots::StepMetrics& b, double tolerance) {
  for (const auto field : kFigures) CHECK(a.*field == doctest::Approx(b.*field).epsilon(tolerance));
  CHECK(a.step == b.step);
  CHECK(a.pairs == b.pairs);
  CHECK(a.filter_kept == b.filter_kept);
  CHECK(a.filter_active == b.filter_active);
  CHECK(a.queue_valid == b.queue_valid);
  CHECK(a.skipped == b.skipped);
  CHECK(a.non_finite_keys == b.non_finite_keys);
  CHECK(a.non_finite_in_row == b.non_finite_in_row);
  CHECK(a.kept == b.kept);
  REQUIRE(a.scores.size() == b.scores.size());
  for (size_t i = 0; i < a.scores.size(); ++i)
    CHECK(a.scores[i] == doctest::Approx(b.scores[i]).epsilon(tolerance));
}

/// Trains both ways; returns how many pairs the filter dropped.
int64_t compare(const char* name, const tiny::Change& change, int64_t steps = 16) {
  CAPTURE(name);
  cots::TrainConfig config = tiny::config();
  config.filter.k = -1.2;  // above the queue's mean: some pairs of each batch are dropped
  change(config);
  cots::Trainer host(config, tiny::tokenizer()), device(fixed(config), tiny::tokenizer());
  int64_t dropped = 0;
  for (int64_t step = 0; step < steps; ++step) {
    CAPTURE(step);
    const cots::Batch batch = tiny::batch_of_run(step);
    const cots::StepMetrics m = host.step(batch);
    dropped += m.pairs - m.filter_kept;
    check_same(device.step(batch), m, 2e-4);
  }
  CHECK(difference(host.model().parameters().flat(), device.model().parameters().flat()) < 2e-4);
  CHECK(host.queue().filled() == device.queue().filled());
  CHECK(difference(host.queue().image(), device.queue().image()) < 1e-3);
  return dropped;
}

}  // namespace

TEST_CASE("device step: it is the trainer's step, recorded once the queue is full") {
  CHECK(compare("as it is", [](cots::TrainConfig&) {}) > 5);
}

TEST_CASE("device step: under every switch") {
  for (const auto& [name, change] : tiny::switches()) compare(name, change);
}

namespace {

/// A batch with one image that no tower makes finite features of.
void break_weights(cots::Trainer& trainer) {
  trainer.model()
      .parameters()
      .find("visual.norm.weight")
      ->value.detach()
      .fill_(std::numeric_limits<float>::infinity());
}

/// Trainers after `steps` steps of the same run, with a full queue.
struct Pair {
  explicit Pair(cots::TrainConfig config = tiny::config(), int64_t steps = 8)
      : host(config, tiny::tokenizer()), device(fixed(config), tiny::tokenizer()) {
    for (int64_t step = 0; step < steps; ++step)
      host.step(tiny::batch_of_run(step)), device.step(tiny::batch_of_run(step));
  }
  cots::Trainer host, device;
};

}  // namespace

TEST_CASE("device step: what is not finite changes no weight and is counted") {
  Pair run;
  break_weights(run.host), break_weights(run.device);
  for (int64_t step = 8; step < 10; ++step) {
    const Tensor before = run.device.model().parameters().flat().clone();
    const Tensor moments = run.device.optimizer().state()[0].second.clone();
    const cots::StepMetrics a = run.host.step(tiny::batch_of_run(step)),
                            b = run.device.step(tiny::batch_of_run(step));
    CHECK(b.skipped);
    CHECK(a.non_finite_in_row == b.non_finite_in_row);
    CHECK(at::equal(run.device.model().parameters().flat(), before));
    CHECK(at::equal(run.device.optimizer().state()[0].second, moments));
    CHECK(run.device.optimizer().updates() == run.host.optimizer().updates());
  }
}

TEST_CASE("device step: a step of which nothing is kept is skipped, and not as non-finite") {
  cots::TrainConfig config = tiny::config();
  config.filter.k = -40;  // a threshold above every score
  Pair run(config);
  const cots::StepMetrics a = run.host.step(tiny::batch_of_run(8)),
                          b = run.device.step(tiny::batch_of_run(8));
  REQUIRE(a.filter_kept == 0);
  check_same(a, b, 1e-4);
  CHECK(b.skipped);
  CHECK(b.non_finite_in_row == 0);
  CHECK(difference(run.host.model().parameters().flat(), run.device.model().parameters().flat()) <
        1e-4);
}

TEST_CASE(
    "device step: other numbers of pairs and of words are other shapes, and a batch to come") {
  Pair run;
  const cots::Batch large = tiny::batch(300, 9), small = tiny::batch_of_run(8);
  cots::Batch narrow = tiny::batch_of_run(9);  // 8 words instead of 10
  narrow.lengths_B = narrow.lengths_B.clamp_max(8);
  narrow.ids_BL = narrow.ids_BL.narrow(1, 0, 8).contiguous();
  const cots::Batch last = tiny::batch_of_run(10);
  const cots::Batch* const order[] = {&large, &small, &narrow, &large, &narrow, &last};
  for (size_t i = 0; i < 6; ++i) {
    CAPTURE(i);
    // The third is told of a batch that does not come.
    const cots::Batch* next = i == 2 ? &last : i < 5 ? order[i + 1] : nullptr;
    check_same(run.device.step(*order[i], next), run.host.step(*order[i]), 1e-3);
  }
}

TEST_CASE("device step: a checkpoint goes on, on a device and off it") {
  const tiny::Folder device_folder, host_folder;
  Pair run;
  run.device.save(device_folder.path.string());
  run.host.save(host_folder.path.string());
  cots::Trainer again(fixed(tiny::config()), tiny::tokenizer()),
      on_host(tiny::config(), tiny::tokenizer()),
      from_host(fixed(tiny::config()), tiny::tokenizer());
  again.step(tiny::batch(700));  // what it has recorded and queued is replaced
  again.restore(device_folder.path.string());
  on_host.restore(device_folder.path.string());
  from_host.restore(host_folder.path.string());
  for (int64_t step = 8; step < 12; ++step) {
    const cots::Batch batch = tiny::batch_of_run(step);
    const cots::StepMetrics m = run.device.step(batch);
    CHECK(again.step(batch).loss == m.loss);
    check_same(on_host.step(batch), m, 1e-4);
    check_same(from_host.step(batch), m, 1e-4);
  }
  CHECK(at::equal(tiny::everything(again), tiny::everything(run.device)));
}

TEST_CASE("device step: bfloat16 follows float32 with float32 weights, moments and queues") {
  cots::TrainConfig half = fixed(tiny::config());
  half.placement.compute = at::kBFloat16;
  cots::Trainer a(half, tiny::tokenizer()), b(fixed(tiny::config()), tiny::tokenizer());
  for (int64_t step = 0; step < 12; ++step) {
    const cots::Batch batch = tiny::batch_of_run(step);
    const cots::StepMetrics ma = a.step(batch), mb = b.step(batch);
    CHECK(ma.loss == doctest::Approx(mb.loss).epsilon(0.03));
    if (step == 0) CHECK(ma.grad_norm == doctest::Approx(mb.grad_norm).epsilon(0.1));
    CHECK(ma.loss != mb.loss);
  }
  CHECK((a.model().parameters().flat().scalar_type() == at::kFloat));
  CHECK((a.queue().image().scalar_type() == at::kFloat));
}

TEST_CASE(
    "device step: a batch that was announced is known by its samples and taken as it was sent") {
  Pair run;
  const cots::Batch first = tiny::batch_of_run(8), second = tiny::batch_of_run(9);
  check_same(run.device.step(first, &second), run.host.step(first), 1e-3);
  cots::Batch copy = second;  // as the addon makes one of the same pairs
  copy.image_NSS3 = at::zeros_like(second.image_NSS3);
  check_same(run.device.step(copy), run.host.step(second), 1e-3);
}

TEST_CASE("device step: what is wrong with an announced batch is told by its own step") {
  Pair run;
  const cots::Batch first = tiny::batch_of_run(8);
  cots::Batch clips = tiny::batch_of_run(9);
  clips.frames_B = at::ones({clips.ids_BL.size(0)}, at::kLong);
  check_same(run.device.step(first, &clips), run.host.step(first), 1e-3);
  CHECK(run.device.steps() == 9);
  CHECK(tiny::says(tiny::failure_of([&] { run.device.step(clips); }), "ERR_COTS_NOT_IMPLEMENTED"));
  const cots::Batch second = tiny::batch_of_run(9);
  check_same(run.device.step(second), run.host.step(second), 1e-3);
}

TEST_CASE("device step: clips and uneven micro-batches are refused") {
  cots::TrainConfig config = fixed(tiny::config());
  config.accumulate = 4;
  cots::Trainer trainer(config, tiny::tokenizer());
  CHECK(tiny::says(tiny::failure_of([&] { trainer.step(tiny::batch(0)); }),
                   "ERR_COTS_CONFIG Expected train.batchSize to be a multiple"));
  cots::Batch clips = tiny::batch(0);
  clips.frames_B = at::ones({6}, at::kLong);
  CHECK(tiny::says(tiny::failure_of([&] { trainer.step(clips); }), "ERR_COTS_NOT_IMPLEMENTED"));
  CHECK(trainer.steps() == 0);
}

TEST_CASE("vocabulary_cross_entropy: an ignored target adds nothing and has no gradient") {
  const Tensor query = at::randn({9, 6}), weight = at::randn({13, 6}), bias = at::randn({13}),
               all = at::arange(9, at::kLong),
               target = at::where(all.remainder(3) == 1, cots::ops::kIgnoredTarget, all),
               kept = (all.remainder(3) != 1).nonzero().squeeze(1);
  const auto leaves = [&](const Tensor& q) {
    return std::vector<Tensor>{q.clone().requires_grad_(), weight.clone().requires_grad_(),
                               bias.clone().requires_grad_()};
  };
  for (const auto op :
       {cots::ops::vocabulary_cross_entropy, cots::ops::vocabulary_cross_entropy_composite}) {
    const std::vector<Tensor> a = leaves(query), b = leaves(query.index_select(0, kept));
    const Tensor loss = op(a[0], a[1], a[2], target),
                 expected = op(b[0], b[1], b[2], all.index_select(0, kept));
    loss.backward(), expected.backward();
    CHECK(difference(loss.detach(), expected.detach()) < 1e-5);
    CHECK(difference(a[0].grad().index_select(0, kept), b[0].grad()) < 1e-6);
    CHECK(a[0].grad().index({target == cots::ops::kIgnoredTarget}).abs().max().item<float>() == 0);
    CHECK(difference(a[1].grad(), b[1].grad()) < 1e-5);
    CHECK(difference(a[2].grad(), b[2].grad()) < 1e-5);
  }
}
