#include "model/transformer.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "ops/attention.h"
#include "ops/cancel.h"
#include "ops/keyed_random.h"

namespace cots {
namespace {

constexpr double kInitialLayerScale = 0.1;  // BEiT, base size

/// Identity that reads the cancel flag on the way forward and on the way back.
struct CancelPoint : torch::autograd::Function<CancelPoint> {
  static Tensor forward(torch::autograd::AutogradContext*, const Tensor& x) {
    ops::check_cancelled();
    return x;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 torch::autograd::variable_list grads) {
    ops::check_cancelled();
    return grads;
  }
};

/// The layer with a norm of its input before it, or without.
ops::LinearArguments normed(ops::LinearArguments layer, const LayerNorm* norm) {
  if (norm == nullptr) return layer;
  layer.norm_weight_K = norm->weight;
  layer.norm_bias_K = norm->bias;
  layer.norm_eps = norm->eps;
  return layer;
}

}  // namespace

Sequences Sequences::even(int64_t count, int64_t length) {
  return {
      .count = count, .length = length, .starts = at::arange(count + 1, at::kLong).mul_(length)};
}

Sequences Sequences::packed(const Tensor& lengths_B) {
  const int64_t B = lengths_B.size(0);
  Tensor starts = at::zeros({B + 1}, at::kLong);
  starts.narrow(0, 1, B).copy_(lengths_B.cumsum(0));
  return {.count = B, .starts = starts};
}

Tensor Sequences::first_rows(const Tensor& x_Md) const {
  if (length > 0) return x_Md.view({count, length, -1}).select(1, 0);
  return x_Md.index_select(0, starts.narrow(0, 0, count));
}

bool can_pack(const Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat; }

Linear::Linear(const Scope& scope, const std::string& name, int64_t in, int64_t out, double gain)
    : weight(scope.add(name + ".weight", {out, in}, Init::weight(gain), true)),
      bias(scope.add(name + ".bias", {out}, Init::zeros(), false)) {}

Tensor Linear::operator()(const Tensor& x) const { return ops::linear(on(x)); }

ops::LinearArguments Linear::on(const Tensor& x) const {
  return {.x_MK = x, .weight_NK = weight, .bias_N = bias};
}

LayerNorm::LayerNorm(const Scope& scope, const std::string& name, int64_t width, double eps)
    : weight(scope.add(name + ".weight", {width}, Init::ones(), false)),
      bias(scope.add(name + ".bias", {width}, Init::zeros(), false)),
      eps(eps) {}

Tensor LayerNorm::operator()(const Tensor& x) const {
  const auto type = x.scalar_type();
  return at::layer_norm(x, weight.sizes(), weight.to(type), bias.to(type), eps);
}

Block::Block(const BlockConfig& config, const Scope& scope)
    : config_(config),
      ln1_(scope, "ln1", config.width, config.layer_norm_eps),
      ln2_(scope, "ln2", config.width, config.layer_norm_eps),
      qkv_(scope, "qkv", config.width, 3 * config.width),
      proj_(scope, "proj", config.width, config.width, config.branch_gain),
      fc1_(scope, "fc1", config.width, config.feed_forward),
      fc2_(scope, "fc2", config.feed_forward, config.width, config.branch_gain) {
  if (config.layer_scale) {
    gamma1_ = scope.add("gamma1", {config.width}, Init::constant(kInitialLayerScale), false);
    gamma2_ = scope.add("gamma2", {config.width}, Init::constant(kInitialLayerScale), false);
  }
  if (config.relative_index_LL.defined())
    relative_bias_ = RelativeBias(scope, config.heads, config.relative_index_LL);
  TORCH_CHECK(config.width % config.heads == 0,
              "Expected a width that is a multiple of the number of heads, got width ",
              config.width, " and ", config.heads, " heads.");
}

Tensor Block::forward(const Tensor& x_Md, const Sequences& sequences, const Regularization& reg,
                      Rows rows) const {
  const Sequences lie = rows == Rows::kFirst ? sequences.firsts() : sequences;
  // The parts hold copies: they are called again in backward.
  const Part feed_forward = [block = *this, lie, reg](const Tensor& x, Result result) {
    return block.feed_forward_half(x, lie, reg, result);
  };
  if (config_.checkpointing == Checkpointing::kFull) {
    const Part whole = [block = *this, sequences, reg, rows, feed_forward](const Tensor& x,
                                                                           Result result) {
      return feed_forward(block.attention_half(x, sequences, reg, rows), result);
    };
    std::vector<Tensor> parameters = attention_parameters();
    for (const Tensor& parameter : feed_forward_parameters()) parameters.push_back(parameter);
    return recomputed(whole, x_Md, parameters);
  }
  const Tensor mixed = attention_half(x_Md, sequences, reg, rows);
  if (config_.checkpointing == Checkpointing::kSelective)
    return recomputed(feed_forward, mixed, feed_forward_parameters());
  return feed_forward(mixed, Result::kRead);
}

/// The rows asked for, with what their tokens take from all others.
Tensor Block::attention_half(const Tensor& x_Md, const Sequences& sequences,
                             const Regularization& reg, Rows rows) const {
  const bool first = rows == Rows::kFirst;
  const Tensor kept = first ? sequences.first_rows(x_Md) : x_Md;  // the residual path
  const Tensor x = add_branch(kept, proj_.on(attend(x_Md, sequences, rows)), gamma1_,
                              first ? sequences.firsts() : sequences, reg, config_.site);
  return config_.order == NormOrder::kPre ? x : ln1_(x);
}

Tensor Block::feed_forward_half(const Tensor& x_Md, const Sequences& sequences,
                                const Regularization& reg, Result result) const {
  const bool pre = config_.order == NormOrder::kPre;
  ops::LinearArguments last = fc2_.on(ops::linear(normed(fc1_.on(x_Md), pre ? &ln2_ : nullptr)));
  last.activation = config_.activation == Activation::kGelu ? ops::InputActivation::kGelu
                                                            : ops::InputActivation::kQuickGelu;
  // The gradients of a norm and of a scale after it read it; sums and dropout need no values.
  last.unread = result == Result::kUnread && pre && !gamma2_.defined();
  const Tensor x = add_branch(x_Md, last, gamma2_, sequences, reg, config_.site + 2);
  return pre ? x : ln2_(x);
}

std::vector<Tensor> Block::attention_parameters() const {
  std::vector<Tensor> all = {ln1_.weight, ln1_.bias,    qkv_.weight,
                             qkv_.bias,   proj_.weight, proj_.bias};
  if (gamma1_.defined()) all.push_back(gamma1_);
  if (relative_bias_.defined()) all.push_back(relative_bias_.table());
  return all;
}

std::vector<Tensor> Block::feed_forward_parameters() const {
  std::vector<Tensor> all = {fc1_.weight, fc1_.bias,   fc2_.weight,
                             fc2_.bias,   ln2_.weight, ln2_.bias};
  if (gamma2_.defined()) all.push_back(gamma2_);
  return all;
}

/// The mixed values of all heads, before the projection.
Tensor Block::attend(const Tensor& x_Md, const Sequences& sequences, Rows rows) const {
  const int64_t d = config_.width;
  const LayerNorm* const norm = config_.order == NormOrder::kPre ? &ln1_ : nullptr;
  const bool has_kernel = can_pack(x_Md) && !relative_bias_.defined() && !sequences.mask;
  if (rows == Rows::kAll) {
    const Tensor joined = ops::linear(normed(qkv_.on(x_Md), norm));
    if (sequences.probe != nullptr) return attend_probed(joined, sequences);
    if (!has_kernel)
      return attend_padded(joined.narrow(1, 0, d), joined.narrow(1, d, 2 * d), sequences, rows);
    return ops::attention({.rows_M = joined,
                           .starts = sequences.starts,
                           .heads = config_.heads,
                           .causal = sequences.causal});
  }
  const auto weights = qkv_.weight.split_with_sizes({d, 2 * d}),
             biases = qkv_.bias.split_with_sizes({d, 2 * d});
  // One node for both uses: their gradients are summed there first, as those of a block that is
  // computed again are.
  LayerNorm shared = ln1_;
  shared.weight = at::alias(ln1_.weight), shared.bias = at::alias(ln1_.bias);
  const auto part = [&](const Tensor& x, size_t which) {
    return ops::linear(normed({.x_MK = x, .weight_NK = weights[which], .bias_N = biases[which]},
                              norm == nullptr ? nullptr : &shared));
  };
  const Tensor query_Bd = part(sequences.first_rows(x_Md), 0), key_value = part(x_Md, 1);
  if (!has_kernel) return attend_padded(query_Bd, key_value, sequences, rows);
  return ops::attention({.rows_M = key_value,
                         .query_Sd = query_Bd,
                         .starts = sequences.starts,
                         .heads = config_.heads,
                         .causal = sequences.causal});
}

/// The same for sequences of one length by libtorch's own attention: other number types and
/// devices, masks and relative position bias.
Tensor Block::attend_padded(const Tensor& query, const Tensor& key_value,
                            const Sequences& sequences, Rows rows) const {
  const int64_t B = sequences.count, d = config_.width, H = config_.heads;
  // [B * l, parts * d] -> parts of [B, H, l, d / H] without a copy; unbind gives one stack in
  // backward.
  const auto split_heads = [&](const Tensor& joined, int64_t parts) {
    return joined.unflatten(0, {B, -1})
        .unflatten(2, {parts, H, d / H})
        .permute({2, 0, 3, 1, 4})
        .unbind(0);
  };
  const Tensor q = split_heads(query, 1)[0];
  const auto keys_values = split_heads(key_value, 2);
  std::optional<Tensor> bias = score_bias(sequences.mask, rows);
  if (bias) bias = bias->to(q.scalar_type());
  const Tensor mixed_BHld =
      at::scaled_dot_product_attention(q, keys_values[0], keys_values[1], bias);
  return mixed_BHld.transpose(1, 2).reshape({-1, d});
}

/// The same with the probabilities as a tensor of the graph.
Tensor Block::attend_probed(const Tensor& joined_M, const Sequences& sequences) const {
  const int64_t B = sequences.count, d = config_.width, H = config_.heads;
  const auto parts = joined_M.view({B, -1, 3, H, d / H}).permute({2, 0, 3, 1, 4}).unbind(0);
  Tensor scores_BHLL =
      parts[0].matmul(parts[1].transpose(2, 3)) / std::sqrt(static_cast<double>(d / H));
  if (const auto bias = score_bias(sequences.mask, Rows::kAll)) scores_BHLL = scores_BHLL + *bias;
  const Tensor probabilities_BHLL = sequences.probe->keep(scores_BHLL.softmax(-1));
  return probabilities_BHLL.matmul(parts[2]).transpose(1, 2).reshape({-1, d});
}

/// What is added to the attention scores: the mask, the relative position bias, both or nothing.
std::optional<Tensor> Block::score_bias(const std::optional<Tensor>& mask, Rows rows) const {
  if (!relative_bias_.defined()) return mask;
  const Tensor bias_1HlL = relative_bias_(rows);
  return mask ? bias_1HlL + *mask : bias_1HlL;
}

/// kept + the branch that ends in `last`: scaled, dropout of its elements, then stochastic depth,
/// the whole branch of a sequence.
Tensor Block::add_branch(const Tensor& kept, ops::LinearArguments last, const Tensor& gamma,
                         const Sequences& sequences, const Regularization& reg,
                         int64_t site) const {
  const bool drops = reg.active() && config_.dropout > 0,
             drops_path = reg.active() && config_.drop_path > 0;
  if (!gamma.defined() && !drops && !drops_path) {
    last.residual_MN = kept;
    return ops::linear(last);
  }
  Tensor branch = ops::linear(last);
  if (gamma.defined()) branch = gamma.to(branch.scalar_type()) * branch;
  if (drops) branch = drop_elements(branch, sequences, reg, site, config_.dropout);
  if (drops_path) {
    const Tensor kept_B = ops::keyed_uniform(reg.keys_B, site + 1, 1) >= config_.drop_path;
    const Tensor scale_B11 =
        (kept_B / (1 - config_.drop_path)).to(branch.scalar_type()).unsqueeze(-1);
    branch = (branch.unflatten(0, {sequences.count, -1}) * scale_B11).flatten(0, 1);
  }
  return kept + branch;
}

Tensor drop_elements(const Tensor& x_Md, const Sequences& sequences, const Regularization& reg,
                     int64_t site, double p) {
  if (sequences.length == 0) return ops::keyed_dropout(x_Md, reg.keys_B, site, p, sequences.starts);
  return ops::keyed_dropout(x_Md.unflatten(0, {sequences.count, -1}), reg.keys_B, site, p)
      .flatten(0, 1);
}

Tensor run_blocks(const std::vector<Block>& blocks, Tensor x_Md, const Sequences& sequences,
                  const Regularization& reg, Rows rows) {
  for (const Block& block : blocks) {
    const bool last = &block == &blocks.back();
    x_Md = block.forward(cancel_point(x_Md), sequences, reg, last ? rows : Rows::kAll);
  }
  return x_Md;
}

Tensor cancel_point(const Tensor& x) {
  if (c10::GradMode::is_enabled() && x.requires_grad()) return CancelPoint::apply(x);
  ops::check_cancelled();
  return x;
}

}  // namespace cots
