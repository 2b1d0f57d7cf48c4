// The text tower: BERT, with the variants of CLIP as data (TextConfig). Legend: B batch, L tokens,
// d width.
#pragma once

#include <vector>

#include "model/config.h"
#include "model/transformer.h"

namespace cots {

class Text {
 public:
  /// Registers embed.{word,pos,type}.weight, blocks.N and, by the norm's place, embed.ln or norm
  /// under `scope` ("text" or "text_m").
  Text(const TextConfig& config, const Scope& scope);

  /// ids_BL int64; lengths_B int64 (tokens of each row, CLS and SEP included; the rest is padding).
  /// Returns the last hidden states [B, L, d]; rows beyond a length are unspecified. With
  /// Rows::kFirst only the CLS row, [B, 1, d].
  Tensor forward(const Tensor& ids_BL, const Tensor& lengths_B, const Regularization& reg,
                 Rows rows = Rows::kAll) const;

  /// The global state [B, d] of the states that forward() returned for texts of these lengths.
  Tensor pool(const Tensor& states_BLd, const Tensor& lengths_B) const;
  /// The rows of forward() that pool() reads.
  Rows pooled_rows() const { return config_.pool == Pool::kCls ? Rows::kFirst : Rows::kAll; }

  const Tensor& word_embedding() const { return word_; }  // [V, d], tied to the CMLM decoder
  const TextConfig& config() const { return config_; }

 private:
  Tensor run(Tensor x_Md, const Sequences& sequences, const Regularization& reg, Rows rows) const;
  TextConfig config_;
  Tensor word_, pos_, type_;
  LayerNorm ln_;  // of the embeddings
  std::vector<Block> blocks_;
  LayerNorm norm_;  // of the last states
};

}  // namespace cots
