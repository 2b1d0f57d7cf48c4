#include "loss/contrast.h"

#include <ATen/ATen.h>

namespace cots::loss {

ContrastLoss contrast(const ContrastInputs& inputs, const ContrastOptions& options) {
  const Tensor losses_4 = ops::queue_contrast_loss(inputs, options);
  const Tensor values_4 = losses_4.detach();
  return {losses_4[0], values_4[1], values_4[2], values_4[3]};
}

}  // namespace cots::loss
