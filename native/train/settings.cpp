#include "train/settings.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

namespace cots {
namespace {

constexpr double kMinTau = 0.001, kMaxTau = 0.5;

}  // namespace

ops::PixelScale pixel_scale(const TrainConfig& config) {
  ops::PixelScale scale;
  std::copy(std::begin(config.image_mean), std::end(config.image_mean), scale.mean);
  std::copy(std::begin(config.image_std), std::end(config.image_std), scale.std);
  scale.type = config.placement.compute;
  return scale;
}

loss::FilterOptions filter_options(const FilterConfig& config) {
  const int64_t never = std::numeric_limits<int64_t>::max();
  return {config.k, config.enabled ? std::max<int64_t>(1, config.min_valid) : never,
          config.min_keep_fraction};
}

void clamp_temperature(const LossConfig& config, const Cots& model) {
  if (!config.tau_learnable) return;
  model.log_scale().detach().clamp_(-std::log(kMaxTau), -std::log(kMinTau));
}

}  // namespace cots
