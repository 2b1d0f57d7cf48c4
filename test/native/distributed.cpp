// Data parallel training: collectives, equality with one rank, sharding, a rank that leaves.
#include "train/distributed.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <limits>

#include "ops/cancel.h"
#include "ranked-steps.h"

using at::Tensor;
using tiny::failure_of;
using tiny::says;

namespace {

/// Rank r's contiguous slice of a batch, the first ranks one pair longer where it does not divide.
cots::Batch slice_of(const cots::Batch& whole, const cots::Group& group) {
  const int64_t pairs = whole.ids_BL.size(0), world = group.world();
  const auto start = [&](int64_t rank) { return (pairs * rank + world - 1) / world; };
  const Tensor rows = at::arange(start(group.rank()), start(group.rank() + 1), at::kLong);
  return tiny::rows_of(whole, rows);
}

struct Run {
  std::vector<cots::StepMetrics> steps;
  Tensor weights, momentum, queue;
};

Run run(const cots::TrainConfig& config, const cots::Group& group, int64_t steps) {
  cots::Trainer trainer(config, tiny::tokenizer(), group);
  Run run;
  trainer.prefill(slice_of(tiny::batch(500, 10), group));
  for (int64_t step = 0; step < steps; ++step)
    run.steps.push_back(trainer.step(slice_of(tiny::batch_of_run(step), group)));
  run.weights = trainer.model().parameters().flat().detach().clone();
  run.momentum = trainer.momentum().parameters().flat().clone();
  run.queue = trainer.queue().image().clone();
  return run;
}

/// A run in which rounding stays rounding: AdamW makes whole steps of gradients that are zero but
/// for the order of their sums, so the steps are small.
cots::TrainConfig steady_config() {
  cots::TrainConfig config = tiny::config();
  config.optimizer.lr = 3e-4;
  config.optimizer.eps = 1e-4;
  return config;
}

std::vector<Run> runs(const cots::TrainConfig& config, int64_t world, int64_t steps) {
  std::vector<Run> all(static_cast<size_t>(world));
  tiny::on_ranks(world, [&](const cots::Group& group) {
    all[static_cast<size_t>(group.rank())] = run(config, group, steps);
  });
  return all;
}

void check_equals(const Run& found, const Run& expected) {
  REQUIRE(found.steps.size() == expected.steps.size());
  for (size_t i = 0; i < found.steps.size(); ++i) {
    const cots::StepMetrics &a = found.steps[i], &b = expected.steps[i];
    CAPTURE(i);
    tiny::check_same_step(a, b, 1e-4);
    CHECK(std::abs(a.grad_norm - b.grad_norm) < 1e-3 * b.grad_norm);
  }
}

}  // namespace

TEST_CASE("distributed: collectives over 3 ranks, with parts of different length") {
  tiny::on_ranks(3, [](const cots::Group& group) {
    const int64_t rank = group.rank();
    CHECK(group.world() == 3);
    const Tensor sum = at::full({5}, static_cast<double>(rank + 1), at::kDouble);
    group.all_reduce(sum);
    CHECK(at::equal(sum, at::full({5}, 6.0, at::kDouble)));
    const Tensor rows = at::full({rank, 2}, rank, at::kLong);
    CHECK(at::equal(group.all_gather_rows(rows),
                    at::tensor({1, 1, 2, 2, 2, 2}, at::kLong).view({3, 2})));
    for (const int64_t count : {0, 2, 3, 7, 1000}) {
      const Tensor flat = at::full({count}, -1.0, at::kFloat);
      const cots::Range own = group.own_part(count);
      flat.narrow(0, own.begin, own.count()).copy_(at::arange(own.begin, own.end));
      group.share_parts(flat);
      CHECK(at::equal(flat, at::arange(count).to(at::kFloat)));
    }
    group.barrier();
  });
}

TEST_CASE("distributed: 2 and 4 ranks make the steps of one rank over the same batches") {
  const cots::TrainConfig config = steady_config();
  const Run alone = run(config, {}, 20);
  int64_t dropped = 0;
  for (const cots::StepMetrics& m : alone.steps) dropped += m.pairs - m.filter_kept;
  REQUIRE(dropped > 0);  // the filter was at work
  for (const int64_t world : {2, 4}) {
    CAPTURE(world);
    const std::vector<Run> ranks = runs(config, world, 20);
    check_equals(ranks[0], alone);
    for (const Run& other : ranks) {
      CHECK(at::equal(other.weights, ranks[0].weights));
      CHECK(at::equal(other.momentum, ranks[0].momentum));
      CHECK(at::equal(other.queue, ranks[0].queue));
      CHECK(other.steps.back().loss == ranks[0].steps.back().loss);
    }
  }
}

TEST_CASE("distributed: many buckets, a sharded optimizer and micro-batches change no loss") {
  cots::TrainConfig config = steady_config();
  const Run alone = run(config, {}, 12);
  config.bucket_bytes = 4096;
  check_equals(runs(config, 2, 12)[0], alone);
  config.sharded_optimizer = true;
  config.accumulate = 2;
  const std::vector<Run> ranks = runs(config, 3, 12);
  check_equals(ranks[0], alone);
  for (const Run& other : ranks) CHECK(at::equal(other.weights, ranks[0].weights));
}

TEST_CASE("distributed: what is computed again in backward goes in the same buckets") {
  cots::TrainConfig config = steady_config();
  config.bucket_bytes = 2048;
  const std::vector<Run> kept = runs(config, 2, 6);
  for (const auto checkpointing : {cots::Checkpointing::kSelective, cots::Checkpointing::kFull}) {
    config.model.image.checkpointing = config.model.text.checkpointing = checkpointing;
    for (const Run& rank : runs(config, 2, 6)) {
      CHECK(at::equal(rank.weights, kept[0].weights));
      CHECK(rank.steps.back().loss == kept[0].steps.back().loss);
    }
  }
}

TEST_CASE("distributed: each rank of a sharded optimizer has its part of the moments alone") {
  cots::TrainConfig config = tiny::config();
  config.sharded_optimizer = true;
  tiny::on_ranks(2, [&](const cots::Group& group) {
    const cots::Trainer trainer(config, tiny::tokenizer(), group);
    const cots::Range own = trainer.optimizer().own();
    for (const auto& [name, tensor] : trainer.optimizer().state())
      if (name != "optimizer.updates") CHECK(tensor.numel() == own.count());
  });
}

TEST_CASE("distributed: the sum of gradients is that of the batch, also where some never come") {
  for (const double token_weight : {1.0, 0.0}) {
    cots::TrainConfig config = tiny::config();
    config.loss.weight_cmvm = config.loss.weight_cmlm =
        token_weight;  // 0: no gradient of the heads
    config.bucket_bytes = 2048;
    const auto gradients = [&](const cots::Group& group) {
      cots::Trainer trainer(config, tiny::tokenizer(), group);
      trainer.prefill(slice_of(tiny::batch(500, 10), group));
      trainer.step(slice_of(tiny::batch_of_run(0), group));
      return trainer.model().parameters().flat_grad().clone();
    };
    const Tensor alone = gradients({});
    REQUIRE(alone.abs().max().item<double>() > 0);
    tiny::on_ranks(4, [&](const cots::Group& group) {
      CHECK(tiny::difference(gradients(group), alone) < 1e-5 * alone.abs().max().item<double>());
    });
  }
}

TEST_CASE("distributed: one rank's loss that is not finite skips the step on all") {
  // A head: the momentum towers and so the keys stay finite.
  tiny::check_skips_on_all(tiny::config(), slice_of, 1, "cmlm.dense.bias",
                           std::numeric_limits<float>::quiet_NaN());
}

TEST_CASE("distributed: 2 ranks' pieces of a checkpoint go on with 1 and 3 ranks") {
  const tiny::Folder folder;
  cots::TrainConfig config = tiny::config();
  const Run whole = run(config, {}, 8);
  config.sharded_optimizer = true;
  tiny::on_ranks(2, [&](const cots::Group& group) {
    cots::Trainer trainer(config, tiny::tokenizer(), group);
    trainer.prefill(slice_of(tiny::batch(500, 10), group));
    for (int64_t step = 0; step < 4; ++step)
      trainer.step(slice_of(tiny::batch_of_run(step), group));
    trainer.save(folder.path.string());
  });
  CHECK(std::filesystem::exists(folder.file("state-00002-of-00002.safetensors")));
  for (const int64_t world : {1, 3})
    tiny::on_ranks(world, [&](const cots::Group& group) {
      cots::Trainer trainer(config, tiny::tokenizer(), group);
      trainer.restore(folder.path.string());
      for (size_t step = 4; step < 8; ++step) {
        const double loss =
            trainer.step(slice_of(tiny::batch_of_run(static_cast<int64_t>(step)), group)).loss;
        CHECK(std::abs(loss - whole.steps[step].loss) < 1e-4);
      }
    });
  std::filesystem::remove(folder.file("state-00001-of-00002.safetensors"));
  cots::Trainer trainer(config, tiny::tokenizer());
  CHECK(says(failure_of([&] { trainer.restore(folder.path.string()); }),
             "ERR_COTS_CHECKPOINT Expected the state in 2 pieces"));
}

TEST_CASE("distributed: a rank that leaves ends the others' step with an error that says so") {
  std::string message;
  const auto start = std::chrono::steady_clock::now();
  tiny::on_ranks(2, [&](const cots::Group& group) {
    cots::Trainer trainer(tiny::config(), tiny::tokenizer(), group);
    trainer.step(slice_of(tiny::batch_of_run(0), group));
    if (group.rank() == 1) return;
    message = failure_of([&] { trainer.step(slice_of(tiny::batch_of_run(1), group)); });
  });
  CHECK(says(message, "ERR_COTS_DISTRIBUTED"));
  CHECK(says(message, "--resume latest"));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(15));
}

TEST_CASE("distributed: a rank that is silent ends the others after the time-out") {
  std::string message;
  tiny::on_ranks(
      2,
      [&](const cots::Group& group) {
        if (group.rank() == 1) return std::this_thread::sleep_for(std::chrono::seconds(3));
        message = failure_of([&] { group.barrier(); });
      },
      1);
  CHECK(says(message, "ERR_COTS_DISTRIBUTED"));
  CHECK(says(message, "train.timeout (1 s)"));
}

TEST_CASE("distributed: waiting for a silent rank sees that the job was cancelled") {
  tiny::on_ranks(2, [](const cots::Group& group) {
    if (group.rank() == 1) return std::this_thread::sleep_for(std::chrono::seconds(1));
    std::atomic<bool> flag = false;
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      flag = true;
    });
    const cots::ops::CancelScope scope(&flag);
    CHECK_THROWS_AS(group.barrier(), cots::ops::Cancelled);
    canceller.join();
  });
}

TEST_CASE("distributed: ranks that do not all come are refused after the time-out") {
  const std::string alone =
      failure_of([] { cots::join(tiny::meeting(0, 2, tiny::free_port(), 1), {{"step"}}); });
  CHECK(says(alone, "ERR_COTS_DISTRIBUTED Expected 2 ranks to meet at 127.0.0.1:"));
  CHECK(says(alone, "found 1 of them"));
  const std::string lost =
      failure_of([] { cots::join(tiny::meeting(1, 2, tiny::free_port(), 1), {{"step"}}); });
  CHECK(says(lost, "nobody listening there"));
}

TEST_CASE("distributed: queue.includeBatchKeys is refused with several ranks") {
  cots::TrainConfig config = tiny::config();
  config.queue.include_batch_keys = true;
  tiny::on_ranks(2, [&](const cots::Group& group) {
    CHECK(says(failure_of([&] { cots::Trainer(config, tiny::tokenizer(), group); }),
               "queue.includeBatchKeys"));
  });
}
