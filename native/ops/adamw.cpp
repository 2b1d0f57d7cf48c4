// Legend: N elements of the flat buffers.
#include "ops/adamw.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/library.h>

#include <cmath>
#include <optional>

#include "ops/dispatch.h"

namespace cots::ops {

void adamw_(const Tensor& parameter, const Tensor& grad, const Tensor& first_moment,
            const Tensor& second_moment, const Tensor& decay_mask, const AdamW& o,
            const Tensor& live, const MovingAverage& average) {
  static const auto op =
      find_op<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                   double, double, double, double, double, int64_t, double,
                   const std::optional<Tensor>&, const std::optional<Tensor>&, double)>(
          "cots::adamw_");
  const auto optional = [](const Tensor& t) {
    return t.defined() ? std::optional<Tensor>(t) : std::nullopt;
  };
  op.call(parameter, grad, first_moment, second_moment, decay_mask, o.lr, o.beta1, o.beta2, o.eps,
          o.weight_decay, o.step, o.grad_scale, optional(live), optional(average.average),
          average.decay);
}

void adamw_composite_(const Tensor& parameter_N, const Tensor& grad_N, const Tensor& first_moment_N,
                      const Tensor& second_moment_N, const Tensor& decay_mask_N,
                      const AdamW& options, const Tensor& live_4, const MovingAverage& average) {
  at::NoGradGuard no_grad;
  AdamW o = options;
  if (live_4.defined()) {
    const Tensor values = live_4.cpu();
    const double* v = values.const_data_ptr<double>();
    if (v[3] == 0) return;
    o = LiveAdamW{v[0], v[1], v[2], v[3]}.apply_to(options);
  }
  const Tensor g_N = grad_N * o.grad_scale;
  parameter_N.mul_(1 - o.lr * o.weight_decay * decay_mask_N);
  first_moment_N.lerp_(g_N, 1 - o.beta1);
  second_moment_N.mul_(o.beta2).addcmul_(g_N, g_N, 1 - o.beta2);
  const double step = static_cast<double>(o.step);
  const double correction1 = 1 - std::pow(o.beta1, step), correction2 = 1 - std::pow(o.beta2, step);
  const Tensor denominator_N = second_moment_N.sqrt().div_(std::sqrt(correction2)).add_(o.eps);
  parameter_N.addcdiv_(first_moment_N, denominator_N, -o.lr / correction1);
  if (average.average.defined()) average.average.lerp_(parameter_N, 1 - average.decay);
}

TORCH_LIBRARY_FRAGMENT(cots, m) {
  m.def(
      "adamw_(Tensor(a!) parameter, Tensor grad, Tensor(b!) first_moment, Tensor(c!) "
      "second_moment, Tensor decay_mask, "
      "float lr, float beta1, float beta2, float eps, float weight_decay, int step, float "
      "grad_scale, Tensor? live=None, Tensor(d!)? average=None, float average_decay=1) -> ()");
}

}  // namespace cots::ops
