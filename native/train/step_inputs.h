// What a step of fixed shapes reads that is new in every step: its batch, its random draws and the
// places of what is masked. Legend: B pairs, L tokens, M room for masked positions.
#pragma once

#include <compare>
#include <vector>

#include "train/online_pass.h"

namespace cots {

struct StepShape {
  int64_t pairs, tokens;
  auto operator<=>(const StepShape&) const = default;
};

struct StepInputs {
  Batch batch;
  Draws draws;                    // without the masks of words, which `micro` has as places
  std::vector<MicroBatch> micro;  // equal slices of the batch
  Tensor rate_2;                  // f64: learning rate, number of the optimizer's update
};

/// Of a batch whose texts are padded to a multiple of 8 tokens: few shapes.
StepShape step_shape(const TrainConfig& config, const Batch& batch);

/// On the CPU, all but rate_2. Throws ERR_COTS_NOT_IMPLEMENTED for clips, and ERR_COTS_CONFIG where
/// the micro-batches are not all of one size.
StepInputs step_inputs(const TrainConfig& config, const Batch& batch, int64_t step);

/// Memory of the same shapes on a device, with a rate_2.
StepInputs empty_like(const StepInputs& inputs, at::Device device);

/// The tensors that change from step to step, but rate_2, in one order.
std::vector<Tensor> tensors_of(const StepInputs& inputs);

}  // namespace cots
