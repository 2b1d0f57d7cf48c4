// Sizes and constants of a COTS model. The defaults are the constants of SPEC 2.1;
// lib/config/schema.ts holds the user's defaults, and a test compares the two.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>

namespace cots {

/// Global state of a tower: the CLS row, the mean over patches (over tokens that are no padding),
/// or the row of the last token (CLIP's end of text).
enum class Pool { kCls, kMean, kLast };
/// x Phi(x), or CLIP's x sigmoid(1.702 x).
enum class Activation { kGelu, kQuickGelu };
/// Where a block normalizes: before each branch and once after the last block, or after each sum.
enum class NormOrder { kPre, kPost };
/// What a tower's blocks keep for backward: all that it reads; all but the feed-forward layer
/// before its activation, which is the widest state; or each block's input alone
/// (model/recompute.h).
enum class Checkpointing { kOff, kSelective, kFull };
/// The towers that a model has. The config of an absent one is not read.
enum class TowerSet { kBoth, kImage, kText };

/// ViT (Dosovitskiy et al. 2021): pre-LN, CLS token, absolute positions, exact-erf GELU. The
/// variants below are those of BEiT (Bao et al. 2022) and CLIP (Radford et al. 2021).
struct VisionConfig {
  int64_t size = 384;   // pixels a side
  int64_t patch = 16;   // pixels a side
  int64_t width = 768;  // d
  int64_t layers = 12;
  int64_t heads = 12;
  double mlp_ratio = 4.0;
  double drop_path = 0.1;  // training only; linear over depth, 0 at the first block
  Checkpointing checkpointing = Checkpointing::kOff;     // training only
  c10::ScalarType compute = c10::ScalarType::Undefined;  // of activations; that of the input
  double layer_norm_eps = 1e-6;  // timm/unilm; Hugging Face configs carry their own
  Pool pool = Pool::kCls;
  Activation activation = Activation::kGelu;
  bool input_norm = false;     // CLIP: LayerNorm before the first block (ln_pre)
  bool layer_scale = false;    // BEiT: each residual branch times a vector (gamma1, gamma2)
  bool relative_bias = false;  // BEiT: attention scores plus a table by offset (rel_bias)
  bool pooled_norm = false;    // BEiT fine-tuned: the final norm is of the pooled state alone

  int64_t grid() const { return size / patch; }
  int64_t patches() const { return grid() * grid(); }
};

/// BERT (Devlin et al. 2019): post-LN, learned positions, hidden dropout only (DESIGN 2.7). The
/// variants below are those of CLIP's text tower.
struct TextConfig {
  int64_t width = 768;
  int64_t layers = 12;
  int64_t heads = 12;
  double mlp_ratio = 4.0;
  int64_t vocab_size = 30522;
  int64_t max_positions = 512;
  double dropout = 0.1;
  Checkpointing checkpointing = Checkpointing::kOff;     // training only
  c10::ScalarType compute = c10::ScalarType::Undefined;  // of activations; that of the weights
  double layer_norm_eps = 1e-12;
  Pool pool = Pool::kCls;
  Activation activation = Activation::kGelu;
  NormOrder norm = NormOrder::kPost;  // kPre, as in CLIP: no norm of the embeddings, one at the end
  bool causal = false;                // CLIP: a token sees itself and those before it
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
  TowerSet towers = TowerSet::kBoth;
  int64_t embed_dim = 256;  // D; 0 = no projection, the embedding is the pooled state

  bool has_projection() const { return embed_dim > 0; }
  bool has_image() const { return towers != TowerSet::kText; }
  bool has_text() const { return towers != TowerSet::kImage; }
};

}  // namespace cots
