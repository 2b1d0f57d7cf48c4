#include "infer/cross_encoder.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "model/transformer.h"
#include "ops/keyed_random.h"

namespace cots {
namespace {

constexpr int64_t kSeed = 1;
const TextConfig kSizes;  // BERT-base

/// The blocks' parameters by the names that a plan asks for.
EncoderPlan make_blocks(Parameters& parameters) {
  const auto feed_forward =
      static_cast<int64_t>(static_cast<double>(kSizes.width) * kSizes.mlp_ratio);
  for (int64_t n = 0; n < kSizes.layers; ++n)
    Block({.width = kSizes.width,
           .heads = kSizes.heads,
           .feed_forward = feed_forward,
           .layer_norm_eps = kSizes.layer_norm_eps,
           .order = NormOrder::kPost},
          Scope(parameters, "blocks." + std::to_string(n)));
  Linear(Scope(parameters, ""), "head", kSizes.width, 1);
  return {ParameterWeights(parameters),
          "blocks.",
          {.width = kSizes.width,
           .layers = kSizes.layers,
           .heads = kSizes.heads,
           .feed_forward = feed_forward,
           .layer_norm_eps = kSizes.layer_norm_eps,
           .order = NormOrder::kPost,
           .activation = Activation::kGelu},
          Precision::kFloat32};
}

}  // namespace

CrossEncoder::CrossEncoder()
    : parameters_(kSeed),
      blocks_(make_blocks(parameters_)),
      head_(pack_linear(ParameterWeights(parameters_), "head", Precision::kFloat32)) {}

Tensor CrossEncoder::score(int64_t pairs, int64_t tokens) {
  const c10::InferenceMode inference;
  const int64_t d = kSizes.width, numbers = pairs * tokens * d;
  const Tensor random = ops::keyed_normal(kSeed, numbers);
  float* states = reserve(states_, numbers);
  states_.narrow(0, 0, numbers).copy_(random);
  std::vector<int64_t> starts(pairs + 1);
  for (int64_t pair = 0; pair <= pairs; ++pair) starts[pair] = pair * tokens;
  const float* cls = blocks_.run(states, starts, {starts.begin(), starts.end() - 1});
  Tensor scores = at::empty({pairs}, at::kFloat);
  head_.run({cls, d}, pairs, scores.mutable_data_ptr<float>(), 1);
  return scores;
}

}  // namespace cots
