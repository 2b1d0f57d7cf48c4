#include "model/vision.h"

#include <ATen/ATen.h>

#include <cmath>

namespace cots {
namespace {

constexpr double kTokenStd = 0.02;

}  // namespace

Vision::Vision(const VisionConfig& config, const Scope& scope)
    : config_(config),
      cls_token_(
          scope.add("cls_token", {1, 1, config.width}, Init::truncated_normal(kTokenStd), false)),
      mask_token_(
          scope.add("mask_token", {1, 1, config.width}, Init::truncated_normal(kTokenStd), false)),
      pos_embed_(scope.add("pos_embed", {1, 1 + config.patches(), config.width},
                           Init::truncated_normal(kTokenStd), false)),
      patch_weight_(scope.add("patch.weight", {config.width, 3, config.patch, config.patch},
                              Init::weight(), true)),
      patch_bias_(scope.add("patch.bias", {config.width}, Init::zeros(), false)) {
  TORCH_CHECK(config.size % config.patch == 0,
              "Expected an image size that is a multiple of the patch (", config.patch,
              " pixels), got ", config.size, ".");
  if (config.input_norm) ln_pre_ = LayerNorm(scope, "ln_pre", config.width, config.layer_norm_eps);
  const Tensor relative_index_LL = config.relative_bias ? relative_index(config.grid()) : Tensor();
  for (int64_t n = 0; n < config.layers; ++n) {
    const double depth =
        config.layers > 1 ? static_cast<double>(n) / static_cast<double>(config.layers - 1) : 0;
    const BlockConfig block = {
        .width = config.width,
        .heads = config.heads,
        .feed_forward = static_cast<int64_t>(static_cast<double>(config.width) * config.mlp_ratio),
        .layer_norm_eps = config.layer_norm_eps,
        .order = NormOrder::kPre,
        .activation = config.activation,
        .layer_scale = config.layer_scale,
        .relative_index_LL = relative_index_LL,
        .branch_gain = 1 / std::sqrt(2.0 * static_cast<double>(config.layers)),
        .drop_path = config.drop_path * depth,
        .checkpointing = config.checkpointing,
        .site = kVisionBlockSite + n * kSitesPerBlock};
    blocks_.emplace_back(block, scope.child("blocks." + std::to_string(n)));
  }
  norm_ = LayerNorm(scope, "norm", config.width, config.layer_norm_eps);
}

Tensor Vision::forward(const Tensor& pixels_BCHW, const Tensor& mask_BP, const Regularization& reg,
                       Rows rows, AttentionProbe* probe) const {
  const int64_t B = pixels_BCHW.size(0);
  const bool casts = config_.compute != at::ScalarType::Undefined;
  Tensor patches_BPd = embed_patches(casts ? pixels_BCHW.to(config_.compute) : pixels_BCHW);
  const auto type = patches_BPd.scalar_type();
  if (mask_BP.defined())
    patches_BPd = at::where(mask_BP.unsqueeze(-1), mask_token_.to(type), patches_BPd);
  Tensor x_BLd =
      at::cat({cls_token_.to(type).expand({B, -1, -1}), patches_BPd}, 1) + pos_embed_.to(type);
  if (config_.input_norm) x_BLd = ln_pre_(x_BLd);
  Sequences sequences = Sequences::even(B, x_BLd.size(1));
  sequences.probe = probe;
  const Tensor states_Md = run_blocks(blocks_, x_BLd.flatten(0, 1), sequences, reg, rows);
  return (config_.pooled_norm ? states_Md : norm_(states_Md)).unflatten(0, {B, -1});
}

Tensor Vision::pool(const Tensor& states_BLd) const {
  const Tensor pooled_Bd = config_.pool == Pool::kCls
                               ? states_BLd.select(1, 0)
                               : states_BLd.narrow(1, 1, config_.patches()).mean(1);
  return config_.pooled_norm ? norm_(pooled_Bd) : pooled_Bd;
}

/// A convolution whose stride is its kernel is one matrix product over the cut-out patches.
Tensor Vision::embed_patches(const Tensor& pixels_BCHW) const {
  const int64_t B = pixels_BCHW.size(0), g = config_.grid(), p = config_.patch;
  TORCH_CHECK(pixels_BCHW.dim() == 4 && pixels_BCHW.size(1) == 3 &&
                  pixels_BCHW.size(2) == config_.size && pixels_BCHW.size(3) == config_.size,
              "Expected pixels of shape [B, 3, ", config_.size, ", ", config_.size, "], got ",
              pixels_BCHW.sizes(), ".");
  const Tensor cut_BPk = pixels_BCHW.reshape({B, 3, g, p, g, p})
                             .permute({0, 2, 4, 1, 3, 5})
                             .reshape({B, g * g, 3 * p * p});
  return ops::linear({.x_MK = cut_BPk,
                      .weight_NK = patch_weight_.view({config_.width, 3 * p * p}),
                      .bias_N = patch_bias_});
}

}  // namespace cots
