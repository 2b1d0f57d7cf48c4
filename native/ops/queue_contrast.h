// Both InfoNCE directions and the symmetric KL against the queues, with their gradients, in two
// streaming sweeps (SPEC 3.2, 3.3, 3.5). No [B, n] matrix is ever formed: memory is O(B * tile + B
// * D).
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace cots::ops {

using at::Tensor;

/// Schema cots::queue_contrast. Arguments as in loss/contrast.h; temperature enters as log_scale =
/// ln(1 / tau), a scalar. Returns (losses [4] = total, image_to_text, text_to_image, task;
/// grad_image [B, D]; grad_text [B, D]; grad_log_scale []).
std::tuple<Tensor, Tensor, Tensor, Tensor> queue_contrast(
    const Tensor& image_BD, const Tensor& text_BD, const Tensor& image_key_BD,
    const Tensor& text_key_BD, const Tensor& image_queue_nD, const Tensor& text_queue_nD,
    const Tensor& weights_B, const Tensor& log_scale, const std::optional<Tensor>& id_B,
    const std::optional<Tensor>& queue_id_n, double normalizer, double instance_weight,
    double task_weight, bool include_positive, bool stopgrad_target, int64_t duplicate_policy,
    int64_t batch_key_column);

/// The same by plain torch operations, [B, 1 + n] logits and autograd through every step; any float
/// type. The reference of the tests and the bench. Returns the four losses as a [4] tensor that
/// carries gradient to image, text and log_scale.
Tensor queue_contrast_composite(const Tensor& image_BD, const Tensor& text_BD,
                                const Tensor& image_key_BD, const Tensor& text_key_BD,
                                const Tensor& image_queue_nD, const Tensor& text_queue_nD,
                                const Tensor& weights_B, const Tensor& log_scale,
                                const std::optional<Tensor>& id_B,
                                const std::optional<Tensor>& queue_id_n, double normalizer,
                                double instance_weight, double task_weight, bool include_positive,
                                bool stopgrad_target, int64_t duplicate_policy,
                                int64_t batch_key_column);

/// Differentiable face: losses [4] whose element 0 carries the gradient formed in forward (backward
/// only scales it).
Tensor queue_contrast_loss(const Tensor& image_BD, const Tensor& text_BD,
                           const Tensor& image_key_BD, const Tensor& text_key_BD,
                           const Tensor& image_queue_nD, const Tensor& text_queue_nD,
                           const Tensor& weights_B, const Tensor& log_scale,
                           const std::optional<Tensor>& id_B,
                           const std::optional<Tensor>& queue_id_n, double normalizer,
                           double instance_weight, double task_weight, bool include_positive,
                           bool stopgrad_target, int64_t duplicate_policy,
                           int64_t batch_key_column);

}  // namespace cots::ops
