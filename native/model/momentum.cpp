#include "model/momentum.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace cots {

Momentum::Momentum(const Cots& online, const ModelConfig& config)
    : parameters_(std::nullopt),
      towers_(config, Scope(parameters_, "visual_m"), Scope(parameters_, "text_m")) {
  parameters_.flatten(/*requires_grad=*/false);
  update(online, 0);
}

void Momentum::update(const Cots& online, double m) {
  const c10::NoGradGuard no_grad;
  const Tensor& mine = parameters_.flat();
  TORCH_INTERNAL_ASSERT(mine.numel() == online.tower_count(),
                        "the momentum encoder mirrors the towers");
  // lerp is exact at both ends: m = 1 keeps, m = 0 copies.
  mine.lerp_(online.parameters().flat().narrow(0, 0, online.tower_count()), 1 - m);
}

}  // namespace cots
