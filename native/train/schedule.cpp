#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace cots {

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

}  // namespace cots
