// The arithmetic of AdamW on one element, the same lines on a CPU and on a GPU.
#pragma once

#include <cmath>
#include <cstdint>

#include "ops/host_device.h"

namespace cots::ops {

struct AdamW {
  double lr, beta1, beta2, eps, weight_decay;
  int64_t step;       // from 1
  double grad_scale;  // clipping
};

/// What is the same for every element of a step.
struct AdamWStep {
  float decay, blend, beta2, rest2, inverse_root2, eps, rate, grad_scale;

  COTS_HOST_DEVICE static AdamWStep of(const AdamW& o) {
    const double correction1 = 1 - pow(o.beta1, static_cast<double>(o.step));
    const double correction2 = 1 - pow(o.beta2, static_cast<double>(o.step));
    return {static_cast<float>(o.lr * o.weight_decay),
            static_cast<float>(1 - o.beta1),
            static_cast<float>(o.beta2),
            static_cast<float>(1 - o.beta2),
            static_cast<float>(1 / sqrt(correction2)),
            static_cast<float>(o.eps),
            static_cast<float>(o.lr / correction1),
            static_cast<float>(o.grad_scale)};
  }
};

/// What a captured step reads anew at every replay: f64 [4] on the parameters' device, in this
/// order.
struct LiveAdamW {
  double lr_factor;   // times AdamW::lr
  double step;        // in place of AdamW::step
  double grad_scale;  // in place of AdamW::grad_scale
  double active;      // 0: nothing is changed, as in a step whose pairs were all filtered out

  COTS_HOST_DEVICE AdamW apply_to(AdamW options) const {
    options.lr *= lr_factor;
    options.step = static_cast<int64_t>(step);
    options.grad_scale = grad_scale;
    return options;
  }
};

/// average + weight * (value - average), exact at both ends (torch.lerp).
COTS_HOST_DEVICE inline float lerp(float average, float value, float weight) {
  return weight < 0.5f ? average + weight * (value - average)
                       : value - (value - average) * (1 - weight);
}

}  // namespace cots::ops
