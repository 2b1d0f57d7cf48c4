#include "train/schedule.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace cots {
namespace {

constexpr double kMinTau = 0.001, kMaxTau = 0.5;

}  // namespace

double learning_rate(const OptimizerConfig& config, int64_t step) {
  const int64_t before = step - 1;  // updates before this one
  if (before < config.warmup_steps)
    return config.warmup_from + (config.lr - config.warmup_from) * static_cast<double>(before) /
                                    static_cast<double>(config.warmup_steps);
  const auto length =
      static_cast<double>(std::max<int64_t>(1, config.total_steps - config.warmup_steps));
  const double progress = std::min(1.0, static_cast<double>(before - config.warmup_steps) / length);
  return config.min_lr +
         0.5 * (config.lr - config.min_lr) * (1 + std::cos(std::numbers::pi * progress));
}

double task_weight(const LossConfig& config, int64_t step) {
  if (config.task_warmup_steps <= 0) return config.weight_task;
  return config.weight_task * std::min(1.0, static_cast<double>(step - 1) /
                                                static_cast<double>(config.task_warmup_steps));
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
