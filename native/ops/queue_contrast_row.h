// One row of queue_contrast between its two sweeps: from the online softmax of the queue and the
// positive's logits to the losses and the coefficients of the gradient (SPEC 3.2, 3.3). The CPU and
// the CUDA kernel compute the same lines.
#pragma once

#include <cmath>
#include <cstdint>

#include "ops/contrast_options.h"
#include "ops/host_device.h"

namespace cots::ops {

/// Online softmax of one direction: l = sum e^(a - m), s = sum e^(a - m) d over the columns seen.
struct OnlineSoftmax {
  double m = -HUGE_VAL, l = 0, s = 0;

  COTS_HOST_DEVICE void merge(const OnlineSoftmax& other) {
    if (other.l == 0) return;
    const double top = m > other.m ? m : other.m, keep = exp(m - top), add = exp(other.m - top);
    l = l * keep + other.l * add;
    s = s * keep + other.s * add;
    m = top;
  }
};

struct RowState {
  OnlineSoftmax a, b;                   // over the queue; the positive joins at the end
  double matched_a = 0, matched_b = 0;  // sum of the logits of the row's other positives
};

/// Gradient of one row in terms of e_a = e^(a - m_a), e_b = e^(b - m_b):
/// G_a = e_a (a_one + a_d (d - mean_a)) - a_other e_b, G_b = e_b (b_one - b_d (d - mean_b)) -
/// b_other e_a.
struct RowGradient {
  float m_a, m_b, mean_a,
      mean_b;  // mean: E[d] under p and q; taken off before anything is multiplied, d being large
  float a_one, a_d, a_other;
  float b_one, b_d, b_other;
};

struct RowResult {
  double image_to_text = 0, text_to_image = 0, task = 0;
  double positive_a = 0, positive_b = 0;  // gradient of the logits of column 0
  double matched = 0;  // what the target takes off the gradient of a matched column
  RowGradient gradient{};
};

/// One direction of a row once its queue is summed: x0 is the positive's logit, d0 its a - b.
struct Direction {
  double lse, task_lse, expectation;  // of all columns; of the task's columns, and E[d] over them

  COTS_HOST_DEVICE Direction(const OnlineSoftmax& queue, double x0, double d0,
                             bool include_positive) {
    OnlineSoftmax all = queue;
    all.merge({x0, 1, d0});
    lse = all.m + log(all.l);
    const OnlineSoftmax& task = include_positive || queue.l == 0 ? all : queue;
    task_lse = task.m + log(task.l);
    expectation = task.s / task.l;
  }
};

/// Losses and gradient coefficients of one row (SPEC 3.2, 3.3); p' and q' are the distributions of
/// the task.
COTS_HOST_DEVICE inline RowResult finish_row(const RowState& state, double a0, double b0,
                                             int64_t positives, double share,
                                             const ContrastOptions& o) {
  const double d0 = a0 - b0;
  const bool empty = state.a.l == 0;
  const Direction a(state.a, a0, d0, o.include_positive), b(state.b, b0, d0, o.include_positive);
  const double target = 1.0 / static_cast<double>(positives);
  const double has_task = !o.include_positive && empty ? 0 : 1;
  const double instance = o.instance_weight * share, task = o.task_weight * share * has_task;

  RowResult result;
  result.image_to_text = share * (a.lse - target * (a0 + state.matched_a));
  result.text_to_image = share * (b.lse - target * (b0 + state.matched_b));
  result.task = share * has_task * (a.expectation - b.expectation);
  result.matched = instance * target;

  const double slope = o.stopgrad_target ? 0 : 1;
  const double p0 = exp(a0 - a.lse), q0 = exp(b0 - b.lse);
  const double task0 = o.include_positive ? task : 0;
  result.positive_a =
      instance * (p0 - target) + task0 * (slope * p0 * (d0 - a.expectation) + p0 - q0);
  result.positive_b =
      instance * (q0 - target) + task0 * (q0 - p0 - slope * q0 * (d0 - b.expectation));
  if (empty)
    return result;  // no column of weight in sweep 2: m = 0 makes every masked exponential vanish

  const double p = exp(state.a.m - a.lse), task_p = exp(state.a.m - a.task_lse);
  const double q = exp(state.b.m - b.lse), task_q = exp(state.b.m - b.task_lse);
  result.gradient = {static_cast<float>(state.a.m),
                     static_cast<float>(state.b.m),
                     static_cast<float>(a.expectation),
                     static_cast<float>(b.expectation),
                     static_cast<float>(instance * p + task * task_p),
                     static_cast<float>(task * task_p * slope),
                     static_cast<float>(task * task_q),
                     static_cast<float>(instance * q + task * task_q),
                     static_cast<float>(task * task_q * slope),
                     static_cast<float>(task * task_p)};
  return result;
}

}  // namespace cots::ops
