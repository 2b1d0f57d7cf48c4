// Legend: M rows, K inputs, N outputs.
#include "ops/linear.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <array>
#include <optional>
#include <tuple>
#include <vector>

#include "ops/dispatch.h"

namespace cots::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<Tensor>;
using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

constexpr double kQuickGelu = 1.702;  // Hendrycks and Gimpel 2016

OptionalTensor optional(const Tensor& t) { return t.defined() ? OptionalTensor(t) : std::nullopt; }

Tensor forward_op(const LinearArguments& a) {
  static const auto op =
      find_op<Tensor(const Tensor&, const Tensor&, const Tensor&, const OptionalTensor&,
                     const OptionalTensor&, double, int64_t, const OptionalTensor&)>(
          "cots::linear");
  return op.call(a.x_MK, a.weight_NK, a.bias_N, optional(a.norm_weight_K), optional(a.norm_bias_K),
                 a.norm_eps, static_cast<int64_t>(a.activation), optional(a.residual_MN));
}

Gradients backward_op(const Tensor& grad_MN, const LinearArguments& a, std::array<bool, 2> wanted) {
  static const auto op =
      find_op<Gradients(const Tensor&, const Tensor&, const Tensor&, const OptionalTensor&,
                        const OptionalTensor&, double, int64_t, std::array<bool, 2>)>(
          "cots::linear_backward");
  return op.call(grad_MN, a.x_MK, a.weight_NK, optional(a.norm_weight_K), optional(a.norm_bias_K),
                 a.norm_eps, static_cast<int64_t>(a.activation), wanted);
}

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x_MK, const Tensor& weight_NK,
                        const Tensor& bias_N, const OptionalTensor& norm_weight,
                        const OptionalTensor& norm_bias, const OptionalTensor& residual,
                        double norm_eps, int64_t activation, bool unread) {
    at::AutoDispatchBelowADInplaceOrView below;
    const Tensor norm_weight_K = norm_weight.value_or(Tensor()),
                 norm_bias_K = norm_bias.value_or(Tensor());
    context->save_for_backward({x_MK, weight_NK, norm_weight_K, norm_bias_K});
    context->saved_data["eps"] = norm_eps;
    context->saved_data["activation"] = activation;
    context->saved_data["residual"] = residual.has_value();
    if (unread) {
      std::vector<int64_t> shape = x_MK.sizes().vec();
      shape.back() = weight_NK.size(0);
      return at::empty(shape, x_MK.options());
    }
    return forward_op({x_MK, weight_NK, bias_N, norm_weight_K, norm_bias_K, norm_eps,
                       static_cast<InputActivation>(activation), residual.value_or(Tensor())});
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    variable_list out(9);
    if (!grads[0].defined()) return out;
    const auto saved = context->get_saved_variables();
    const LinearArguments a{
        saved[0],
        saved[1],
        {},
        saved[2],
        saved[3],
        context->saved_data["eps"].toDouble(),
        static_cast<InputActivation>(context->saved_data["activation"].toInt())};
    const bool weights = context->needs_input_grad(1) || context->needs_input_grad(2);
    std::tie(out[0], out[1], out[2], out[3], out[4]) = backward_op(
        grads[0], a, {context->needs_input_grad(0) || a.norm_weight_K.defined(), weights});
    if (context->saved_data["residual"].toBool()) out[5] = grads[0];
    return out;
  }
};

bool has_kernel(const LinearArguments& a) {
  for (const Tensor* t :
       {&a.x_MK, &a.weight_NK, &a.bias_N, &a.norm_weight_K, &a.norm_bias_K, &a.residual_MN})
    if (t->defined() && !(t->is_cpu() && t->scalar_type() == at::kFloat)) return false;
  return true;
}

}  // namespace

Tensor linear(const LinearArguments& a) {
  if (!has_kernel(a)) return linear_composite(a);
  return LinearFunction::apply(a.x_MK, a.weight_NK, a.bias_N, optional(a.norm_weight_K),
                               optional(a.norm_bias_K), optional(a.residual_MN), a.norm_eps,
                               static_cast<int64_t>(a.activation), a.unread);
}

Tensor linear_composite(const LinearArguments& a) {
  const auto type = a.x_MK.scalar_type();
  Tensor input = a.x_MK;
  if (a.norm_weight_K.defined())
    input = at::layer_norm(input, a.norm_weight_K.sizes(), a.norm_weight_K.to(type),
                           a.norm_bias_K.to(type), a.norm_eps);
  if (a.activation == InputActivation::kGelu) input = at::gelu(input);
  if (a.activation == InputActivation::kQuickGelu) input = input * at::sigmoid(kQuickGelu * input);
  const Tensor y = at::linear(input, a.weight_NK.to(type), a.bias_N.to(type));
  return a.residual_MN.defined() ? a.residual_MN + y : y;
}

TORCH_LIBRARY_FRAGMENT(cots, m) {
  m.def(
      "linear(Tensor x, Tensor weight, Tensor bias, Tensor? norm_weight, Tensor? norm_bias, float "
      "norm_eps, int activation, Tensor? residual) -> Tensor");
  m.def(
      "linear_backward(Tensor grad, Tensor x, Tensor weight, Tensor? norm_weight, Tensor? "
      "norm_bias, float norm_eps, int activation, bool[2] wanted) -> (Tensor grad_x, Tensor "
      "grad_weight, Tensor grad_bias, Tensor grad_norm_weight, Tensor grad_norm_bias)");
}

}  // namespace cots::ops
