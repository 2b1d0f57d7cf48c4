// The whole loss stack of a tiny model: its gradients against finite differences, and its values
// before any training.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <doctest/doctest.h>

#include "loss/contrast.h"
#include "loss/masked_modelling.h"
#include "model/cots.h"
#include "tiny-model.h"

using namespace cots;

namespace {

constexpr int64_t B = 6;

struct Losses {
  Tensor contrast, cmvm, cmlm;
};

/// Inputs, masks, keys and queues that stay the same while the weights move.
struct Step {
  Tensor pixels = test::normal({B, 3, 16, 16}, 21);
  Tensor ids = (test::normal({B, 10}, 22).abs() * 1000).to(at::kLong).remainder(40);
  Tensor lengths = at::tensor({10, 6, 4, 8, 10, 5}, at::kLong);
  Tensor patch_mask =
      loss::draw_image_mask(ops::sample_keys(1, 1, at::arange(B)),
                            {.grid = 4, .ratio = 0.4, .block = true, .exact = false});
  Tensor codes = (test::normal({B, 16}, 23).abs() * 1000).to(at::kLong).remainder(24);
  loss::TextMask words = loss::draw_text_mask(ids, lengths, ops::sample_keys(1, 2, at::arange(B)),
                                              {.ratio = 0.5, .mask_id = 3, .vocab_size = 40});
  Regularization clean{ops::sample_keys(1, 3, at::arange(B))},
      masked{ops::sample_keys(1, 4, at::arange(B))};

  Losses operator()(const Cots& model) const {
    const Towers& towers = model.towers();
    const MaskedHeads& heads = model.heads();
    const Encoded image = towers.encode_image(pixels, {}, clean),
                  text = towers.encode_text(ids, lengths, clean);
    const Encoded masked_image = towers.encode_image(pixels, patch_mask, masked);
    const Encoded masked_text = towers.encode_text(words.ids_BL, lengths, masked);

    loss::ContrastInputs in{image.embedding_BD,
                            text.embedding_BD,
                            test::unit_rows({B, 8}, 24),
                            test::unit_rows({B, 8}, 25),
                            test::unit_rows({30, 8}, 26),
                            test::unit_rows({30, 8}, 27),
                            at::tensor({1, 1, 0, 1, 1, 1}, at::kFloat),
                            model.log_scale(),
                            {},
                            {}};
    const loss::ContrastLoss contrast = loss::contrast(in, {.normalizer = 5,
                                                            .instance_weight = 1,
                                                            .task_weight = 0.5,
                                                            .include_positive = true,
                                                            .stopgrad_target = false});

    const Tensor patch_pair = patch_mask.nonzero().select(1, 0),
                 word_pair = words.masked_BL.nonzero().select(1, 0);
    const Tensor u_image =
        heads.image_query(masked_image.states_BLd.narrow(1, 1, 16).index({patch_mask}),
                          heads.image_global(text.global_Bd).index_select(0, patch_pair));
    const Tensor u_text =
        heads.text_query(masked_text.states_BLd.index({words.masked_BL}),
                         heads.text_global(image.global_Bd).index_select(0, word_pair));
    const auto classify = [](const Tensor& u, const Linear& classifier, const Tensor& target) {
      return loss::masked_cross_entropy(u, classifier.weight, classifier.bias, target,
                                        at::scalar_tensor(target.numel(), at::kFloat));
    };
    return {contrast.total, classify(u_image, heads.image_classifier(), codes.index({patch_mask})),
            classify(u_text, heads.text_classifier(), ids.index({words.masked_BL}))};
  }
  Tensor total(const Cots& model) const {
    const Losses losses = (*this)(model);
    return losses.contrast + losses.cmvm + losses.cmlm;
  }
};

/// Moves each tensor along its gradient and back: finite differences must give the gradient's norm.
void check_gradients(const ModelConfig& config) {
  const Step step;
  Cots model(config, test::tiny_token(), 0.2, 1);
  test::enlarge_weights(model.parameters(), 0.25);
  step.total(model).backward();

  const c10::NoGradGuard no_grad;
  const auto value = [&] {
    const Losses losses = step(model);
    return losses.contrast.item<double>() + losses.cmvm.item<double>() + losses.cmlm.item<double>();
  };
  int64_t checked = 0;
  for (const Parameter& p : model.parameters().all()) {
    const Tensor gradient = p.value.grad().clone(), start = p.value.detach().clone(),
                 weight = p.value.detach();
    const double norm = gradient.norm().item<double>();
    // Along the gradient the loss moves by 2 * size * norm, well above float32's rounding of it.
    if (norm < 0.02) continue;
    const double size = std::min(0.02, 4e-3 / norm);
    weight.copy_(start + gradient * (size / norm));
    const double above = value();
    weight.copy_(start - gradient * (size / norm));
    const double below = value();
    weight.copy_(start);
    CHECK_MESSAGE(test::relative_error((above - below) / (2 * size), norm) < 0.002, p.name);
    ++checked;
  }
  CHECK(checked >= static_cast<int64_t>(model.parameters().all().size()) - 4);
}

}  // namespace

TEST_CASE("gradients of the whole loss equal finite differences, tensor by tensor") {
  check_gradients(test::tiny_model());
}

TEST_CASE("so do those of BEiT's variants") {
  ModelConfig config = test::tiny_model();
  config.image.layer_scale = config.image.relative_bias = config.image.pooled_norm = true;
  config.image.pool = Pool::kMean;
  check_gradients(config);
}

TEST_CASE("before training a masked token costs about ln V") {
  const Step step;
  const Cots model(test::tiny_model(), test::tiny_token(), 0.05, 1);
  const Losses losses = step(model);
  CHECK(test::relative_error(losses.cmvm.item<double>(), std::log(24.0)) < 0.05);
  CHECK(test::relative_error(losses.cmlm.item<double>(), std::log(40.0)) < 0.05);
}

TEST_CASE("every trained tensor gets a gradient from the three levels together") {
  const Step step;
  Cots model(test::tiny_model(), test::tiny_token(), 0.2, 1);
  test::enlarge_weights(model.parameters(), 0.25);
  step.total(model).backward();
  for (const Parameter& p : model.parameters().all())
    CHECK_MESSAGE(p.value.grad().abs().sum().item<double>() > 0, p.name);
}

TEST_CASE("gradients accumulate over micro-batches in the flat buffer") {
  const Step step;
  Cots model(test::tiny_model(), test::tiny_token(), 0.2, 1);
  test::enlarge_weights(model.parameters(), 0.25);
  step.total(model).backward();
  const Tensor once = model.parameters().flat_grad().clone();
  step.total(model).backward();
  CHECK(test::max_difference(model.parameters().flat_grad(), 2 * once) <
        1e-4 * once.abs().max().item<double>());
  CHECK(once.abs().max().item<double>() > 0);
}
