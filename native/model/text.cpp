#include "model/text.h"

#include <ATen/ATen.h>

#include <cmath>

#include <limits>

namespace cots {
namespace {

constexpr double kEmbeddingStd = 0.02;
constexpr float kNever = -std::numeric_limits<float>::infinity();

/// Additive mask of keys: 0 at tokens, -inf at padding, [B, 1, 1, L]; nothing when no row is
/// padded.
std::optional<Tensor> padding_mask(const Tensor& lengths_B, int64_t L) {
  // Whether there is any padding may be asked of the CPU alone: an accelerator would have to be
  // waited for.
  if (lengths_B.is_cpu() && (lengths_B.numel() == 0 || lengths_B.min().item<int64_t>() >= L))
    return std::nullopt;
  const Tensor padded_BL = at::arange(L, lengths_B.options()) >= lengths_B.unsqueeze(1);
  return at::zeros({lengths_B.size(0), 1, 1, L}, lengths_B.options().dtype(at::kFloat))
      .masked_fill_(padded_BL.unsqueeze(1).unsqueeze(1), kNever);
}

/// Additive mask of pairs, [1, 1, L, L]: a token sees itself and those before it. What follows a
/// text, its padding, is hidden by that too.
Tensor causal_mask(int64_t L, at::Device device) {
  return at::full({1, 1, L, L}, kNever, at::TensorOptions(at::kFloat).device(device)).triu(1);
}

/// Mean over the tokens that are no padding. Selection, not multiplication: what padding holds is
/// unspecified.
Tensor mean_of_tokens(const Tensor& states_BLd, const Tensor& lengths_B) {
  const Tensor real_BL =
      at::arange(states_BLd.size(1), lengths_B.options()) < lengths_B.unsqueeze(1);
  return at::where(real_BL.unsqueeze(-1), states_BLd, 0).sum(1) / lengths_B.unsqueeze(1);
}

/// The row of the last token of each text.
Tensor last_tokens(const Tensor& states_BLd, const Tensor& lengths_B) {
  // By embedding(), whose backward adds up in a fixed order on every device; that of gather() has
  // none on a GPU.
  const int64_t B = states_BLd.size(0), L = states_BLd.size(1);
  const Tensor row_B = at::arange(0, B * L, L, lengths_B.options()) + lengths_B - 1;
  return at::embedding(states_BLd.flatten(0, 1), row_B);
}

}  // namespace

Text::Text(const TextConfig& config, const Scope& scope)
    : config_(config),
      word_(scope.add("embed.word.weight", {config.vocab_size, config.width},
                      Init::truncated_normal(kEmbeddingStd), true)),
      pos_(scope.add("embed.pos.weight", {config.max_positions, config.width},
                     Init::truncated_normal(kEmbeddingStd), true)),
      type_(scope.add("embed.type.weight", {2, config.width}, Init::truncated_normal(kEmbeddingStd),
                      true)) {
  const bool post = config.norm == NormOrder::kPost;
  if (post) ln_ = LayerNorm(scope, "embed.ln", config.width, config.layer_norm_eps);
  for (int64_t n = 0; n < config.layers; ++n) {
    const BlockConfig block = {
        .width = config.width,
        .heads = config.heads,
        .feed_forward = static_cast<int64_t>(static_cast<double>(config.width) * config.mlp_ratio),
        .layer_norm_eps = config.layer_norm_eps,
        .order = config.norm,
        .activation = config.activation,
        .branch_gain = 1 / std::sqrt(2.0 * static_cast<double>(config.layers)),
        .dropout = config.dropout,
        .checkpointing = config.checkpointing,
        .site = kTextBlockSite + n * kSitesPerBlock};
    blocks_.emplace_back(block, scope.child("blocks." + std::to_string(n)));
  }
  if (!post) norm_ = LayerNorm(scope, "norm", config.width, config.layer_norm_eps);
}

Tensor Text::forward(const Tensor& ids_BL, const Tensor& lengths_B, const Regularization& reg,
                     Rows rows) const {
  const int64_t B = ids_BL.size(0), L = ids_BL.size(1);
  TORCH_CHECK(L >= 1 && L <= config_.max_positions, "Expected texts of 1 to ",
              config_.max_positions, " tokens (max_positions), got ", L, ".");
  TORCH_CHECK(lengths_B.dim() == 1 && lengths_B.size(0) == B, "Expected ", B,
              " lengths, one a text, got shape ", lengths_B.sizes(), ".");
  // Positions and the one token type that COTS uses are the same for every row: summed once.
  const auto type =
      config_.compute == at::ScalarType::Undefined ? word_.scalar_type() : config_.compute;
  const auto embed = [type](const Tensor& rows, const Tensor& index) {
    return at::embedding(rows, index).to(type);
  };
  const Tensor place_Ld = (pos_.narrow(0, 0, L) + type_.select(0, 0)).to(type);
  if (!can_pack(place_Ld)) {
    Sequences padded = Sequences::even(B, L);
    padded.mask = config_.causal ? causal_mask(L, ids_BL.device()) : padding_mask(lengths_B, L);
    const Tensor x_BLd = embed(word_, ids_BL) + place_Ld;
    return run(x_BLd.flatten(0, 1), padded, reg, rows).unflatten(0, {B, -1});
  }

  // Without padding: the rows of all texts' tokens, of the B * L that there are places for.
  const Tensor row_M =
      (at::arange(L, lengths_B.options()) < lengths_B.unsqueeze(1)).flatten().nonzero().squeeze(1);
  Sequences sequences = Sequences::packed(lengths_B.clamp_max(L));
  sequences.causal = config_.causal;
  const Tensor x_Md =
      embed(word_, ids_BL.flatten().index_select(0, row_M)) + embed(place_Ld, row_M.remainder(L));
  const Tensor states = run(x_Md, sequences, reg, rows);
  if (rows == Rows::kFirst) return states.unsqueeze(1);
  return at::zeros({B * L, config_.width}, states.options())
      .index_copy(0, row_M, states)
      .view({B, L, -1});
}

/// From embeddings to last states, a row a token.
Tensor Text::run(Tensor x_Md, const Sequences& sequences, const Regularization& reg,
                 Rows rows) const {
  const bool post = config_.norm == NormOrder::kPost;
  if (post) x_Md = ln_(x_Md);
  if (reg.active() && config_.dropout > 0)
    x_Md = drop_elements(x_Md, sequences, reg, kTextEmbeddingSite, config_.dropout);
  x_Md = run_blocks(blocks_, x_Md, sequences, reg, rows);
  return post ? x_Md : norm_(x_Md);
}

Tensor Text::pool(const Tensor& states_BLd, const Tensor& lengths_B) const {
  switch (config_.pool) {
    case Pool::kCls:
      return states_BLd.select(1, 0);
    case Pool::kMean:
      return mean_of_tokens(states_BLd, lengths_B);
    case Pool::kLast:
      return last_tokens(states_BLd, lengths_B);
  }
  TORCH_INTERNAL_ASSERT(false, "unknown pool");
}

}  // namespace cots
