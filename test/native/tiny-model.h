// A model small enough for the native tests, and the few comparisons they share.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "model/cots.h"
#include "ops/keyed_random.h"

namespace cots::test {

/// 4 x 4 patches of 4 pixels, two layers a tower, width 16, D 8.
inline ModelConfig tiny_model() {
  ModelConfig config;
  config.image = {.size = 16,
                  .patch = 4,
                  .width = 16,
                  .layers = 2,
                  .heads = 2,
                  .mlp_ratio = 2,
                  .drop_path = 0.5};
  config.text = {.width = 16,
                 .layers = 2,
                 .heads = 2,
                 .mlp_ratio = 2,
                 .vocab_size = 40,
                 .max_positions = 12,
                 .dropout = 0.3};
  config.embed_dim = 8;
  return config;
}

/// The sorts of tower: BERT and ViT; means of odd sizes without a projection; CLIP; BEiT.
inline std::vector<ModelConfig> tower_variants() {
  std::vector<ModelConfig> all(4, tiny_model());
  all[1].image.pool = all[1].text.pool = Pool::kMean;
  all[1].embed_dim = 0;
  all[1].image.width = 24, all[1].text.width = 40, all[1].image.heads = all[1].text.heads = 4;
  ModelConfig& clip = all[2];
  clip.image.input_norm = true;
  clip.image.activation = clip.text.activation = Activation::kQuickGelu;
  clip.text.norm = NormOrder::kPre;
  clip.text.causal = true;
  clip.text.pool = Pool::kLast;
  ModelConfig& beit = all[3];
  beit.image.layer_scale = beit.image.relative_bias = beit.image.pooled_norm = true;
  beit.image.pool = Pool::kMean;
  beit.image.layers = 1;
  return all;
}

inline TokenConfig tiny_token() {
  TokenConfig config;
  config.vocab = 24;
  return config;
}

/// Standard normal numbers that depend on `key` alone.
inline Tensor normal(at::IntArrayRef shape, int64_t key) {
  return ops::keyed_normal(key, c10::multiply_integers(shape)).view(shape);
}

inline Tensor unit_rows(at::IntArrayRef shape, int64_t key) {
  const Tensor x = normal(shape, key);
  return x / x.norm(2, -1, true);
}

inline double max_difference(const Tensor& a, const Tensor& b) {
  return (a.detach().to(at::kDouble) - b.detach().to(at::kDouble)).abs().max().item<double>();
}

/// |value - expected| / |expected|. doctest::Approx adds 1 to the scale of its tolerance: useless
/// below 1.
inline double relative_error(double value, double expected) {
  return std::abs(value - expected) / std::abs(expected);
}

/// Replaces the small initial weights by ones at which every part of the network matters.
inline void enlarge_weights(Parameters& parameters, double std) {
  int64_t key = 1000;
  for (const Parameter& p : parameters.all()) {
    if (p.name == "loss.logit_scale") continue;
    const bool is_norm_weight = p.value.dim() == 1 && p.name.ends_with("weight");
    p.value.detach().copy_(normal(p.value.sizes(), ++key) * std + (is_norm_weight ? 1 : 0));
  }
}

}  // namespace cots::test
