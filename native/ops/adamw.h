// AdamW (Loshchilov & Hutter 2019) over flat buffers: one pass, decoupled weight decay by a 0/1
// mask.
#pragma once

#include <ATen/core/Tensor.h>

#include "ops/adamw_update.h"

namespace cots::ops {

using at::Tensor;

/// A moving average of the parameters, updated in the same pass: average <- decay * average + (1 -
/// decay) * parameter, after the step (SPEC 2.2, the momentum encoder's rule).
struct MovingAverage {
  Tensor average;  // f32 [N]; undefined: none is kept
  double decay = 1;
};

/// Schema cots::adamw_. All f32 [N] and contiguous; updates parameter, first and second moment in
/// place, exactly torch.optim.AdamW's formula with bias correction. live: f64 [4], the fields of
/// LiveAdamW, on the same device; undefined: the options as they are. A CUDA graph replays it with
/// what the tensor holds then.
void adamw_(const Tensor& parameter, const Tensor& grad, const Tensor& first_moment,
            const Tensor& second_moment, const Tensor& decay_mask, const AdamW& options,
            const Tensor& live = {}, const MovingAverage& average = {});
void adamw_composite_(const Tensor& parameter, const Tensor& grad, const Tensor& first_moment,
                      const Tensor& second_moment, const Tensor& decay_mask, const AdamW& options,
                      const Tensor& live = {}, const MovingAverage& average = {});

}  // namespace cots::ops
