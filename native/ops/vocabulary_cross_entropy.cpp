// Legend: M rows to predict, d width, V classes.
#include "ops/vocabulary_cross_entropy.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <array>
#include <tuple>

#include "ops/dispatch.h"

namespace cots::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Gradients = std::array<bool, 3>;  // of query, weight, bias
using LossAndGradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;

LossAndGradients forward_op(const Tensor& query_Md, const Tensor& weight_Vd, const Tensor& bias_V,
                            const Tensor& target_M, Gradients wanted) {
  static const auto op =
      find_op<LossAndGradients(const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                               Gradients)>("cots::vocabulary_cross_entropy");
  return op.call(query_Md, weight_Vd, bias_V, target_M, wanted);
}

struct VocabularyCrossEntropy : torch::autograd::Function<VocabularyCrossEntropy> {
  static Tensor forward(AutogradContext* context, const Tensor& query_Md, const Tensor& weight_Vd,
                        const Tensor& bias_V, const Tensor& target_M, Gradients wanted) {
    at::AutoDispatchBelowADInplaceOrView below;
    auto [loss, grad_query, grad_weight, grad_bias] =
        forward_op(query_Md, weight_Vd, bias_V, target_M, wanted);
    context->save_for_backward({grad_query, grad_weight, grad_bias});  // undefined where not wanted
    return loss;
  }

  /// Scales the gradients where they lie: that of a vocabulary's weights is as large as they are.
  static variable_list backward(AutogradContext* context, variable_list grads) {
    variable_list out(5);
    if (!grads[0].defined()) return out;
    TORCH_CHECK(context->saved_data.count("spent") == 0,
                "vocabulary_cross_entropy: expected one backward, got a second one");
    context->saved_data["spent"] = true;
    const auto saved = context->get_saved_variables();
    for (size_t i = 0; i < 3; ++i)
      if (saved[i].defined()) out[i] = saved[i].mul_(grads[0]);
    return out;
  }
};

}  // namespace

Tensor vocabulary_cross_entropy(const Tensor& query_Md, const Tensor& weight_Vd,
                                const Tensor& bias_V, const Tensor& target_M) {
  if (query_Md.scalar_type() == at::kDouble)  // gradient checks; the kernels are float32
    return vocabulary_cross_entropy_composite(query_Md, weight_Vd, bias_V, target_M);
  const bool grad_mode = at::GradMode::is_enabled();
  const auto wants = [grad_mode](const Tensor& x) { return grad_mode && x.requires_grad(); };
  // bfloat16 is multiplied as it is where tensor cores sum in float32, and only there.
  const bool is_half = query_Md.is_cuda() && query_Md.scalar_type() == at::kBFloat16;
  const at::ScalarType type = is_half ? at::kBFloat16 : at::kFloat;
  return VocabularyCrossEntropy::apply(query_Md.to(type), weight_Vd.to(type), bias_V.to(at::kFloat),
                                       target_M,
                                       Gradients{wants(query_Md), wants(weight_Vd), wants(bias_V)});
}

Tensor vocabulary_cross_entropy_composite(const Tensor& query_Md, const Tensor& weight_Vd,
                                          const Tensor& bias_V, const Tensor& target_M) {
  const Tensor logits_MV = at::linear(query_Md, weight_Vd, bias_V);
  const Tensor counted_M = target_M != kIgnoredTarget;
  const Tensor row_M1 = at::where(counted_M, target_M, 0).unsqueeze(1);
  const Tensor loss_M = logits_MV.logsumexp(1) - logits_MV.gather(1, row_M1).squeeze(1);
  return at::where(counted_M, loss_M, 0).sum();
}

void check_vocabulary_shapes(const Tensor& query_Md, const Tensor& weight_Vd, const Tensor& bias_V,
                             const Tensor& target_M) {
  TORCH_CHECK(query_Md.dim() == 2 && weight_Vd.dim() == 2 && query_Md.size(1) == weight_Vd.size(1),
              "vocabulary_cross_entropy: expected query [M, d] and weight [V, d], got ",
              query_Md.sizes(), " and ", weight_Vd.sizes());
  TORCH_CHECK(bias_V.dim() == 1 && bias_V.size(0) == weight_Vd.size(0),
              "vocabulary_cross_entropy: expected bias [V], got ", bias_V.sizes(), " for V ",
              weight_Vd.size(0));
  TORCH_CHECK(target_M.dim() == 1 && target_M.scalar_type() == at::kLong &&
                  target_M.size(0) == query_Md.size(0),
              "vocabulary_cross_entropy: expected target as int64 [M], got ",
              target_M.scalar_type(), " ", target_M.sizes(), " for M ", query_Md.size(0));
}

TORCH_LIBRARY_FRAGMENT(cots, m) {
  m.def(
      "vocabulary_cross_entropy(Tensor query, Tensor weight, Tensor bias, Tensor target, bool[3] "
      "gradients) -> "
      "(Tensor loss, Tensor grad_query, Tensor grad_weight, Tensor grad_bias)");
}

}  // namespace cots::ops
