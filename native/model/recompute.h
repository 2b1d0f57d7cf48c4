// Activation checkpointing: what backward needs of a part of the network is computed again instead
// of being kept (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace cots {

using at::Tensor;

/// What the caller does with a part's result: in backward nothing, for its gradient is given.
enum class Result { kRead, kUnread };

/// A part of the network: the same numbers from the same x whenever it is called. With kUnread it
/// may return anything of the right shape that has the right gradient.
using Part = std::function<Tensor(const Tensor& x, Result result)>;

/// part(x, kRead), of which x alone is kept: backward calls the part again. `parameters`: all that
/// the part reads which may want a gradient. Losses and gradients are those of part(x, kRead), bit
/// for bit. Without gradients it is just that call.
Tensor recomputed(const Part& part, const Tensor& x, const std::vector<Tensor>& parameters);

}  // namespace cots
