#include "model/recompute.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace cots {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// A part, in the shape in which an autograd context keeps things.
struct KeptPart : torch::CustomClassHolder {
  explicit KeptPart(Part part) : call(std::move(part)) {}
  Part call;
};

/// x and the part's result, with the graph between them and nothing before.
std::pair<Tensor, Tensor> run(const Part& part, const Tensor& x, bool x_wants_gradient,
                              Result result) {
  const at::AutoGradMode recorded(true);
  const Tensor start = x.detach().set_requires_grad(x_wants_gradient);
  return {start, part(start, result)};
}

struct Recomputed : torch::autograd::Function<Recomputed> {
  /// The graph is made here too, and dropped: what libtorch computes may depend on whether a
  /// gradient is wanted (a bias of attention scores that learns has another kernel).
  static Tensor forward(AutogradContext* context, const Part& part, const Tensor& x,
                        at::TensorList parameters) {
    variable_list kept = {x};
    kept.insert(kept.end(), parameters.begin(), parameters.end());
    context->save_for_backward(std::move(kept));
    context->saved_data["part"] = at::IValue::make_capsule(c10::make_intrusive<KeptPart>(part));
    return run(part, x, x.requires_grad(), Result::kRead).second.detach();
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    variable_list inputs = context->get_saved_variables();
    variable_list out(1 + inputs.size());  // none of the part itself
    if (!grads[0].defined()) return out;
    const auto part =
        c10::static_intrusive_pointer_cast<KeptPart>(context->saved_data["part"].toCapsule());
    Tensor y;
    std::tie(inputs[0], y) =
        run(part->call, inputs[0], context->needs_input_grad(0), Result::kUnread);

    variable_list wanted;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (context->needs_input_grad(i)) wanted.push_back(inputs[i]);
    const variable_list found = torch::autograd::grad({y}, wanted, grads);
    for (size_t i = 0, next = 0; i < inputs.size(); ++i)
      if (context->needs_input_grad(i)) out[1 + i] = found[next++];
    return out;
  }
};

}  // namespace

Tensor recomputed(const Part& part, const Tensor& x, const std::vector<Tensor>& parameters) {
  if (!c10::GradMode::is_enabled()) return part(x, Result::kRead);
  return Recomputed::apply(part, x, at::TensorList(parameters));
}

}  // namespace cots
