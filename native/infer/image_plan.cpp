#include "infer/image_plan.h"

#include <ATen/ATen.h>

#include "infer/kernels/tasks.h"
#include "infer/pooled_rows.h"
#include "model/relative_bias.h"

namespace cots {
namespace {

EncoderShape shape_of(const VisionConfig& config) {
  return {
      .width = config.width,
      .layers = config.layers,
      .heads = config.heads,
      .feed_forward = static_cast<int64_t>(static_cast<double>(config.width) * config.mlp_ratio),
      .layer_norm_eps = config.layer_norm_eps,
      .order = NormOrder::kPre,
      .activation = config.activation,
      .relative_index_LL = config.relative_bias ? relative_index(config.grid()) : Tensor()};
}

/// A convolution whose stride is its kernel is one matrix product over the cut-out patches.
kernels::PackedLinear pack_patches(const WeightSource& weights, Precision precision) {
  return {weights.weight("visual.patch.weight").flatten(1), weights.weight("visual.patch.bias"),
          storage_of(precision)};
}

/// The 256 values that a channel can take: (x / 255 - mean) / std, rounded as a float32 computation
/// of a whole image would.
std::vector<float> levels_of(double mean, double std) {
  const Tensor unit = at::arange(256, at::kFloat).div(255);
  const Tensor level = unit.sub(static_cast<float>(mean)).div(static_cast<float>(std));
  const float* data = level.const_data_ptr<float>();
  return {data, data + 256};
}

}  // namespace

ImagePlan::ImagePlan(const ModelConfig& config, const WeightSource& weights, Precision precision)
    : config_(config),
      cls_token_(weights.weight("visual.cls_token")),
      pos_embed_(weights.weight("visual.pos_embed")),
      patch_(pack_patches(weights, precision)),
      norm_(weights, "visual.norm", config.image.layer_norm_eps),
      blocks_(weights, "visual.blocks.", shape_of(config.image), precision) {
  if (config.has_projection()) proj_ = pack_linear(weights, "visual.proj", precision);
  if (config.image.input_norm)
    ln_pre_ = PlannedNorm(weights, "visual.ln_pre", config.image.layer_norm_eps);
}

void ImagePlan::run(const Tensor& images_BSS3, const double (&mean)[3], const double (&std)[3],
                    float* out) {
  const VisionConfig& image = config_.image;
  const int64_t B = images_BSS3.size(0), P = image.patches(), L = 1 + P, d = image.width;
  float *cut = reserve(cut_, B * P * patch_.in()), *x = reserve(x_, B * L * d),
        *pooled = reserve(pooled_, B * d);
  cut_patches(images_BSS3, mean, std, cut);
  embed_patches(B, cut, x);
  if (image.input_norm) ln_pre_.run({x, d}, B * L, x);

  std::vector<int64_t> starts(B + 1);
  for (int64_t b = 0; b <= B; ++b) starts[b] = b * L;
  const bool cls = image.pool == Pool::kCls;
  const std::vector<int64_t> first_rows(starts.begin(), starts.end() - 1);
  const float* states = blocks_.run(x, starts, cls ? first_rows : std::vector<int64_t>());
  if (cls) {
    norm_.run({states, d}, B, pooled);
  } else {
    if (!image.pooled_norm) norm_.run({states, d}, B * L, x);
    mean_rows(x, starts, /*skip=*/1, d, pooled);
    if (image.pooled_norm) norm_.run({pooled, d}, B, pooled);
  }
  project_to_unit(proj_, pooled, B, d, out);
}

/// uint8 [B, S, S, 3] -> normalized f32 [B P, 3 p p], a patch a row in the order (channel, y, x).
void ImagePlan::cut_patches(const Tensor& images_BSS3, const double (&mean)[3],
                            const double (&std)[3], float* cut) const {
  const int64_t B = images_BSS3.size(0), S = config_.image.size, p = config_.image.patch, g = S / p;
  const uint8_t* pixels = images_BSS3.const_data_ptr<uint8_t>();
  std::vector<float> levels[3];
  for (int c = 0; c < 3; ++c) levels[c] = levels_of(mean[c], std[c]);
  kernels::for_each_task(B * g, [&](int64_t task) {  // a row of patches
    const int64_t image = task / g, top = task % g * p;
    for (int64_t column = 0; column < g; ++column) {
      float* patch = cut + (task * g + column) * 3 * p * p;
      for (int64_t y = 0; y < p; ++y) {
        const uint8_t* from = pixels + ((image * S + top + y) * S + column * p) * 3;
        for (int64_t x = 0; x < p; ++x)
          for (int c = 0; c < 3; ++c) patch[(c * p + y) * p + x] = levels[c][from[3 * x + c]];
      }
    }
  });
}

/// x[b] = [cls; patches W^T + bias] + pos_embed.
void ImagePlan::embed_patches(int64_t B, const float* cut, float* x) const {
  const int64_t P = config_.image.patches(), L = 1 + P, d = config_.image.width, k = patch_.in();
  const float *cls = cls_token_.const_data_ptr<float>(), *pos = pos_embed_.const_data_ptr<float>();
  for (int64_t b = 0; b < B; ++b, x += L * d, cut += P * k) {
    for (int64_t i = 0; i < d; ++i) x[i] = cls[i] + pos[i];
    patch_.run({cut, k}, P, x + d, d, {.residual = pos + d, .residual_stride = d});
  }
}

}  // namespace cots
