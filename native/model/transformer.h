// The transformer block that both towers share: pre-LN (ViT, BEiT, CLIP) or post-LN (BERT).
// Legend: B batch, L tokens, M rows: the tokens of all sequences, d width, H heads, F feed-forward
// width.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/attention_probe.h"
#include "model/config.h"
#include "model/parameters.h"
#include "model/recompute.h"
#include "model/relative_bias.h"
#include "ops/linear.h"

namespace cots {

/// y = x W^T + b.
struct Linear {
  Tensor weight, bias;  // [out, in], [out]
  Linear() = default;
  Linear(const Scope& scope, const std::string& name, int64_t in, int64_t out, double gain = 1);
  Tensor operator()(const Tensor& x) const;
  /// The layer on x, to be completed with what stands before and after it.
  ops::LinearArguments on(const Tensor& x) const;
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

/// How the sequences lie in the rows of x_Md, one after the other: all of one length, of which a
/// mask may hide keys; or, packed, of mixed lengths without padding.
struct Sequences {
  int64_t count = 0, length = 0;    // B and L; of mixed lengths, L is 0
  Tensor starts = {};               // int64 [B + 1] on the CPU, the first row of each and M
  std::optional<Tensor> mask = {};  // additive f32 (0 or -inf), [B, 1, 1, L] or [1, 1, L, L]
  bool causal = false;              // a token sees itself and those before it
  AttentionProbe* probe = nullptr;  // of all rows: told of the attention probabilities

  static Sequences even(int64_t count, int64_t length);
  /// lengths_B int64 on the CPU, each at least 1.
  static Sequences packed(const Tensor& lengths_B);
  /// The first row of each sequence, [B, d].
  Tensor first_rows(const Tensor& x_Md) const;
  /// How those lie.
  Sequences firsts() const { return even(count, 1); }
};

/// Whether sequences of these numbers may be packed: their attention has a kernel.
bool can_pack(const Tensor& x);

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
  Checkpointing checkpointing = Checkpointing::kOff;
  int64_t site = 0;  // first random site of this block; it uses site .. site + 3
};

class Block {
 public:
  Block(const BlockConfig& config, const Scope& scope);
  /// Returns [M, d], or [B, d] with Rows::kFirst.
  Tensor forward(const Tensor& x_Md, const Sequences& sequences, const Regularization& reg,
                 Rows rows = Rows::kAll) const;

 private:
  Tensor attention_half(const Tensor& x_Md, const Sequences& sequences, const Regularization& reg,
                        Rows rows) const;
  Tensor feed_forward_half(const Tensor& x_Md, const Sequences& sequences,
                           const Regularization& reg, Result result) const;
  Tensor attend(const Tensor& x_Md, const Sequences& sequences, Rows rows) const;
  Tensor attend_padded(const Tensor& query, const Tensor& key_value, const Sequences& sequences,
                       Rows rows) const;
  Tensor attend_probed(const Tensor& joined, const Sequences& sequences) const;
  std::optional<Tensor> score_bias(const std::optional<Tensor>& mask, Rows rows) const;
  Tensor add_branch(const Tensor& kept, ops::LinearArguments last, const Tensor& gamma,
                    const Sequences& sequences, const Regularization& reg, int64_t site) const;
  std::vector<Tensor> attention_parameters() const;
  std::vector<Tensor> feed_forward_parameters() const;
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

/// Dropout of the elements of x_Md: an element's draw depends on its sequence's key and its place
/// in the sequence alone.
Tensor drop_elements(const Tensor& x_Md, const Sequences& sequences, const Regularization& reg,
                     int64_t site, double p);

/// The blocks one after the other, a cancel point before each; `rows` applies to the last.
Tensor run_blocks(const std::vector<Block>& blocks, Tensor x_Md, const Sequences& sequences,
                  const Regularization& reg, Rows rows);

/// Identity that throws ops::Cancelled in forward or backward when the current job's cancel flag is
/// set, so that a job ends between two layers (DESIGN 2.4).
Tensor cancel_point(const Tensor& x);

}  // namespace cots
