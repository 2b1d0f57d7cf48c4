// The image tower: ViT, with the variants of BEiT and CLIP as data (VisionConfig). Legend: B batch,
// P patches, L = 1 + P tokens, d width.
#pragma once

#include <vector>

#include "model/config.h"
#include "model/transformer.h"

namespace cots {

class Vision {
 public:
  /// Registers cls_token, mask_token, pos_embed, patch, ln_pre if the config has it, blocks.N, norm
  /// under `scope` ("visual" or "visual_m").
  Vision(const VisionConfig& config, const Scope& scope);

  /// pixels_BCHW normalized, in the number type to compute in. mask_BP bool, true where the patch
  /// embedding is replaced by mask_token before the position is added (SPEC 2.3); undefined =
  /// clean. Returns the states after the final norm (before it with pooled_norm), [B, 1 + P, d],
  /// row 0 CLS; with Rows::kFirst only that row, [B, 1, d]. `probe`: with Rows::kAll, keeps what
  /// the layers attend to.
  Tensor forward(const Tensor& pixels_BCHW, const Tensor& mask_BP, const Regularization& reg,
                 Rows rows = Rows::kAll, AttentionProbe* probe = nullptr) const;

  /// The global state [B, d] of the states that forward() returned.
  Tensor pool(const Tensor& states_BLd) const;
  /// The rows of forward() that pool() reads.
  Rows pooled_rows() const { return config_.pool == Pool::kCls ? Rows::kFirst : Rows::kAll; }

  const VisionConfig& config() const { return config_; }

 private:
  Tensor embed_patches(const Tensor& pixels_BCHW) const;
  VisionConfig config_;
  Tensor cls_token_, mask_token_, pos_embed_, patch_weight_, patch_bias_;
  LayerNorm ln_pre_;
  std::vector<Block> blocks_;
  LayerNorm norm_;
};

}  // namespace cots
