// Legend: N elements of the flat buffers.
#include "ops/adamw.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/library.h>

#include <cmath>

#include "ops/dispatch.h"

namespace cots::ops {

void adamw_(const Tensor& parameter, const Tensor& grad, const Tensor& first_moment,
            const Tensor& second_moment, const Tensor& decay_mask, const AdamW& o) {
  static const auto op =
      find_op<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                   double, double, double, double, double, int64_t, double)>("cots::adamw_");
  op.call(parameter, grad, first_moment, second_moment, decay_mask, o.lr, o.beta1, o.beta2, o.eps,
          o.weight_decay, o.step, o.grad_scale);
}

void adamw_composite_(const Tensor& parameter_N, const Tensor& grad_N, const Tensor& first_moment_N,
                      const Tensor& second_moment_N, const Tensor& decay_mask_N, const AdamW& o) {
  at::NoGradGuard no_grad;
  const Tensor g_N = grad_N * o.grad_scale;
  parameter_N.mul_(1 - o.lr * o.weight_decay * decay_mask_N);
  first_moment_N.lerp_(g_N, 1 - o.beta1);
  second_moment_N.mul_(o.beta2).addcmul_(g_N, g_N, 1 - o.beta2);
  const double step = static_cast<double>(o.step);
  const double correction1 = 1 - std::pow(o.beta1, step), correction2 = 1 - std::pow(o.beta2, step);
  const Tensor denominator_N = second_moment_N.sqrt().div_(std::sqrt(correction2)).add_(o.eps);
  parameter_N.addcdiv_(first_moment_N, denominator_N, -o.lr / correction1);
}

TORCH_LIBRARY_FRAGMENT(cots, m) {
  m.def(
      "adamw_(Tensor(a!) parameter, Tensor grad, Tensor(b!) first_moment, Tensor(c!) "
      "second_moment, Tensor decay_mask, "
      "float lr, float beta1, float beta2, float eps, float weight_decay, int step, float "
      "grad_scale) -> ()");
}

}  // namespace cots::ops
