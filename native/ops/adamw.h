// AdamW (Loshchilov & Hutter 2019) over flat buffers: one pass, decoupled weight decay by a 0/1
// mask.
#pragma once

#include <ATen/core/Tensor.h>

namespace cots::ops {

using at::Tensor;

struct AdamW {
  double lr, beta1, beta2, eps, weight_decay;
  int64_t step;       // from 1
  double grad_scale;  // clipping
};

/// Schema cots::adamw_. All f32 [N] and contiguous; updates parameter, first and second moment in
/// place, exactly torch.optim.AdamW's formula with bias correction.
void adamw_(const Tensor& parameter, const Tensor& grad, const Tensor& first_moment,
            const Tensor& second_moment, const Tensor& decay_mask, const AdamW& options);
void adamw_composite_(const Tensor& parameter, const Tensor& grad, const Tensor& first_moment,
                      const Tensor& second_moment, const Tensor& decay_mask, const AdamW& options);

}  // namespace cots::ops
