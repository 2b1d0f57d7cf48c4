// Momentum encoder (He et al. 2020): a float32 EMA twin of both towers and projections, always in
// evaluation mode.
#pragma once

#include "model/cots.h"

namespace cots {

class Momentum {
 public:
  /// Starts as a copy of `online`. Parameters are named visual_m.*, text_m.*.
  Momentum(const Cots& online, const ModelConfig& config);

  /// theta_m <- m * theta_m + (1 - m) * theta, one pass over the flat buffers.
  void update(const Cots& online, double m);

  const Towers& towers() const { return towers_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }

 private:
  Parameters parameters_;
  Towers towers_;
};

}  // namespace cots
