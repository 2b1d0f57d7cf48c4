// Instance level (InfoNCE against the queues) and task level (symmetric KL between the two
// retrieval distributions): SPEC 3.2, 3.3. A thin, differentiable face of ops::queue_contrast.
#pragma once

#include "ops/queue_contrast.h"

namespace cots::loss {

using at::Tensor;

using ops::ContrastInputs, ops::ContrastOptions;

struct ContrastLoss {
  Tensor total;  // scalar with gradient: instance_weight * (i2t + t2i) + task_weight * task
  Tensor image_to_text, text_to_image, task;  // detached scalars, each already divided by W
};

ContrastLoss contrast(const ContrastInputs& inputs, const ContrastOptions& options);

}  // namespace cots::loss
