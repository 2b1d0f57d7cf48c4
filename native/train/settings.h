// What the config says of every step, in the terms of the parts that take it.
#pragma once

#include "loss/adaptive_filter.h"
#include "model/cots.h"
#include "ops/scale_pixels.h"
#include "train/config.h"

namespace cots {

/// Pixels as the vision tower takes them.
ops::PixelScale pixel_scale(const TrainConfig& config);
/// A filter that is off never becomes active.
loss::FilterOptions filter_options(const FilterConfig& config);
/// Keeps a learnable temperature in [0.001, 0.5], as ALBEF does.
void clamp_temperature(const LossConfig& config, const Cots& model);

}  // namespace cots
