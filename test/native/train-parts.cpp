// What the trainer is made of: schedule, optimizer, the tokenizer's trainer; and the embedder that
// reads its weights.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "infer/embedder.h"
#include "io/failure.h"
#include "ops/adamw.h"
#include "tiny-trainer.h"
#include "train/layer_decay.h"
#include "train/schedule.h"
#include "train/tokenizer_trainer.h"

using at::Tensor;
using tiny::difference;
using tiny::failure_of;
using tiny::says;

TEST_CASE("schedule: warm-up from the first step, cosine to the last") {
  const cots::OptimizerConfig c{
      .lr = 1, .warmup_steps = 10, .warmup_from = 0.1, .min_lr = 0.2, .total_steps = 110};
  CHECK(cots::learning_rate(c, 1) == doctest::Approx(0.1));
  CHECK(cots::learning_rate(c, 6) == doctest::Approx(0.55));
  CHECK(cots::learning_rate(c, 11) == doctest::Approx(1.0));
  CHECK(cots::learning_rate(c, 61) == doctest::Approx(0.6));
  CHECK(cots::learning_rate(c, 111) == doctest::Approx(0.2));
  CHECK(cots::learning_rate(c, 1000) == doctest::Approx(0.2));
  const cots::LossConfig l{.weight_task = 2, .task_warmup_steps = 4};
  CHECK(cots::task_weight(l, 1) == 0);
  CHECK(cots::task_weight(l, 3) == doctest::Approx(1));
  CHECK(cots::task_weight(l, 50) == doctest::Approx(2));
  CHECK(cots::task_weight({.weight_task = 2}, 1) == doctest::Approx(2));
}

TEST_CASE("optimizer: norm and clipping") {
  cots::Parameters parameters(1);
  parameters.add("w.weight", {300, 500}, cots::Init::normal(1), true);
  parameters.flatten(true);
  cots::Optimizer optimizer(parameters, {.clip_grad = 1}, {1});
  const_cast<Tensor&>(parameters.flat_grad()).normal_();
  const double norm = parameters.flat_grad().to(at::kDouble).norm().item<double>();
  CHECK(optimizer.grad_norm() == doctest::Approx(norm).epsilon(1e-12));
  // The first moment after one step is (1 - beta1) times the clipped gradient.
  const Tensor grad = parameters.flat_grad().clone();
  optimizer.step(1e-3, norm);
  CHECK(difference(optimizer.state()[0].second, grad / norm * 0.1) < 1e-7);
}

TEST_CASE("optimizer: decay and rate of each parameter, across any cut of the flat buffer") {
  cots::Parameters parameters(1);
  const std::pair<const char*, std::vector<int64_t>> shapes[] = {
      {"a.weight", {1500, 1000}}, {"a.bias", {3}}, {"b.bias", {5}}, {"c.weight", {7, 2}}};
  for (const auto& [name, shape] : shapes)
    parameters.add(name, shape, cots::Init::normal(1), shape.size() > 1);
  parameters.flatten(true);
  const_cast<Tensor&>(parameters.flat_grad()).normal_();
  Tensor wanted = parameters.flat().clone(), first = at::zeros_like(wanted),
         second = at::zeros_like(wanted);
  const Tensor decayed = at::cat({at::ones({1500 * 1000}), at::zeros({3 + 5}), at::ones({7 * 2})});
  const int64_t slow = 1500 * 1000 + 3;  // scalars of the first two parameters
  cots::Optimizer optimizer(parameters, {.weight_decay = 0.5, .clip_grad = 0}, {0.5, 0.5, 1, 1});
  for (int64_t step = 1; step <= 2; ++step) {
    optimizer.step(1e-2, 1);
    for (const auto& [begin, count, lr] :
         {std::tuple{int64_t{0}, slow, 5e-3}, {slow, wanted.numel() - slow, 1e-2}}) {
      const auto part = [&](const Tensor& t) { return t.narrow(0, begin, count); };
      cots::ops::adamw_composite_(part(wanted), part(parameters.flat_grad()), part(first),
                                  part(second), part(decayed),
                                  {.lr = lr,
                                   .beta1 = 0.9,
                                   .beta2 = 0.999,
                                   .eps = 1e-8,
                                   .weight_decay = 0.5,
                                   .step = step,
                                   .grad_scale = 1});
    }
  }
  CHECK(difference(parameters.flat(), wanted) < 1e-6);
  CHECK(optimizer.updates() == 2);
}

TEST_CASE("tokenizer trainer: the loss falls, the figures keep their ranges") {
  cots::TokenizerTrainConfig config;
  config.tokenizer = tiny::tokenizer_config();
  config.optimizer = {.lr = 3e-3,
                      .weight_decay = 0,
                      .clip_grad = 0,
                      .warmup_steps = 0,
                      .min_lr = 3e-3,
                      .total_steps = 60};
  config.temperature_rate = 0.01;
  cots::TokenizerTrainer trainer(config);
  cots::Batch batch = tiny::batch(0, 8);
  batch.image_NSS3 = batch.image_NSS3.narrow(1, 0, 1)
                         .narrow(2, 0, 1)
                         .expand({8, 24, 24, 3})
                         .contiguous();  // one color an image
  cots::TokenizerMetrics first, last;
  for (int step = 0; step < 60; ++step) {
    last = trainer.step(batch.image_NSS3, batch.sample_B);
    if (step == 0) first = last;
    CHECK(last.perplexity >= 1);
    CHECK(last.perplexity <= 32.001);
    CHECK(last.dead_codes >= 0);
    CHECK(last.unigram_entropy <= std::log(32.0) + 1e-6);
    CHECK(last.kl >= -1e-5);
  }
  CHECK(last.reconstruction < 0.9 * first.reconstruction);
  CHECK(first.temperature == 1);
  CHECK(last.temperature == doctest::Approx(std::exp(-0.59)));
  const auto [hard, soft] = trainer.evaluate(batch.image_NSS3);
  CHECK(hard > 0);
  CHECK(soft > 0);
  CHECK(hard < 0.5);

  const tiny::Folder folder;
  trainer.save(folder.file("dvae.safetensors"));
  const auto frozen =
      cots::load_image_tokenizer(config.tokenizer, folder.file("dvae.safetensors"), false);
  CHECK(at::equal(cots::image_tokens(*frozen, batch.image_NSS3),
                  cots::image_tokens(trainer.tokenizer(), batch.image_NSS3)));
}

TEST_CASE("tokenizer trainer: a gradient that is not finite is told, and changes no weight") {
  cots::TokenizerTrainConfig config;
  config.tokenizer = tiny::tokenizer_config();
  cots::TokenizerTrainer trainer(config);
  const cots::Batch batch = tiny::batch(0);
  CHECK(!trainer.step(batch.image_NSS3, batch.sample_B).skipped);
  // Activations so small and weights so large that only the way back overflows.
  cots::Parameters& parameters = trainer.tokenizer().parameters();
  parameters.find("decoder.up.2.weight")->value.detach().mul_(1e-14);
  parameters.find("decoder.up.2.bias")->value.detach().zero_();
  parameters.find("decoder.output.weight")->value.detach().fill_(1e30);
  const Tensor before = parameters.flat().clone();
  const cots::TokenizerMetrics m = trainer.step(batch.image_NSS3, batch.sample_B);
  REQUIRE(std::isfinite(m.loss));
  REQUIRE(!std::isfinite(m.grad_norm));
  CHECK(m.skipped);
  CHECK(at::equal(parameters.flat(), before));
}

TEST_CASE("tokenizer trainer: logit-Laplace trains the openai network") {
  cots::TokenizerTrainConfig config;
  config.tokenizer = {.arch = cots::TokenizerArch::kOpenAi,
                      .vocab = 16,
                      .hidden = 8,
                      .codebook_dim = 8,
                      .blocks = 1};
  config.reconstruction = cots::Reconstruction::kLogitLaplace;
  config.optimizer = {.lr = 3e-3,
                      .weight_decay = 0,
                      .clip_grad = 0,
                      .warmup_steps = 0,
                      .min_lr = 3e-3,
                      .total_steps = 40};
  config.temperature_min = 1.0 / 16;
  cots::TokenizerTrainer trainer(config);
  const cots::Batch batch = tiny::batch(0, 4);
  const cots::TokenizerMetrics first = trainer.step(batch.image_NSS3, batch.sample_B);
  cots::TokenizerMetrics last;
  for (int step = 1; step < 40; ++step) last = trainer.step(batch.image_NSS3, batch.sample_B);
  CHECK(last.reconstruction < first.reconstruction);
  CHECK(first.temperature == 1);
  CHECK(last.temperature < 0.07);  // cosine to 1 / 16
  config.reconstruction = cots::Reconstruction::kMse;
  CHECK_THROWS_AS(cots::TokenizerTrainer{config}, c10::Error);
}

TEST_CASE("weights: a file that does not fit is refused before memory is taken for the network") {
  // Networks whose layers no machine holds: allocated first, they would fail for want of memory.
  cots::ModelConfig model = tiny::config().model;
  model.image = {.size = 2, .patch = 1, .width = 1 << 22, .layers = 2, .heads = 1};
  CHECK(says(failure_of([&] { cots::Embedder::load(model, "/none/model.safetensors"); }),
             "ERR_COTS_FILE"));
  const tiny::Folder folder;
  const std::string file = folder.file("any.safetensors");
  cots::Embedder(tiny::config().model, std::nullopt).save(file);
  CHECK(says(failure_of([&] { cots::Embedder::load(model, file); }), "'visual.cls_token'"));
  cots::TokenizerConfig tokenizer = tiny::tokenizer_config();
  tokenizer.hidden = 1 << 21;
  CHECK(says(failure_of([&] { cots::load_image_tokenizer(tokenizer, file, false); }),
             "'encoder.down.0.weight'"));
}

TEST_CASE("embedder: order kept, rows independent of their batch, weights through a file") {
  const cots::ModelConfig model = tiny::config().model;
  cots::Embedder embedder(model, 3);
  const cots::Batch batch = tiny::batch(0, 40);
  const double mean[3] = {0.5, 0.5, 0.5}, std[3] = {0.5, 0.5, 0.5};
  const Tensor texts = embedder.embed_texts(batch.ids_BL, batch.lengths_B),
               images = embedder.embed_images(batch.image_NSS3, mean, std);
  CHECK(texts.sizes() == at::IntArrayRef({40, 8}));
  CHECK(difference(texts.norm(2, 1), at::ones({40})) < 1e-5);
  for (int64_t row = 0; row < 40; row += 7) {
    const Tensor text =
        embedder.embed_texts(batch.ids_BL.narrow(0, row, 1), batch.lengths_B.narrow(0, row, 1));
    const Tensor image = embedder.embed_images(batch.image_NSS3.narrow(0, row, 1), mean, std);
    CHECK(difference(text, texts.narrow(0, row, 1)) < 1e-5);
    CHECK(difference(image, images.narrow(0, row, 1)) < 1e-5);
  }
  CHECK(
      embedder.embed_texts(batch.ids_BL.narrow(0, 0, 0), batch.lengths_B.narrow(0, 0, 0)).sizes() ==
      at::IntArrayRef({0, 8}));
  CHECK(embedder.embed_images(batch.image_NSS3.narrow(0, 0, 0), mean, std).sizes() ==
        at::IntArrayRef({0, 8}));

  const tiny::Folder folder;
  embedder.save(folder.file("model.safetensors"));
  const auto loaded = cots::Embedder::load(model, folder.file("model.safetensors"));
  CHECK(at::equal(loaded->embed_texts(batch.ids_BL, batch.lengths_B), texts));
  cots::ModelConfig wider = model;
  wider.embed_dim = 16;
  const std::string message =
      failure_of([&] { cots::Embedder::load(wider, folder.file("model.safetensors")); });
  CHECK(says(message, "'visual.proj.weight'"));
  CHECK(says(message, "[16, 16]"));
  CHECK(says(message, "[8, 16]"));
}

TEST_CASE("layer-wise rates: embeddings lowest, projections, heads and temperature whole") {
  cots::Parameters parameters(std::nullopt);
  const std::pair<const char*, double> wanted[] = {{"visual.pos_embed", 1. / 8},
                                                   {"visual.patch.weight", 1. / 8},
                                                   {"visual.blocks.0.qkv.weight", 1. / 4},
                                                   {"visual.blocks.1.fc2.bias", 1. / 2},
                                                   {"visual.norm.weight", 1},
                                                   {"visual.proj.weight", 1},
                                                   {"text.embed.word.weight", 1. / 4},
                                                   {"text.embed.ln.bias", 1. / 4},
                                                   {"text.blocks.0.ln2.weight", 1. / 2},
                                                   {"text.proj.bias", 1},
                                                   {"cmvm.dense.weight", 1},
                                                   {"cmlm.bias", 1},
                                                   {"loss.logit_scale", 1}};
  for (const auto& [name, scale] : wanted) parameters.add(name, {2}, cots::Init::zeros(), true);
  const std::vector<double> scales = cots::layer_scales(parameters, 0.5);
  for (size_t i = 0; i < scales.size(); ++i) {
    CAPTURE(wanted[i].first);
    CHECK(scales[i] == wanted[i].second);
  }
  for (const double scale : cots::layer_scales(parameters, 1)) CHECK(scale == 1);
}
