// Learning rate and warm-ups as pure functions of the step (SPEC 2.5 sched), and the two rules of a
// step that are told by the config alone.
#pragma once

#include "loss/adaptive_filter.h"
#include "model/cots.h"
#include "train/config.h"

namespace cots {

/// Linear warmup_from -> lr over warmup_steps, then cosine lr -> min_lr at total_steps. `step`
/// from 1.
double learning_rate(const OptimizerConfig& config, int64_t step);
/// Linear 0 -> weight_task over task_warmup_steps.
double task_weight(const LossConfig& config, int64_t step);

/// One that is off never becomes active.
loss::FilterOptions filter_options(const FilterConfig& config);
/// Keeps a learnable temperature in [0.001, 0.5], as ALBEF does.
void clamp_temperature(const LossConfig& config, const Cots& model);

}  // namespace cots
