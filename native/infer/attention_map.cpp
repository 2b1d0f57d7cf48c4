// Legend: H heads, L tokens: CLS and P patches, d width, D embedding.
#include "infer/attention_map.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "io/failure.h"
#include "model/attention_probe.h"

namespace cots {
namespace {

ModelConfig image_alone(ModelConfig config) {
  config.towers = TowerSet::kImage;
  return config;
}

/// What the pooled state has of each patch: of its CLS row, or of the patches' rows on average.
Tensor pooled_row(const Tensor& matrix_LL, Pool pool) {
  const int64_t P = matrix_LL.size(1) - 1;
  return pool == Pool::kCls ? matrix_LL.select(0, 0).narrow(0, 1, P)
                            : matrix_LL.narrow(0, 1, P).narrow(1, 1, P).mean(0);
}

/// Attention that raises the score, followed from layer to layer.
Tensor relevance(const AttentionProbe& probe, const std::vector<Tensor>& gradients) {
  const int64_t L = probe.probabilities().front().size(2);
  Tensor relevance_LL = at::eye(L);
  for (size_t layer = 0; layer < gradients.size(); ++layer) {
    const Tensor raising_HLL =
        (gradients[layer] * probe.probabilities()[layer].detach()).clamp_min(0).select(0, 0);
    relevance_LL = relevance_LL + raising_HLL.mean(0).matmul(relevance_LL);
  }
  return relevance_LL;
}

Tensor to_unit_range(const Tensor& map_P) {
  const Tensor least = map_P.min(), range = map_P.max() - least;
  return at::where(range > 0, (map_P - least) / range, 0);
}

}  // namespace

AttentionMapper::AttentionMapper(const ModelConfig& config,
                                 const std::function<Tensor(const std::string&)>& weight)
    : config_(image_alone(config)),
      parameters_(std::nullopt),
      towers_(config_, Scope(parameters_, "visual"), Scope(parameters_, "text")) {
  parameters_.flatten(/*requires_grad=*/false);
  for (const Parameter& parameter : parameters_.all())
    if (const Tensor value = weight(parameter.name); value.defined()) parameter.value.copy_(value);
}

AttentionMap AttentionMapper::map(const Tensor& pixels_1CHW, const Tensor& text_D,
                                  const MapOptions& options) const {
  const int64_t layers = config_.image.layers;
  const Pool pool = config_.image.pool;
  const bool relevancy = options.method == MapMethod::kRelevancy;
  const int64_t start = relevancy && options.start_layer >= 0 ? options.start_layer : layers - 1;
  if (start >= layers)
    throw Failure("ERR_COTS_OPTION", "Expected `startLayer` below the image tower's " +
                                         std::to_string(layers) + " layers, got " +
                                         std::to_string(start) + ".");
  const at::AutoGradMode recorded(relevancy);
  AttentionProbe probe(start);
  const Encoded image = towers_.encode_image(pixels_1CHW, {}, {}, Need::kAll, &probe);
  const Tensor score = image.embedding_BD.select(0, 0).dot(text_D);
  AttentionMap result{.map_P = {}, .score = score.item<double>()};
  switch (options.method) {
    case MapMethod::kRelevancy:
      result.map_P =
          pooled_row(relevance(probe, torch::autograd::grad({score}, probe.probabilities())), pool);
      break;
    case MapMethod::kPatchSimilarity:
      result.map_P = towers_.project_image(image.states_BLd.select(0, 0))
                         .narrow(0, 1, config_.image.patches())
                         .mv(text_D);
      break;
    case MapMethod::kLastAttention:
      result.map_P = pooled_row(probe.probabilities().back().select(0, 0).mean(0), pool);
      break;
  }
  result.map_P = to_unit_range(result.map_P.detach());
  return result;
}

}  // namespace cots
