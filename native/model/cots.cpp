#include "model/cots.h"

#include <ATen/ATen.h>

#include <cmath>

#include "io/failure.h"

namespace cots {
namespace {

constexpr double kNormFloor = 1e-12;  // SPEC 3.8: ||z|| = 0

/// f = z / max(||z||, 1e-12), in float32 or better: losses and scores read it (DESIGN 2.7).
Tensor unit_rows(const Tensor& z_BD) {
  const Tensor z = at::isReducedFloatingType(z_BD.scalar_type()) ? z_BD.to(at::kFloat) : z_BD;
  return z / z.norm(2, -1, true).clamp_min(kNormFloor);
}

/// The rows that a tower has to compute.
Rows rows_of(Need need, Rows pooled) { return need == Need::kGlobal ? pooled : Rows::kAll; }

}  // namespace

// ------------------------------------------------------------------------ two towers, one space

Towers::Towers(const ModelConfig& config, const Scope& image_scope, const Scope& text_scope)
    : config_(config) {
  if (config.has_image()) vision_.emplace(config.image, image_scope);
  if (config.has_text()) text_.emplace(config.text, text_scope);
  if (!config.has_projection()) return;
  if (config.has_image())
    image_proj_ = Linear(image_scope, "proj", config.image.width, config.embed_dim);
  if (config.has_text())
    text_proj_ = Linear(text_scope, "proj", config.text.width, config.embed_dim);
}

Encoded Towers::encode_image(const Tensor& pixels_BCHW, const Tensor& mask_BP,
                             const Regularization& reg, Need need, AttentionProbe* probe) const {
  const Rows rows = rows_of(need, vision().pooled_rows());
  const Tensor states_BLd = vision().forward(pixels_BCHW, mask_BP, reg, rows, probe);
  return finish(states_BLd, vision().pool(states_BLd), image_proj_, need);
}

Encoded Towers::encode_text(const Tensor& ids_BL, const Tensor& lengths_B,
                            const Regularization& reg, Need need) const {
  const Rows rows = rows_of(need, text().pooled_rows());
  const Tensor states_BLd = text().forward(ids_BL, lengths_B, reg, rows);
  return finish(states_BLd, text().pool(states_BLd, lengths_B), text_proj_, need);
}

Tensor Towers::project_image(const Tensor& states_Md) const {
  return unit_rows(config_.has_projection() ? image_proj_(states_Md) : states_Md);
}

Encoded mean_of_frames(const Encoded& frames_N, const Tensor& frames_B) {
  if (!frames_B.defined()) return frames_N;
  const auto mean = [&](const Tensor& rows_Nd) {
    return at::segment_reduce(rows_Nd, "mean", frames_B);
  };
  return {frames_N.states_BLd, mean(frames_N.global_Bd), unit_rows(mean(frames_N.embedding_BD))};
}

Encoded Towers::finish(const Tensor& states_BLd, const Tensor& global_Bd, const Linear& proj,
                       Need need) const {
  const Tensor z_BD = config_.has_projection() ? proj(global_Bd) : global_Bd;
  return {need == Need::kAll ? states_BLd : Tensor(), global_Bd, unit_rows(z_BD)};
}

// ------------------------------------------- masked vision-language modelling: CMVM and CMLM

MaskedHeads::MaskedHeads(const ModelConfig& model, const TokenConfig& token, const Scope& root,
                         const Tensor& word_embedding_Vd)
    : token_(token) {
  const int64_t image_width = model.image.width, text_width = model.text.width;
  const bool hidden = token.global_source == GlobalSource::kHidden,
             fused = token.fusion != Fusion::kNone;
  if (token.fusion == Fusion::kAdd && hidden && image_width != text_width)
    throw Failure(
        "ERR_COTS_CONFIG",
        "Expected equal widths of both towers for token.fusion 'add' of hidden states, got image " +
            std::to_string(image_width) + " and text " + std::to_string(text_width) +
            ". Use token.fusion 'concat' or token.globalSource 'embed'.");
  const int64_t embedding = model.has_projection() ? model.embed_dim : 0;
  const Scope cmvm = root.child("cmvm"), cmlm = root.child("cmlm");
  const double eps = model.text.layer_norm_eps;

  if (fused && !hidden) {
    cmvm_global_ = Linear(cmvm, "global", embedding > 0 ? embedding : text_width, image_width);
    cmlm_global_ = Linear(cmlm, "global", embedding > 0 ? embedding : image_width, text_width);
  }
  if (token.fusion == Fusion::kConcat) {
    cmvm_fuse_ =
        Linear(cmvm, "fuse", image_width + (hidden ? text_width : image_width), image_width);
    cmlm_fuse_ = Linear(cmlm, "fuse", text_width + (hidden ? image_width : text_width), text_width);
  }
  if (token.head_image == ImageHead::kMlp) {
    cmvm_dense_ = Linear(cmvm, "dense", image_width, image_width);
    cmvm_ln_ = LayerNorm(cmvm, "ln", image_width, eps);
  }
  cmvm_out_ = Linear(cmvm, "out", image_width, token.vocab);
  cmlm_dense_ = Linear(cmlm, "dense", text_width, text_width);
  cmlm_ln_ = LayerNorm(cmlm, "ln", text_width, eps);
  cmlm_out_.weight = word_embedding_Vd;
  cmlm_out_.bias = cmlm.add("bias", {model.text.vocab_size}, Init::zeros(), false);
}

Tensor MaskedHeads::image_query(const Tensor& h_Md, const Tensor& g_Md) const {
  const Tensor fused_Md = fuse(h_Md, g_Md, cmvm_fuse_);
  return token_.head_image == ImageHead::kBare ? fused_Md
                                               : cmvm_ln_(at::gelu(cmvm_dense_(fused_Md)));
}

Tensor MaskedHeads::text_query(const Tensor& h_Md, const Tensor& g_Md) const {
  return cmlm_ln_(at::gelu(cmlm_dense_(fuse(h_Md, g_Md, cmlm_fuse_))));
}

Tensor MaskedHeads::image_global(const Tensor& text_global_B_) const {
  return cmvm_global_.weight.defined() ? cmvm_global_(text_global_B_) : text_global_B_;
}

Tensor MaskedHeads::text_global(const Tensor& image_global_B_) const {
  return cmlm_global_.weight.defined() ? cmlm_global_(image_global_B_) : image_global_B_;
}

Tensor MaskedHeads::fuse(const Tensor& h_Md, const Tensor& g_Md, const Linear& joined) const {
  switch (token_.fusion) {
    case Fusion::kAdd:
      return h_Md + g_Md;
    case Fusion::kConcat:
      return joined(at::cat({h_Md, g_Md}, -1));
    case Fusion::kNone:
      return h_Md;
  }
  TORCH_INTERNAL_ASSERT(false, "unknown fusion");
}

// ---------------------------------------------------------------------------- the whole network

Cots::Cots(const ModelConfig& model, const TokenConfig& token, double tau, int64_t seed,
           WeightInit weights)
    : parameters_(seed, weights),
      towers_(model, Scope(parameters_, "visual"), Scope(parameters_, "text")),
      tower_count_(parameters_.count()),
      heads_(model, token, Scope(parameters_, ""), towers_.text().word_embedding()),
      log_scale_(
          parameters_.add("loss.logit_scale", {}, Init::constant(std::log(1 / tau)), false)) {
  parameters_.flatten(/*requires_grad=*/true);
}

}  // namespace cots
