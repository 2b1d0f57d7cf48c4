// The trainer as a whole: order, reproducibility, accumulation, cancelling, checkpoints, switches.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "infer/embedder.h"
#include "io/failure.h"
#include "ops/cancel.h"
#include "tiny-model.h"
#include "tiny-trainer.h"

using at::Tensor;
using cots::test::relative_error;
using tiny::difference;
using tiny::failure_of;
using tiny::says;

TEST_CASE("train: 100 steps equal 50 steps, a checkpoint, and 50 steps more, bit for bit") {
  const tiny::Folder folder;
  cots::Trainer whole(tiny::config(), tiny::tokenizer());
  int64_t dropped = 0;
  std::vector<double> losses;
  for (int64_t step = 0; step < 100; ++step) {
    const cots::StepMetrics m = whole.step(tiny::batch_of_run(step));
    dropped += m.pairs - m.filter_kept;
    losses.push_back(m.loss);
    if (step == 49) whole.save(folder.path.string());
  }
  REQUIRE(dropped > 0);  // the filter was at work

  cots::TrainConfig other = tiny::config();
  other.seed = 8;  // other initial weights: all must come from the files
  cots::Trainer resumed(other, tiny::tokenizer());
  resumed.restore(folder.path.string());
  CHECK(resumed.steps() == 50);
  cots::Trainer same_seed(tiny::config(), tiny::tokenizer());
  same_seed.restore(folder.path.string());
  for (int64_t step = 50; step < 100; ++step)
    CHECK(same_seed.step(tiny::batch_of_run(step)).loss == losses[static_cast<size_t>(step)]);
  CHECK(at::equal(tiny::everything(same_seed), tiny::everything(whole)));
}

TEST_CASE("train: micro-batches change nothing but the order of sums") {
  cots::TrainConfig one = tiny::config(), four = tiny::config();
  four.accumulate = 4;
  cots::Trainer a(one, tiny::tokenizer()), b(four, tiny::tokenizer());
  for (cots::Trainer* trainer : {&a, &b})
    for (int64_t i = 0; i < 2; ++i) trainer->prefill(tiny::batch(500 + 10 * i, 10));
  const cots::Batch batch = tiny::batch(0, 11);
  const cots::StepMetrics ma = a.step(batch), mb = b.step(batch);
  REQUIRE(ma.filter_kept > 4);
  CHECK(ma.filter_kept == mb.filter_kept);
  for (const auto field : {&cots::StepMetrics::loss, &cots::StepMetrics::loss_image_to_text,
                           &cots::StepMetrics::loss_text_to_image, &cots::StepMetrics::loss_task,
                           &cots::StepMetrics::loss_cmvm, &cots::StepMetrics::loss_cmlm,
                           &cots::StepMetrics::grad_norm})
    CHECK(ma.*field == doctest::Approx(mb.*field).epsilon(1e-5));
  CHECK(ma.loss_cmvm > 1);
  CHECK(ma.loss_cmlm > 1);
  const Tensor& grad = a.model().parameters().flat_grad();
  CHECK(difference(grad, b.model().parameters().flat_grad()) <
        1e-5 * grad.abs().max().item<double>());
}

TEST_CASE("train: the losses fall on pairs seen again and again") {
  cots::TrainConfig config = tiny::config();
  config.model.image.drop_path = config.model.text.dropout = 0;
  config.filter.enabled = false;
  config.ema_m = 0.99;
  config.optimizer = {
      .lr = 2e-3, .warmup_steps = 5, .warmup_from = 1e-4, .min_lr = 1e-3, .total_steps = 200};
  cots::Trainer trainer(config, tiny::tokenizer());
  cots::StepMetrics early, late;
  const auto add = [](cots::StepMetrics& sum, const cots::StepMetrics& m) {
    sum.loss_image_to_text += m.loss_image_to_text, sum.loss_cmvm += m.loss_cmvm,
        sum.loss_cmlm += m.loss_cmlm;
  };
  for (int64_t step = 0; step < 200; ++step) {
    const cots::StepMetrics m = trainer.step(tiny::batch_of_run(step));
    if (step >= 5 && step < 15) add(early, m);
    if (step >= 190) add(late, m);
  }
  CHECK(late.loss_image_to_text < 0.9 * early.loss_image_to_text);
  CHECK(late.loss_cmvm < 0.9 * early.loss_cmvm);
  CHECK(late.loss_cmlm < early.loss_cmlm);
}

TEST_CASE("train: a cancelled step leaves no trace and repeats to the same numbers") {
  cots::Trainer calm(tiny::config(), tiny::tokenizer()),
      disturbed(tiny::config(), tiny::tokenizer());
  int cancelled = 0;
  for (int64_t step = 0; step < 12; ++step) {
    const cots::Batch batch = tiny::batch_of_run(step);
    calm.step(batch);
    const int64_t queued = disturbed.queue().filled();
    const Tensor weights = disturbed.model().parameters().flat().clone();
    for (int delay = 0; delay < 4; ++delay) {
      std::atomic<bool> flag = false;
      std::thread canceller([&] {
        std::this_thread::sleep_for(std::chrono::microseconds(700 * delay));
        flag = true;
      });
      bool finished = true;
      try {
        const cots::ops::CancelScope scope(&flag);
        disturbed.step(batch);
      } catch (const cots::ops::Cancelled&) {
        finished = false;
      }
      canceller.join();
      if (finished) goto next_step;
      ++cancelled;
      CHECK(disturbed.steps() == step);
      CHECK(disturbed.queue().filled() == queued);
      CHECK(at::equal(disturbed.model().parameters().flat(), weights));
    }
    disturbed.step(batch);
  next_step:
    REQUIRE(at::equal(tiny::everything(disturbed), tiny::everything(calm)));
  }
  CHECK(cancelled > 8);
}

TEST_CASE("train: the order of a step") {
  // EMA first, with the weights of the step before; keys and filter next, on the queue as it was;
  // the push last.
  cots::Trainer trainer(tiny::config(), tiny::tokenizer());
  trainer.step(tiny::batch_of_run(0));
  const Tensor online =
      trainer.model().parameters().flat().narrow(0, 0, trainer.model().tower_count()).clone();
  const Tensor before = trainer.momentum().parameters().flat().clone();
  CHECK(at::equal(before,
                  cots::Trainer(tiny::config(), tiny::tokenizer()).momentum().parameters().flat()));
  CHECK(trainer.queue().filled() == 6);
  const cots::StepMetrics m = trainer.step(tiny::batch_of_run(1));
  CHECK(difference(trainer.momentum().parameters().flat(), before * 0.9 + online * 0.1) < 1e-6);
  CHECK(m.queue_valid == 12);
  CHECK(!m.filter_active);  // 6 pairs were queued, not 20
  const Tensor pushed = trainer.queue().state()[2].second.narrow(0, 6, 6);
  for (int64_t i = 0; i < 6; ++i)
    CHECK(m.scores[static_cast<size_t>(i)] == doctest::Approx(pushed[i].item<float>()));
}

TEST_CASE("train: what the filter drops changes no gradient") {
  cots::TrainConfig config = tiny::config();
  config.model.image.drop_path = 0, config.model.text.dropout = 0;
  const auto prepared = [&] {
    auto trainer = std::make_unique<cots::Trainer>(config, tiny::tokenizer());
    for (int64_t i = 0; i < 2; ++i) trainer->prefill(tiny::batch(500 + 10 * i, 10));
    return trainer;
  };
  const cots::Batch batch = tiny::batch(0, 12);
  auto filtered = prepared();
  const cots::StepMetrics m = filtered->step(batch);
  REQUIRE(m.filter_active);
  REQUIRE(m.filter_kept < 12);
  REQUIRE(m.filter_kept > 0);

  const Tensor rows = at::tensor(std::vector<uint8_t>(m.kept), at::kByte).nonzero().squeeze(1);
  cots::Batch kept;
  kept.image_NSS3 = batch.image_NSS3.index_select(0, rows);
  kept.token_view_NVV3 = batch.token_view_NVV3.index_select(0, rows);
  kept.ids_BL = batch.ids_BL.index_select(0, rows);
  kept.lengths_B = batch.lengths_B.index_select(0, rows);
  kept.sample_B = batch.sample_B.index_select(0, rows);
  kept.image_id_B = batch.image_id_B.index_select(0, rows);
  config.filter.enabled = false;
  auto alone = prepared();
  const cots::StepMetrics k = alone->step(kept);
  CHECK(k.loss == doctest::Approx(m.loss).epsilon(1e-5));
  CHECK(difference(alone->model().parameters().flat_grad(),
                   filtered->model().parameters().flat_grad()) < 1e-5);
  CHECK(filtered->queue().state()[6].second.item<int64_t>() == 20);  // all 12 were pushed
  CHECK(filtered->queue().state()[5].second.item<int64_t>() == 12);
}

TEST_CASE("train: amf.applyTo contrast leaves the token losses to all pairs") {
  cots::TrainConfig config = tiny::config();
  config.filter.apply_to = cots::FilterScope::kContrast;
  config.filter.k = -1000;  // nobody passes
  cots::Trainer trainer(config, tiny::tokenizer());
  for (int64_t i = 0; i < 2; ++i) trainer.prefill(tiny::batch(500 + 10 * i, 10));
  const cots::StepMetrics m = trainer.step(tiny::batch(0));
  CHECK(m.filter_kept == 0);
  CHECK(!m.skipped);
  CHECK(m.loss_image_to_text == 0);
  CHECK(m.loss_task == 0);
  CHECK(m.loss_cmvm > 1);
  CHECK(m.loss_cmlm > 1);
}

TEST_CASE("train: a loss of weight 0 costs nothing") {
  cots::TrainConfig config = tiny::config();
  config.loss.weight_cmvm = config.loss.weight_cmlm = 0;
  cots::Trainer contrast_only(config, nullptr);
  const cots::StepMetrics m = contrast_only.step(tiny::batch(0));
  CHECK(m.seconds.masked_pass < 1e-4);
  CHECK(m.seconds.tokenise == 0);
  CHECK(m.loss_cmvm == 0);

  config = tiny::config();
  config.loss.weight_instance = config.loss.weight_task = 0;
  config.token.fusion = cots::Fusion::kNone;
  cots::Trainer tokens_only(config, tiny::tokenizer());
  tokens_only.step(tiny::batch(0));
  const cots::StepMetrics t = tokens_only.step(tiny::batch(6));
  CHECK(t.seconds.clean_pass < 1e-4);
  CHECK(t.loss == doctest::Approx(t.loss_cmvm + t.loss_cmlm));
  CHECK(failure_of([] { cots::Trainer(tiny::config(), nullptr); }).find("cots train-tokenizer") !=
        std::string::npos);
}

TEST_CASE("train: every switch of the token level trains") {
  for (const auto passes : {cots::Passes::kSeparate, cots::Passes::kShared})
    for (const auto source :
         {cots::GlobalSource::kHidden, cots::GlobalSource::kEmbed, cots::GlobalSource::kMomentum})
      for (const auto fusion : {cots::Fusion::kAdd, cots::Fusion::kConcat, cots::Fusion::kNone})
        for (const auto head : {cots::ImageHead::kMlp, cots::ImageHead::kBare}) {
          cots::TrainConfig config = tiny::config();
          config.token.passes = passes, config.token.global_source = source;
          config.token.fusion = fusion, config.token.head_image = head;
          cots::Trainer trainer(config, tiny::tokenizer());
          for (int64_t step = 0; step < 3; ++step) {
            const cots::StepMetrics m = trainer.step(tiny::batch_of_run(step));
            CHECK(!m.skipped);
            CHECK(std::isfinite(m.loss));
            CHECK(m.loss_cmvm > 1);
          }
        }
}

TEST_CASE("train: bfloat16 follows float32 with float32 weights, moments and queues") {
  std::vector<cots::TrainConfig> configs(3, tiny::config());
  configs[1].accumulate = 2;
  for (auto* tower : {&configs[2].model.image.checkpointing, &configs[2].model.text.checkpointing})
    *tower = cots::Checkpointing::kFull;
  for (const cots::TrainConfig& config : configs) {
    cots::TrainConfig half = config;
    half.placement.compute = at::kBFloat16;
    cots::Trainer a(half, tiny::tokenizer()), b(config, tiny::tokenizer());
    for (int64_t step = 0; step < 12; ++step) {
      const cots::Batch batch = tiny::batch_of_run(step);
      const cots::StepMetrics ma = a.step(batch), mb = b.step(batch);
      CHECK(relative_error(ma.loss, mb.loss) < 0.03);
      if (step == 0) CHECK(relative_error(ma.grad_norm, mb.grad_norm) < 0.1);
      CHECK(ma.loss != mb.loss);
    }
    CHECK((a.model().parameters().flat().scalar_type() == at::kFloat));
    CHECK((a.queue().image().scalar_type() == at::kFloat));
  }
}

TEST_CASE("train: pooling by mean, no projection, a mean reduction and a halved task loss") {
  cots::TrainConfig config = tiny::config();
  config.model.image.pool = config.model.text.pool = cots::Pool::kMean;
  config.model.embed_dim = 0;
  config.loss.instance_mean = config.loss.task_half = true;
  cots::Trainer trainer(config, tiny::tokenizer());
  trainer.step(tiny::batch_of_run(0));
  const cots::StepMetrics m = trainer.step(tiny::batch_of_run(1));
  CHECK(m.loss == doctest::Approx(0.5 * (m.loss_image_to_text + m.loss_text_to_image) +
                                  0.5 * m.loss_task + m.loss_cmvm + m.loss_cmlm));
  CHECK(m.loss_task > 0);
}

TEST_CASE(
    "train: queue.includeBatchKeys adds the other pairs' keys, and is refused with accumulation") {
  cots::TrainConfig config = tiny::config();
  config.queue.include_batch_keys = true;
  config.loss.weight_cmvm = config.loss.weight_cmlm = 0;
  config.model.image.drop_path = config.model.text.dropout = 0;
  cots::Trainer trainer(config, nullptr);
  const cots::Batch batch = tiny::batch(0);
  // Empty queue, momentum = online: the loss is InfoNCE within the batch.
  const tiny::Folder folder;
  trainer.save(folder.path.string());
  const auto embedder = cots::Embedder::load(config.model, folder.file("model.safetensors"));
  const Tensor logits =
      embedder->embed_images(batch.image_NSS3, config.image_mean, config.image_std)
          .matmul(embedder->embed_texts(batch.ids_BL, batch.lengths_B).t()) /
      config.loss.tau;
  const cots::StepMetrics m = trainer.step(batch);
  CHECK(
      m.loss_image_to_text ==
      doctest::Approx((logits.logsumexp({1}) - logits.diag()).mean().item<double>()).epsilon(1e-4));
  CHECK(
      m.loss_text_to_image ==
      doctest::Approx((logits.logsumexp({0}) - logits.diag()).mean().item<double>()).epsilon(1e-4));
  config.accumulate = 2;
  CHECK(says(failure_of([&] { cots::Trainer(config, nullptr); }), "queue.includeBatchKeys"));
}

TEST_CASE("train: a learnable temperature moves and stays within its clamp") {
  cots::TrainConfig config = tiny::config();
  config.loss.tau_learnable = true;
  config.loss.tau = 0.4999;
  config.optimizer.lr = config.optimizer.warmup_from = 0.5;
  config.optimizer.warmup_steps = 0;
  cots::Trainer trainer(config, tiny::tokenizer());
  double least = 1, most = 0;
  for (int64_t step = 0; step < 30; ++step) {
    const double tau = trainer.step(tiny::batch_of_run(step)).temperature;
    least = std::min(least, tau), most = std::max(most, tau);
  }
  CHECK(most > least);
  CHECK(least >= 0.001 - 1e-9);
  CHECK(most <= 0.5 + 1e-6);
}

TEST_CASE("train: initial weights come from a model file, a tower at a time") {
  const tiny::Folder folder;
  cots::TrainConfig other = tiny::config();
  other.seed = 99;
  cots::Embedder donor(other.model, 99);
  donor.save(folder.file("donor.safetensors"));
  cots::Trainer trainer(tiny::config(), tiny::tokenizer());
  trainer.initialize_from(folder.file("donor.safetensors"));
  const int64_t towers = trainer.model().tower_count();
  CHECK(at::equal(trainer.model().parameters().flat().narrow(0, 0, towers),
                  donor.parameters().flat()));
  CHECK(at::equal(trainer.momentum().parameters().flat(), donor.parameters().flat()));
  other.model.text.width = 32;
  cots::Embedder wrong(other.model, 99);
  wrong.save(folder.file("wrong.safetensors"));
  const Tensor before = trainer.model().parameters().flat().clone();
  const std::string message =
      failure_of([&] { trainer.initialize_from(folder.file("wrong.safetensors")); });
  CHECK(says(message, "ERR_COTS_CHECKPOINT"));
  CHECK(says(message, "text."));
  CHECK(says(message, "found ["));
  CHECK(at::equal(trainer.model().parameters().flat(), before));
}

TEST_CASE("train: a checkpoint of another config is refused and changes nothing") {
  const tiny::Folder folder;
  cots::TrainConfig bigger = tiny::config();
  bigger.queue.size = 24;
  cots::Trainer(bigger, tiny::tokenizer()).save(folder.path.string());
  cots::Trainer trainer(tiny::config(), tiny::tokenizer());
  trainer.step(tiny::batch(0));
  const Tensor before = tiny::everything(trainer);
  const std::string message = failure_of([&] { trainer.restore(folder.path.string()); });
  CHECK(says(message, "ERR_COTS_CHECKPOINT"));
  CHECK(says(message, "'queue.image'"));
  CHECK(says(message, "[20, 8]"));
  CHECK(says(message, "[24, 8]"));
  CHECK(at::equal(tiny::everything(trainer), before));
}

TEST_CASE("train: batches of wrong shapes, ids and lengths are refused before anything runs") {
  cots::Trainer trainer(tiny::config(), tiny::tokenizer());
  const auto refused = [&](const std::function<void(cots::Batch&)>& spoil) {
    cots::Batch batch = tiny::batch(0);
    spoil(batch);
    CHECK_THROWS_AS(trainer.step(batch), c10::Error);
  };
  refused([](cots::Batch& b) { b.image_NSS3 = b.image_NSS3.narrow(1, 0, 16); });
  refused([](cots::Batch& b) { b.token_view_NVV3 = at::Tensor(); });
  refused([](cots::Batch& b) { b.ids_BL = b.ids_BL.clone().fill_(50); });
  refused([](cots::Batch& b) { b.ids_BL = b.ids_BL.clone().fill_(-1); });
  refused([](cots::Batch& b) { b.lengths_B = b.lengths_B.clone().fill_(11); });
  refused([](cots::Batch& b) { b.lengths_B = b.lengths_B.clone().fill_(0); });
  refused([](cots::Batch& b) { b.sample_B = b.sample_B.narrow(0, 0, 3); });
  CHECK(trainer.steps() == 0);
}

TEST_CASE("train: fixed draws replace the generator's") {
  cots::TrainConfig config = tiny::config();
  cots::Trainer trainer(config, tiny::tokenizer());
  cots::Batch batch = tiny::batch(0);
  batch.image_mask_NP = at::zeros({6, 9}, at::kBool);
  batch.masked_ids_BL = batch.ids_BL;
  batch.text_mask_BL = at::zeros({6, 10}, at::kBool);
  const cots::StepMetrics none = trainer.step(batch);  // |M| = 0: the terms are 0
  CHECK(none.loss_cmvm == 0);
  CHECK(none.loss_cmlm == 0);
  batch.image_mask_NP[2][4] = true;
  const cots::StepMetrics one = trainer.step(batch);
  CHECK(one.loss_cmvm > 1);
  CHECK(one.loss_cmlm == 0);
}
