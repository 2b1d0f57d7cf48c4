#include "model/transformer.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/cancel.h"
#include "ops/keyed_random.h"

namespace cots {
namespace {

constexpr double kQuickGelu = 1.702;        // Hendrycks and Gimpel 2016
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

}  // namespace

Tensor linear_in(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return at::linear(x, weight.to(x.scalar_type()), bias.to(x.scalar_type()));
}

Linear::Linear(const Scope& scope, const std::string& name, int64_t in, int64_t out, double gain)
    : weight(scope.add(name + ".weight", {out, in}, Init::weight(gain), true)),
      bias(scope.add(name + ".bias", {out}, Init::zeros(), false)) {}

Tensor Linear::operator()(const Tensor& x) const { return linear_in(x, weight, bias); }

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

Tensor Block::forward(const Tensor& x_BLd, const std::optional<Tensor>& mask,
                      const Regularization& reg, Rows rows) const {
  // What is kept of the input: the residual path of the rows asked for.
  const Tensor kept = rows == Rows::kFirst ? x_BLd.narrow(1, 0, 1) : x_BLd;
  const int64_t site = config_.site;
  if (config_.order == NormOrder::kPre) {
    const Tensor x = kept + residual(attend(ln1_(x_BLd), mask, rows), gamma1_, reg, site);
    return x + residual(mlp(ln2_(x)), gamma2_, reg, site + 2);
  }
  const Tensor x = ln1_(kept + residual(attend(x_BLd, mask, rows), gamma1_, reg, site));
  return ln2_(x + residual(mlp(x), gamma2_, reg, site + 2));
}

Tensor Block::attend(const Tensor& x_BLd, const std::optional<Tensor>& mask, Rows rows) const {
  const int64_t B = x_BLd.size(0), L = x_BLd.size(1), d = config_.width, H = config_.heads;
  // [B, l, parts * d] -> parts of [B, H, l, d / H] without a copy; unbind gives one stack in
  // backward.
  const auto split_heads = [&](const Tensor& joined, int64_t l, int64_t parts) {
    return joined.view({B, l, parts, H, d / H}).permute({2, 0, 3, 1, 4}).unbind(0);
  };
  Tensor q, k, v;
  if (rows == Rows::kAll) {
    const auto parts = split_heads(qkv_(x_BLd), L, 3);
    q = parts[0], k = parts[1], v = parts[2];
  } else {
    const auto weights = qkv_.weight.split_with_sizes({d, 2 * d}),
               biases = qkv_.bias.split_with_sizes({d, 2 * d});
    q = split_heads(linear_in(x_BLd.narrow(1, 0, 1), weights[0], biases[0]), 1, 1)[0];
    const auto parts = split_heads(linear_in(x_BLd, weights[1], biases[1]), L, 2);
    k = parts[0], v = parts[1];
  }
  std::optional<Tensor> bias = score_bias(mask, rows);
  if (bias) bias = bias->to(q.scalar_type());
  const Tensor mixed_BHld = at::scaled_dot_product_attention(q, k, v, bias);
  return proj_(mixed_BHld.transpose(1, 2).reshape({B, -1, d}));
}

/// What is added to the attention scores: the mask, the relative position bias, both or nothing.
std::optional<Tensor> Block::score_bias(const std::optional<Tensor>& mask, Rows rows) const {
  if (!relative_bias_.defined()) return mask;
  const Tensor bias_1HlL = relative_bias_(rows);
  return mask ? bias_1HlL + *mask : bias_1HlL;
}

Tensor Block::mlp(const Tensor& x_BLd) const {
  const Tensor hidden = fc1_(x_BLd);
  return fc2_(config_.activation == Activation::kGelu ? at::gelu(hidden)
                                                      : hidden * at::sigmoid(kQuickGelu * hidden));
}

/// The branch as it is added: scaled, dropout of its elements, then stochastic depth: the whole
/// branch of a row.
Tensor Block::residual(const Tensor& branch, const Tensor& gamma, const Regularization& reg,
                       int64_t site) const {
  Tensor result = gamma.defined() ? gamma.to(branch.scalar_type()) * branch : branch;
  if (!reg.active()) return result;
  if (config_.dropout > 0) result = ops::keyed_dropout(result, reg.keys_B, site, config_.dropout);
  if (config_.drop_path > 0) {
    const Tensor kept_B1 = ops::keyed_uniform(reg.keys_B, site + 1, 1) >= config_.drop_path;
    result = result * (kept_B1 / (1 - config_.drop_path)).unsqueeze(-1);
  }
  return result;
}

Tensor run_blocks(const std::vector<Block>& blocks, Tensor x_BLd, const std::optional<Tensor>& mask,
                  const Regularization& reg, Rows rows) {
  for (const Block& block : blocks) {
    const bool last = &block == &blocks.back();
    x_BLd = block.forward(cancel_point(x_BLd), mask, reg, last ? rows : Rows::kAll);
  }
  return x_BLd;
}

Tensor cancel_point(const Tensor& x) {
  if (c10::GradMode::is_enabled() && x.requires_grad()) return CancelPoint::apply(x);
  ops::check_cancelled();
  return x;
}

}  // namespace cots
