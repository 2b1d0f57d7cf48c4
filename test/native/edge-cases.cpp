// Rows of SPEC 3.8 that belong to the training step; a test case is named as its row.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <doctest/doctest.h>

#include <cmath>

#include "io/failure.h"
#include "tiny-trainer.h"

namespace {

using at::Tensor;

void fill_queue(cots::Trainer& trainer) {
  for (int64_t i = 0; i < 2; ++i) trainer.prefill(tiny::batch(500 + 10 * i, 10));
}

Tensor column(cots::Trainer& trainer, const char* name) {
  for (const auto& [found, tensor] : trainer.queue().state())
    if (found == name) return tensor;
  throw std::runtime_error(name);
}

/// Makes every text with word `id` NaN in the towers of `parameters`.
void poison_word(cots::Parameters& parameters, const char* table, int64_t id) {
  const_cast<cots::Parameter*>(parameters.find(table))->value.detach()[id].fill_(std::nan(""));
}

constexpr int64_t kPoison = 49;

/// A batch in which only row 2 has the poisoned word.
cots::Batch batch_with_poison(int64_t first) {
  cots::Batch batch = tiny::batch(first);
  batch.ids_BL = at::where(batch.ids_BL.eq(kPoison), 48, batch.ids_BL);
  batch.ids_BL[2][1] = kPoison;
  return batch;
}

}  // namespace

TEST_CASE("all pairs filtered (W = 0)") {
  cots::TrainConfig config = tiny::config();
  config.filter.k = -1000;  // threshold far above every score
  cots::Trainer trainer(config, tiny::tokenizer());
  trainer.step(tiny::batch(0));  // the queue is not full yet: this one learns, and an EMA is due
  fill_queue(trainer);
  const Tensor online = trainer.model().parameters().flat().clone(),
               slow = trainer.momentum().parameters().flat().clone();
  const int64_t pointer = column(trainer, "queue.ptr").item<int64_t>();

  const cots::StepMetrics m = trainer.step(tiny::batch(6));
  CHECK(m.filter_kept == 0);
  CHECK(m.skipped);
  CHECK(m.loss == 0);
  CHECK(std::isfinite(m.grad_norm));
  CHECK(m.non_finite_in_row == 0);
  CHECK(trainer.steps() == 2);
  CHECK(at::equal(trainer.model().parameters().flat(), online));
  const Tensor followed = trainer.momentum().parameters().flat().clone();
  CHECK(!at::equal(followed, slow));  // this step's EMA stands
  CHECK(column(trainer, "queue.ptr").item<int64_t>() ==
        (pointer + 6) % 20);  // all of the batch is pushed

  trainer.step(tiny::batch(12));
  CHECK(at::equal(trainer.momentum().parameters().flat(),
                  followed));  // the weights did not change: no EMA

  config.filter.min_keep_fraction = 0.5;
  cots::Trainer lenient(config, tiny::tokenizer());
  fill_queue(lenient);
  const cots::StepMetrics kept = lenient.step(tiny::batch(6));
  CHECK(kept.filter_kept == 3);  // the best half
  CHECK(!kept.skipped);
}

TEST_CASE("non-finite momentum key or score") {
  cots::TrainConfig config = tiny::config();
  cots::Trainer trainer(config, tiny::tokenizer());
  fill_queue(trainer);
  const int64_t pointer = column(trainer, "queue.ptr").item<int64_t>();
  poison_word(trainer.momentum().parameters(), "text_m.embed.word.weight", kPoison);

  const cots::StepMetrics m = trainer.step(batch_with_poison(0));
  CHECK(m.non_finite_keys == 1);
  CHECK(std::isnan(m.scores[2]));
  CHECK(m.kept[2] == 0);
  CHECK(!m.skipped);  // the step goes on
  CHECK(m.filter_kept >= 1);
  CHECK(std::isfinite(m.loss));
  CHECK(m.non_finite_in_row == 0);
  CHECK(column(trainer, "queue.ptr").item<int64_t>() == (pointer + 5) % 20);  // not enqueued
  CHECK(column(trainer, "queue.text").isfinite().all().item<bool>());
  CHECK(column(trainer, "queue.score").isfinite().all().item<bool>());
  CHECK(!column(trainer, "queue.id").eq(2).any().item<bool>());
  CHECK(trainer.model().parameters().flat().isfinite().all().item<bool>());
}

TEST_CASE("non-finite online feature, loss or gradient norm") {
  cots::TrainConfig config = tiny::config();
  config.max_non_finite = 3;
  config.filter.enabled = false;  // the poisoned pair takes part
  cots::Trainer trainer(config, tiny::tokenizer());
  fill_queue(trainer);
  const int64_t pointer = column(trainer, "queue.ptr").item<int64_t>();
  poison_word(trainer.model().parameters(), "text.embed.word.weight", kPoison);
  const Tensor online = trainer.model().parameters().flat().clone(),
               slow = trainer.momentum().parameters().flat().clone();

  const cots::StepMetrics m = trainer.step(batch_with_poison(0));
  REQUIRE(m.kept[2] == 1);
  CHECK(m.skipped);
  CHECK((m.stop == cots::Stop::kNone));
  CHECK(m.non_finite_in_row == 1);
  CHECK(m.non_finite_keys == 0);
  CHECK(column(trainer, "queue.ptr").item<int64_t>() ==
        (pointer + 6) % 20);  // finite keys are still pushed
  CHECK(at::equal(trainer.model().parameters().flat().nan_to_num(5), online.nan_to_num(5)));
  CHECK(trainer.step(batch_with_poison(6)).non_finite_in_row == 2);
  CHECK(at::equal(trainer.momentum().parameters().flat(),
                  slow));  // no EMA after a step that did not happen

  // The last step is reported like any other; what comes after it is refused.
  const cots::StepMetrics last = trainer.step(batch_with_poison(12));
  CHECK((last.stop == cots::Stop::kNonFinite));
  CHECK(last.non_finite_in_row == 3);
  CHECK(last.scores.size() == 6);
  CHECK(last.kept.size() == 6);
  CHECK(trainer.steps() == 3);
  const Tensor stopped = tiny::everything(trainer).nan_to_num(5);
  const std::string message = tiny::failure_of([&] { trainer.step(tiny::batch(18)); });
  CHECK(message.find("ERR_COTS_NON_FINITE") == 0);
  CHECK(message.find("guard.maxNonFinite 3") != std::string::npos);
  CHECK(trainer.steps() == 3);
  CHECK(at::equal(tiny::everything(trainer).nan_to_num(5), stopped));

  SUBCASE("a finite step starts the count again") {
    cots::Trainer other(config, tiny::tokenizer());
    poison_word(other.model().parameters(), "text.embed.word.weight", kPoison);
    CHECK(other.step(batch_with_poison(0)).non_finite_in_row == 1);
    cots::Batch clean = tiny::batch(6);
    clean.ids_BL = at::where(clean.ids_BL.eq(kPoison), 48, clean.ids_BL);
    config.loss.weight_cmlm = 0;  // CMLM's classifier holds every word
    cots::Trainer third(config, tiny::tokenizer());
    poison_word(third.model().parameters(), "text.embed.word.weight", kPoison);
    CHECK(third.step(batch_with_poison(0)).non_finite_in_row == 1);
    CHECK(third.step(clean).non_finite_in_row == 0);
  }
  SUBCASE("keys that are all non-finite count too") {
    cots::Trainer other(config, tiny::tokenizer());
    other.momentum().parameters().flat().fill_(std::nan(""));
    const cots::StepMetrics all = other.step(tiny::batch(0));
    CHECK(all.non_finite_keys == 6);
    CHECK(all.non_finite_in_row == 1);
    CHECK(all.skipped);
    CHECK(other.queue().filled() == 0);
  }
}

TEST_CASE("σ < 1e-6 for more than 100 steps is a collapse") {
  cots::TrainConfig config = tiny::config();
  config.optimizer.lr = config.optimizer.warmup_from = config.optimizer.min_lr = 0;
  config.optimizer.weight_decay = 0;
  config.loss.weight_cmvm = config.loss.weight_cmlm = 0;
  cots::Trainer trainer(config, nullptr);
  // Every pair the same: every score the same.
  cots::Batch batch = tiny::batch(0, 1);
  batch.image_NSS3 = batch.image_NSS3.expand({6, 24, 24, 3}).contiguous();
  batch.ids_BL = batch.ids_BL.expand({6, 10}).contiguous();
  batch.lengths_B = batch.lengths_B.expand({6}).contiguous();
  batch.sample_B = batch.image_id_B = at::arange(6, at::kLong);
  cots::StepMetrics m;
  while (m.stop == cots::Stop::kNone && m.step < 200) {
    m = trainer.step(batch);
    if (m.filter_active) CHECK(m.filter_kept == 6);  // every pair is kept
  }
  CHECK((m.stop == cots::Stop::kCollapsed));
  CHECK(m.step == 4 + 101);  // the queue of 20 is full after 4 steps
  CHECK(m.collapsed_steps == 101);
  CHECK(tiny::failure_of([&] { trainer.step(batch); }).find("collapsed") != std::string::npos);

  const tiny::Folder folder;
  trainer.save(folder.path.string());
  cots::Trainer resumed(config, nullptr);
  resumed.restore(folder.path.string());
  CHECK(resumed.step(tiny::batch(0)).step == 4 + 102);  // may try again
}

TEST_CASE("EMA at resume") {
  const tiny::Folder folder;
  cots::Trainer trainer(tiny::config(), tiny::tokenizer());
  for (int64_t step = 0; step < 10; ++step) trainer.step(tiny::batch_of_run(step));
  trainer.save(folder.path.string());

  cots::Trainer resumed(tiny::config(), tiny::tokenizer());
  resumed.restore(folder.path.string());
  CHECK(at::equal(resumed.momentum().parameters().flat(), trainer.momentum().parameters().flat()));
  CHECK(
      !at::equal(resumed.momentum().parameters().flat(),
                 resumed.model().parameters().flat().narrow(0, 0, resumed.model().tower_count())));
  for (const char* name : {"queue.image", "queue.text", "queue.score", "queue.id", "queue.valid",
                           "queue.ptr", "queue.n"})
    CHECK(at::equal(column(resumed, name), column(trainer, name)));

  // Without the momentum encoder and the queue the next step would differ.
  cots::Trainer forgetful(tiny::config(), tiny::tokenizer());
  forgetful.initialize_from(folder.file("model.safetensors"));
  const cots::StepMetrics wanted = trainer.step(tiny::batch_of_run(10)),
                          found = resumed.step(tiny::batch_of_run(10));
  CHECK(found.loss == wanted.loss);
  CHECK(found.scores == wanted.scores);
  CHECK(found.step == 11);
  CHECK(forgetful.step(tiny::batch_of_run(10)).scores != wanted.scores);
}
