// A model small enough for a test to train: two layers a tower, 3 x 3 patches, 50 words; and
// batches for it.
#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "infer/image_tokens.h"
#include "io/failure.h"
#include "train/trainer.h"

namespace tiny {

using at::Tensor;

inline double difference(const Tensor& a, const Tensor& b) {
  return (a - b).abs().max().item<double>();
}

/// What an action failed with, code first, or "no failure".
inline std::string failure_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const cots::Failure& failure) {
    return failure.code + " " + failure.what();
  }
  return "no failure";
}

inline bool says(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

/// A folder of its own, removed at the end.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "cots-test-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
};

inline cots::TrainConfig config() {
  cots::TrainConfig c;
  c.model.image = {.size = 24,
                   .patch = 8,
                   .width = 16,
                   .layers = 2,
                   .heads = 2,
                   .mlp_ratio = 2,
                   .drop_path = 0.2};
  c.model.text = {.width = 16,
                  .layers = 2,
                  .heads = 2,
                  .mlp_ratio = 2,
                  .vocab_size = 50,
                  .max_positions = 12,
                  .dropout = 0.1};
  c.model.embed_dim = 8;
  c.token.vocab = 32;
  c.token.mask_id = 4;
  c.token.mask_text_ratio = 0.3;
  c.queue.size = 20;
  c.filter.k = 1;
  c.filter.min_valid = 20;
  c.ema_m = 0.9;
  c.seed = 7;
  c.optimizer = {
      .lr = 2e-3, .warmup_steps = 4, .warmup_from = 1e-4, .min_lr = 1e-4, .total_steps = 100};
  return c;
}

inline cots::TokenizerConfig tokenizer_config() {
  return {.arch = cots::TokenizerArch::kSmall,
          .vocab = 32,
          .hidden = 8,
          .codebook_dim = 8,
          .blocks = 1,
          .pixels = cots::PixelRule::kMeanStdHalf};
}

inline std::shared_ptr<const cots::ImageTokenizer> tokenizer() {
  return cots::load_image_tokenizer(tokenizer_config(), "", /*with_decoder=*/false);
}

/// `pairs` pairs of random images and texts of 4 to 10 tokens, the same for the same `first`
/// sample.
inline cots::Batch batch(int64_t first, int64_t pairs = 6) {
  at::Generator generator =
      at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(1000 + first));
  const auto bytes = [&](at::IntArrayRef shape) {
    return at::randint(0, 256, shape, generator, at::kByte);
  };
  cots::Batch b;
  b.image_NSS3 = bytes({pairs, 24, 24, 3});
  b.token_view_NVV3 = b.image_NSS3;
  b.lengths_B = at::randint(4, 11, {pairs}, generator, at::kLong);
  const Tensor place = at::arange(10, at::kLong);
  Tensor ids = at::randint(5, 50, {pairs, 10}, generator, at::kLong);
  ids = at::where(place.eq(0), 2, ids);
  ids = at::where(place.eq((b.lengths_B - 1).unsqueeze(1)), 3, ids);
  b.ids_BL = at::where(place.ge(b.lengths_B.unsqueeze(1)), 0, ids);
  b.sample_B = at::arange(first, first + pairs, at::kLong);
  b.image_id_B = b.sample_B.clone();
  return b;
}

/// Batch number `step` of a run that goes over the same 30 pairs again and again.
inline cots::Batch batch_of_run(int64_t step, int64_t pairs = 6) {
  cots::Batch b = batch(step % 5 * pairs, pairs);
  b.sample_B = at::arange(step * pairs, (step + 1) * pairs, at::kLong);
  return b;
}

/// Everything that a step changes, as one vector.
inline Tensor everything(cots::Trainer& trainer) {
  std::vector<Tensor> parts = {trainer.model().parameters().flat().to(at::kDouble),
                               trainer.momentum().parameters().flat().to(at::kDouble)};
  for (const auto& [name, tensor] : trainer.queue().state())
    parts.push_back(tensor.to(at::kDouble).flatten());
  for (const auto& [name, tensor] : trainer.optimizer().state())
    parts.push_back(tensor.to(at::kDouble).flatten());
  return at::cat(parts);
}

}  // namespace tiny
