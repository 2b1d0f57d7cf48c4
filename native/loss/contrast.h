// Instance level (InfoNCE against the queues) and task level (symmetric KL between the two
// retrieval distributions): SPEC 3.2, 3.3. A thin, differentiable face of ops::queue_contrast.
#pragma once

#include <ATen/core/Tensor.h>

namespace cots::loss {

using at::Tensor;

struct ContrastInputs {
  Tensor image_BD, text_BD;              // online, unit rows, gradient
  Tensor image_key_BD, text_key_BD;      // momentum, constants
  Tensor image_queue_nD, text_queue_nD;  // n >= 0
  Tensor weights_B;                      // 0 or 1, from the filter
  Tensor log_scale;                      // scalar ln(1 / tau); gradient if tau is learnable
  Tensor id_B, queue_id_n;               // int64 image ids; undefined when duplicates are kept
};

struct ContrastOptions {
  double normalizer;  // W = max(sum of weights over the whole step, 1)
  double instance_weight, task_weight;
  bool include_positive, stopgrad_target;
  int64_t duplicate_policy;  // 0 keep, 1 mask same image, 2 multi positive
  int64_t batch_key_column;  // first column of the batch's own keys appended to the queues, or -1
};

struct ContrastLoss {
  Tensor total;  // scalar with gradient: instance_weight * (i2t + t2i) + task_weight * task
  Tensor image_to_text, text_to_image, task;  // detached scalars, each already divided by W
};

ContrastLoss contrast(const ContrastInputs& inputs, const ContrastOptions& options);

}  // namespace cots::loss
