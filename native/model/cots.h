// COTS: two towers, their projections into one space, and the heads of masked vision-language
// modelling. This file and cots.cpp are to be read with the paper open. Legend: B batch, L tokens,
// P patches, d width, D embedding, M masked positions.
#pragma once

#include <optional>

#include "model/config.h"
#include "model/parameters.h"
#include "model/text.h"
#include "model/vision.h"

namespace cots {

/// One tower's view of a batch.
struct Encoded {
  Tensor states_BLd;    // last hidden states; undefined with Need::kGlobal
  Tensor global_Bd;     // pooled state (Pool)
  Tensor embedding_BD;  // unit rows: projection of global, divided by max(norm, 1e-12)
};

/// What the caller reads of Encoded. kGlobal lets the last layer leave out all but the CLS row
/// where pool is `cls`.
enum class Need { kAll, kGlobal };

/// Clips out of their frames, as the paper embeds a video: the mean of its frames' embeddings, here
/// unit rows before and after (SPEC 5.2), and of their global states. States stay a row a frame.
/// frames_B int64, at least 1 each, of N rows in all; undefined = every row is an image.
Encoded mean_of_frames(const Encoded& frames_N, const Tensor& frames_B);

/// The towers with their projections: what inference needs, and what the momentum encoder mirrors.
/// Training has both; a model that only embeds may have one (TowerSet).
class Towers {
 public:
  /// image_scope "visual" | "visual_m", text_scope "text" | "text_m".
  Towers(const ModelConfig& config, const Scope& image_scope, const Scope& text_scope);

  /// pixels_BCHW f32, normalized; mask_BP bool, true = masked patch, undefined = clean.
  /// `probe`: with Need::kAll, keeps what the layers attend to.
  Encoded encode_image(const Tensor& pixels_BCHW, const Tensor& mask_BP = {},
                       const Regularization& reg = {}, Need need = Need::kAll,
                       AttentionProbe* probe = nullptr) const;
  /// ids_BL int64; lengths_B int64, CLS and SEP included.
  Encoded encode_text(const Tensor& ids_BL, const Tensor& lengths_B, const Regularization& reg = {},
                      Need need = Need::kAll) const;

  /// Unit rows of the projections of image states, as of the pooled one.
  Tensor project_image(const Tensor& states_Md) const;

  const Vision& vision() const { return vision_.value(); }
  const Text& text() const { return text_.value(); }
  const ModelConfig& config() const { return config_; }

 private:
  Encoded finish(const Tensor& states_BLd, const Tensor& global_Bd, const Linear& proj,
                 Need need) const;
  ModelConfig config_;
  std::optional<Vision> vision_;
  std::optional<Text> text_;
  Linear image_proj_, text_proj_;
};

/// Heads of CMVM (cmvm.{dense,ln,out}) and CMLM (cmlm.{dense,ln,bias}, decoder tied to the word
/// embeddings). Parameter names: cmvm.fuse / cmlm.fuse (Linear 2d -> d) exist with fusion `concat`;
/// cmvm.global / cmlm.global (Linear D -> d) with global_source `embed` or `momentum`; cmvm.dense
/// and cmvm.ln unless the image head is `bare`.
class MaskedHeads {
 public:
  MaskedHeads(const ModelConfig& model, const TokenConfig& token, const Scope& root,
              const Tensor& word_embedding_Vd);

  /// Vectors to be classified: u = head(h + g) (SPEC 3.4). h_Md masked states of one modality, g_Md
  /// global state of the paired item of the other modality, a row each. Fusion by token.fusion.
  Tensor image_query(const Tensor& h_Md, const Tensor& g_Md) const;
  Tensor text_query(const Tensor& h_Md, const Tensor& g_Md) const;
  /// Global state as this head takes it: `hidden` as is, `embed`/`momentum` through its Linear.
  /// The rows to hand in: Encoded::global_Bd (hidden), embedding_BD (embed), or the momentum
  /// embedding (momentum).
  Tensor image_global(const Tensor& text_global_B_) const;
  Tensor text_global(const Tensor& image_global_B_) const;

  const Linear& image_classifier() const { return cmvm_out_; }  // [V_I, d], [V_I]
  const Linear& text_classifier() const { return cmlm_out_; }   // [V_T, d] = word embeddings, [V_T]

 private:
  Tensor fuse(const Tensor& h_Md, const Tensor& g_Md, const Linear& joined) const;
  TokenConfig token_;
  Linear cmvm_dense_, cmvm_out_, cmvm_fuse_, cmvm_global_, cmlm_dense_, cmlm_out_, cmlm_fuse_,
      cmlm_global_;
  LayerNorm cmvm_ln_, cmlm_ln_;
};

/// The whole trainable network. Parameters are registered in this order: visual.*, text.* (towers
/// and projections: the prefix that the momentum encoder mirrors), cmvm.*, cmlm.*,
/// loss.logit_scale.
class Cots {
 public:
  Cots(const ModelConfig& model, const TokenConfig& token, double tau, int64_t seed,
       WeightInit weights = WeightInit::kFixed);

  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  const Towers& towers() const { return towers_; }
  const MaskedHeads& heads() const { return heads_; }
  const Tensor& log_scale() const { return log_scale_; }  // ln(1 / tau), scalar
  /// Number of scalars of the towers and projections at the front of the flat buffer.
  int64_t tower_count() const { return tower_count_; }

 private:
  Parameters parameters_;
  Towers towers_;
  int64_t tower_count_;
  MaskedHeads heads_;
  Tensor log_scale_;
};

}  // namespace cots
