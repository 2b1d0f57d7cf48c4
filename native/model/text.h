// The text tower: BERT. Legend: B batch, L tokens, d width.
#pragma once

#include <vector>

#include "model/config.h"
#include "model/transformer.h"

namespace cots {

class Text {
 public:
  /// Registers embed.{word,pos,type}.weight, embed.ln, blocks.N under `scope` ("text" or "text_m").
  Text(const TextConfig& config, const Scope& scope);

  /// ids_BL int64; lengths_B int64 (tokens of each row, CLS and SEP included; the rest is padding).
  /// Returns the last hidden states [B, L, d]; rows beyond a length are unspecified. With
  /// Rows::kFirst only the CLS row, [B, 1, d].
  Tensor forward(const Tensor& ids_BL, const Tensor& lengths_B, const Regularization& reg,
                 Rows rows = Rows::kAll) const;

  const Tensor& word_embedding() const { return word_; }  // [V, d], tied to the CMLM decoder
  const TextConfig& config() const { return config_; }

 private:
  TextConfig config_;
  Tensor word_, pos_, type_;
  LayerNorm ln_;
  std::vector<Block> blocks_;
};

}  // namespace cots
