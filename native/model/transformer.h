// The transformer block that both towers share: pre-LN (ViT, BEiT, CLIP) or post-LN (BERT).
// Legend: B batch, L tokens, d width, H heads, F feed-forward width.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/parameters.h"
#include "model/relative_bias.h"

namespace cots {

/// x W^T + b in the number type of x: parameters are cast where they meet activations, so that
/// float32 weights train in bfloat16 (SPEC 2.5 train.precision). No copy where the types agree.
Tensor linear_in(const Tensor& x, const Tensor& weight, const Tensor& bias);

/// y = x W^T + b.
struct Linear {
  Tensor weight, bias;  // [out, in], [out]
  Linear() = default;
  Linear(const Scope& scope, const std::string& name, int64_t in, int64_t out, double gain = 1);
  Tensor operator()(const Tensor& x) const;
};

struct LayerNorm {
  Tensor weight, bias;  // [d]
  double eps = 1e-6;
  LayerNorm() = default;
  LayerNorm(const Scope& scope, const std::string& name, int64_t width, double eps);
  Tensor operator()(const Tensor& x) const;
};

/// What training adds to a forward pass. Undefined keys = evaluation: no dropout, no drop-path.
struct Regularization {
  Tensor keys_B;  // int64, one key a row (ops/keyed_random.h)
  bool active() const { return keys_B.defined(); }
};

struct BlockConfig {
  int64_t width, heads, feed_forward;
  double layer_norm_eps;
  NormOrder order;
  Activation activation = Activation::kGelu;
  bool layer_scale = false;       // gamma1, gamma2: what a residual branch is multiplied by
  Tensor relative_index_LL = {};  // of relative_index(); undefined: no relative position bias
  double branch_gain = 1;  // of the initial weights that end a residual branch, by the fan-in rule
  double dropout = 0;      // hidden dropout after the attention projection and after the MLP
  double drop_path = 0;    // whole residual branch, a row at a time
  int64_t site = 0;        // first random site of this block; it uses site .. site + 3
};

class Block {
 public:
  Block(const BlockConfig& config, const Scope& scope);
  /// x_BLd; mask optional additive f32 mask (0 or -inf): of keys, [B, 1, 1, L], or of pairs, [1, 1,
  /// L, L]. Returns [B, L, d], or [B, 1, d] with Rows::kFirst.
  Tensor forward(const Tensor& x_BLd, const std::optional<Tensor>& mask, const Regularization& reg,
                 Rows rows = Rows::kAll) const;

 private:
  Tensor attend(const Tensor& x_BLd, const std::optional<Tensor>& mask, Rows rows) const;
  std::optional<Tensor> score_bias(const std::optional<Tensor>& mask, Rows rows) const;
  Tensor mlp(const Tensor& x_BLd) const;
  Tensor residual(const Tensor& branch, const Tensor& gamma, const Regularization& reg,
                  int64_t site) const;
  BlockConfig config_;
  LayerNorm ln1_, ln2_;
  Linear qkv_, proj_, fc1_, fc2_;
  Tensor gamma1_, gamma2_;  // [d]; undefined without layer scale
  RelativeBias relative_bias_;
};

/// Random sites of the networks (ops/keyed_random.h), in ranges that never meet. 1 to 15 are those
/// of the masks (loss/masked_modelling.cpp).
constexpr int64_t kTextEmbeddingSite = 16, kVisionBlockSite = 1 << 10, kTextBlockSite = 1 << 11,
                  kSitesPerBlock = 4;

/// The blocks one after the other, a cancel point before each; `rows` applies to the last.
Tensor run_blocks(const std::vector<Block>& blocks, Tensor x_BLd, const std::optional<Tensor>& mask,
                  const Regularization& reg, Rows rows);

/// Identity that throws ops::Cancelled in forward or backward when the current job's cancel flag is
/// set, so that a job ends between two layers (DESIGN 2.4).
Tensor cancel_point(const Tensor& x);

}  // namespace cots
