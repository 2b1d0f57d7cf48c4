#include "loss/contrast.h"

#include <ATen/ATen.h>

#include <optional>

#include "ops/queue_contrast.h"

namespace cots::loss {

ContrastLoss contrast(const ContrastInputs& in, const ContrastOptions& options) {
  const auto optional = [](const Tensor& t) {
    return t.defined() ? std::optional<Tensor>(t) : std::nullopt;
  };
  const Tensor losses_4 = ops::queue_contrast_loss(
      in.image_BD, in.text_BD, in.image_key_BD, in.text_key_BD, in.image_queue_nD, in.text_queue_nD,
      in.weights_B, in.log_scale, optional(in.id_B), optional(in.queue_id_n), options.normalizer,
      options.instance_weight, options.task_weight, options.include_positive,
      options.stopgrad_target, options.duplicate_policy, options.batch_key_column);
  const Tensor values_4 = losses_4.detach();
  return {losses_4[0], values_4[1], values_4[2], values_4[3]};
}

}  // namespace cots::loss
