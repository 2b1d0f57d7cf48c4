// A training step that runs out of memory.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "device/memory.h"
#include "limited-memory.h"
#include "tiny-trainer.h"

namespace {

void check_struck_steps(const cots::TrainConfig& config) {
  cots::Trainer spared(config, tiny::tokenizer()), struck(config, tiny::tokenizer());
  for (int64_t step = 0; step < 6; ++step) {
    int failures = 0;
    // From where the first tensors fail to where only the largest does.
    for (const size_t limit : {500U, 2000U, 6000U, 12'000U, 20'000U}) {
      try {
        const cots::test::LimitedMemory memory(limit);
        struck.step(tiny::batch_of_run(step));
      } catch (const c10::Error& error) {
        CHECK(cots::device::is_out_of_memory(error));
        ++failures;
        continue;
      }
      break;
    }
    REQUIRE(failures > 0);
    if (struck.steps() == step) struck.step(tiny::batch_of_run(step));
    spared.step(tiny::batch_of_run(step));
    CHECK(struck.steps() == spared.steps());
    CHECK(at::equal(tiny::everything(struck), tiny::everything(spared)));
  }
}

}  // namespace

TEST_CASE(
    "train: a step that runs out of memory, wherever it does, changes nothing that is saved") {
  check_struck_steps(tiny::config());
}

TEST_CASE("device step: running out of memory changes nothing that is saved") {
  cots::TrainConfig config = tiny::config();
  config.fixed_shapes = true;
  check_struck_steps(config);
}
