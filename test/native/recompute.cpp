// Activation checkpointing: whatever is computed again, losses and gradients stay the same bits,
// and what it promises not to keep is not kept.
#include "model/recompute.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <vector>

#include "counted-memory.h"
#include "ops/cancel.h"
#include "tiny-model.h"
#include "tiny-trainer.h"

using namespace cots;

namespace {

constexpr Checkpointing kAll[] = {Checkpointing::kOff, Checkpointing::kSelective,
                                  Checkpointing::kFull};
constexpr int64_t B = 5;

ModelConfig with(ModelConfig config, Checkpointing checkpointing) {
  config.image.checkpointing = config.text.checkpointing = checkpointing;
  return config;
}

/// Both towers on masked and clean inputs, texts of mixed length, one for all rows and one for the
/// pooled one alone, with dropout and drop-path.
struct Passes {
  at::ScalarType type = at::kFloat;
  Tensor pixels = test::normal({B, 3, 16, 16}, 31).to(type);
  Tensor mask = test::normal({B, 16}, 32).gt(0.5);
  Tensor ids = (test::normal({B, 10}, 33).abs() * 1000).to(at::kLong).remainder(40);
  Tensor lengths = at::tensor({10, 6, 1, 8, 3}, at::kLong);
  Regularization clean{ops::sample_keys(1, 3, at::arange(B))},
      masked{ops::sample_keys(1, 4, at::arange(B))};

  /// A different weight for every number, so that no gradient cancels.
  Tensor loss(const Towers& towers) const {
    Tensor sum = at::zeros({}, type);
    int64_t key = 40;
    const auto add = [&](const Tensor& states) {
      sum = sum + (states * test::normal(states.sizes(), ++key).to(type)).sum();
    };
    add(towers.encode_image(pixels, {}, clean, Need::kGlobal).embedding_BD);
    add(towers.encode_text(ids, lengths, clean, Need::kGlobal).embedding_BD);
    add(towers.encode_image(pixels, mask, masked).states_BLd);
    const Tensor real_BL = at::arange(10).unsqueeze(0) < lengths.unsqueeze(1);
    add(towers.encode_text(ids, lengths, masked).states_BLd.index({real_BL}));
    return sum;
  }
};

struct Network {
  Parameters parameters{1};
  Towers towers;
  Network(const ModelConfig& config, at::ScalarType type)
      : towers(config, Scope(parameters, "visual"), Scope(parameters, "text")) {
    parameters.flatten(/*requires_grad=*/true);
    test::enlarge_weights(parameters, 0.25);
    parameters.move(at::kCPU, type);
  }
};

void check_same_bits(at::ScalarType type) {
  const Passes passes{type};
  for (const ModelConfig& variant : test::tower_variants()) {
    ModelConfig config = variant;
    config.image.drop_path = 0.3;
    config.text.dropout = 0.2;
    std::vector<Tensor> losses, gradients;
    for (const Checkpointing checkpointing : kAll) {
      Network network(with(config, checkpointing), type);
      // Twice: gradients add up as those of micro-batches do.
      for (int pass = 0; pass < 2; ++pass) {
        losses.push_back(passes.loss(network.towers));
        losses.back().backward();
      }
      for (const Parameter& p : network.parameters.all())
        CHECK_MESSAGE(p.value.grad().abs().sum().item<double>() > 0, p.name);
      gradients.push_back(network.parameters.flat_grad());
    }
    for (size_t i = 2; i < losses.size(); ++i) CHECK(at::equal(losses[i], losses[0]));
    for (const Tensor& gradient : gradients) CHECK(at::equal(gradient, gradients[0]));
  }
}

/// What is alive of a tower's forward pass while its backward is still to come.
size_t kept_bytes(const ModelConfig& config) {
  const Network network(config, at::kFloat);
  const Passes passes;
  const test::CountedMemory memory;
  const Encoded image = network.towers.encode_image(passes.pixels);
  return memory.alive();
}

}  // namespace

TEST_CASE("checkpointing changes no bit of a loss or a gradient: every sort of tower") {
  check_same_bits(at::kFloat);
}

TEST_CASE("nor in float64, by plain torch operations on padded texts") {
  check_same_bits(at::kDouble);
}

TEST_CASE("nor of what a trainer's steps change, over micro-batches") {
  std::vector<Tensor> ends;
  for (const Checkpointing checkpointing : kAll) {
    TrainConfig config = tiny::config();
    config.model = with(config.model, checkpointing);
    config.accumulate = 2;
    Trainer trainer(config, tiny::tokenizer());
    for (int64_t step = 0; step < 8; ++step) trainer.step(tiny::batch_of_run(step));
    ends.push_back(tiny::everything(trainer));
  }
  CHECK(at::equal(ends[1], ends[0]));
  CHECK(at::equal(ends[2], ends[0]));
}

TEST_CASE("of a block, full keeps the input alone, selective not the feed-forward layer") {
  ModelConfig config = test::tiny_model();
  config.image.layers = 12;
  config.image.mlp_ratio = 8;  // the feed-forward layer stands out
  const size_t rows = B * 17, width = 16, bytes = 4, layers = 12;
  const size_t off = kept_bytes(config),
               selective = kept_bytes(with(config, Checkpointing::kSelective)),
               full = kept_bytes(with(config, Checkpointing::kFull));
  CHECK(off - selective == layers * rows * 8 * width * bytes);
  // q, k and v, the attention's result, and the sum after it.
  CHECK(selective - full == layers * rows * (3 + 1 + 1) * width * bytes);
}

TEST_CASE("recomputed: the part is called once forward and once, unread, in backward") {
  std::string calls;  // r: read, u: unread
  const Part square = [&](const Tensor& x, Result result) {
    calls += result == Result::kRead ? 'r' : 'u';
    return x * x;
  };
  const Tensor x = at::full({3}, 2.0).requires_grad_();
  {
    const c10::NoGradGuard no_grad;
    CHECK(!recomputed(square, x, {}).requires_grad());
  }
  CHECK(calls == "r");
  const Tensor y = recomputed(square, x, {});
  y.sum().backward();
  CHECK(calls == "rru");
  CHECK(at::equal(x.grad(), at::full({3}, 4.0)));
}

TEST_CASE("recomputed: only what wants a gradient gets one") {
  const Tensor x = at::full({3}, 2.0), frozen = at::full({3}, 5.0),
               weight = at::full({3}, 3.0).requires_grad_();
  const Part part = [&](const Tensor& input, Result) { return input * weight * frozen; };
  recomputed(part, x, {frozen, weight}).sum().backward();
  CHECK(at::equal(weight.grad(), at::full({3}, 10.0)));
  CHECK(!x.grad().defined());
  CHECK(!frozen.grad().defined());
  CHECK(!recomputed([&](const Tensor& input, Result) { return input * frozen; }, x, {frozen})
             .requires_grad());
}

TEST_CASE("recomputed: a job that is cancelled meanwhile ends there") {
  std::atomic<bool> flag = false;
  const ops::CancelScope scope(&flag);
  const Tensor x = at::full({3}, 2.0).requires_grad_();
  const Part part = [&](const Tensor& input, Result result) {
    flag = result == Result::kUnread;
    ops::check_cancelled();
    return input * 2;
  };
  const Tensor loss = recomputed(part, x, {}).sum();
  CHECK_THROWS_AS(loss.backward(), ops::Cancelled);
  CHECK(!x.grad().defined());
}
