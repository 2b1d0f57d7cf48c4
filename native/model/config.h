// Sizes and constants of a COTS model. The defaults are the constants of SPEC 2.1;
// lib/config/schema.ts holds the user's defaults, and a test compares the two.
#pragma once

#include <cstdint>
#include <string>

namespace cots {

enum class Pool { kCls, kMean };

/// ViT (Dosovitskiy et al. 2021): pre-LN, CLS token, absolute positions, exact-erf GELU.
struct VisionConfig {
  int64_t size = 384;   // pixels a side
  int64_t patch = 16;   // pixels a side
  int64_t width = 768;  // d
  int64_t layers = 12;
  int64_t heads = 12;
  double mlp_ratio = 4.0;
  double drop_path = 0.1;        // training only; linear over depth, 0 at the first block
  double layer_norm_eps = 1e-6;  // timm/unilm; Hugging Face configs carry their own

  int64_t grid() const { return size / patch; }
  int64_t patches() const { return grid() * grid(); }
};

/// BERT (Devlin et al. 2019): post-LN, learned positions, hidden dropout only (DESIGN 2.7).
struct TextConfig {
  int64_t width = 768;
  int64_t layers = 12;
  int64_t heads = 12;
  double mlp_ratio = 4.0;
  int64_t vocab_size = 30522;
  int64_t max_positions = 512;
  double dropout = 0.1;
  double layer_norm_eps = 1e-12;
};

enum class Fusion { kAdd, kConcat, kNone };              // token.fusion
enum class GlobalSource { kHidden, kEmbed, kMomentum };  // token.globalSource
enum class ImageHead { kMlp, kBare };                    // token.headImage
enum class Passes { kSeparate, kShared };                // token.passes

/// Masked vision-language modelling (SPEC 2.3).
struct TokenConfig {
  double mask_image_ratio = 0.40;
  bool mask_image_block = true;   // blockwise (BEiT), else uniformly random patches
  bool mask_image_exact = false;  // top up with random patches to exactly round(ratio * P)
  double mask_text_ratio = 0.15;
  int64_t mask_id = 103;  // of the vocabulary in use
  Passes passes = Passes::kSeparate;
  GlobalSource global_source = GlobalSource::kHidden;
  Fusion fusion = Fusion::kAdd;
  ImageHead head_image = ImageHead::kMlp;
  int64_t vocab = 8192;  // codes of the image tokenizer
};

struct ModelConfig {
  VisionConfig image;
  TextConfig text;
  Pool pool = Pool::kCls;
  int64_t embed_dim = 256;  // D; 0 = no projection, the embedding is the pooled state

  bool has_projection() const { return embed_dim > 0; }
};

}  // namespace cots
