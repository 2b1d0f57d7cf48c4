// Learning rate and warm-ups as pure functions of the step (SPEC 2.5 sched).
#pragma once

#include "train/config.h"

namespace cots {

/// Linear warmup_from -> lr over warmup_steps, then cosine lr -> min_lr at total_steps. `step`
/// from 1.
double learning_rate(const OptimizerConfig& config, int64_t step);
/// Linear 0 -> weight_task over task_warmup_steps.
double task_weight(const LossConfig& config, int64_t step);

}  // namespace cots
