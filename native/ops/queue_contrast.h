// Both InfoNCE directions and the symmetric KL against the queues, with their gradients, in two
// streaming sweeps (SPEC 3.2, 3.3, 3.5). No [B, n] matrix is ever formed: memory is O(B * tile + B
// * D).
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

#include "ops/contrast_options.h"

namespace cots::ops {

using at::Tensor;

struct ContrastInputs {
  Tensor image_BD, text_BD;              // online, unit rows, gradient
  Tensor image_key_BD, text_key_BD;      // momentum, constants
  Tensor image_queue_nD, text_queue_nD;  // n >= 0
  Tensor weights_B;                      // 0 or 1, from the filter
  Tensor log_scale;                      // scalar ln(1 / tau); gradient if tau is learnable
  Tensor id_B, queue_id_n;               // int64 image ids; undefined when duplicates are kept
};

/// Schema cots::queue_contrast, which takes the fields of both structs one by one. Returns (losses
/// [4] = total, image_to_text, text_to_image, task; grad_image [B, D]; grad_text [B, D];
/// grad_log_scale []).
std::tuple<Tensor, Tensor, Tensor, Tensor> queue_contrast(const ContrastInputs& inputs,
                                                          const ContrastOptions& options);

/// The same by plain torch operations, [B, 1 + n] logits and autograd through every step; any float
/// type. The reference of the tests and the bench. Returns the four losses as a [4] tensor that
/// carries gradient to image, text and log_scale.
Tensor queue_contrast_composite(const ContrastInputs& inputs, const ContrastOptions& options);

/// On CUDA: float32 or, for tensor cores, bfloat16 of all six matrices, D up to 256. Nothing waits
/// for the device: a step whose W only the device knows passes weights w / W and normalizer 1.
///
/// Differentiable face: losses [4] whose element 0 carries the gradient formed in forward (backward
/// only scales it).
Tensor queue_contrast_loss(const ContrastInputs& inputs, const ContrastOptions& options);

}  // namespace cots::ops
