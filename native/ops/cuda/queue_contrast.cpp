// queue_contrast on CUDA tensors: checks, memory, then the launches of queue_contrast.cuh. Legend:
// B pairs, n queue entries, D embedding, C chunks.
#include "ops/queue_contrast.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <array>
#include <tuple>

#include "ops/cuda/queue_contrast.h"

namespace cots::ops {
namespace {

using OptionalTensor = std::optional<Tensor>;

constexpr int64_t kAlignment = 16;  // bytes that one asynchronous copy takes

void check_matrix(const Tensor& x, const char* name, const Tensor& like, int64_t rows) {
  TORCH_CHECK(x.dim() == 2 && x.size(0) == rows && x.size(1) == like.size(1) &&
                  x.scalar_type() == like.scalar_type() && x.device() == like.device(),
              "queue_contrast: expected ", name, " as ", like.scalar_type(), " [", rows, ", ",
              like.size(1), "] on ", like.device(), ", got ", x.scalar_type(), " ", x.sizes(),
              " on ", x.device());
}

void check_ids(const OptionalTensor& id, const char* name, const Tensor& like, int64_t count) {
  TORCH_CHECK(id && id->scalar_type() == at::kLong && id->dim() == 1 && id->size(0) == count &&
                  id->device() == like.device(),
              "queue_contrast: a duplicate policy needs ", name, " as int64 [", count, "] on ",
              like.device());
}

/// Contiguous, with rows and address in multiples of 16 bytes: columns of zeros change no product.
Tensor aligned(const Tensor& x) {
  const int64_t run = kAlignment / x.element_size(), missing = (run - x.size(1) % run) % run;
  const Tensor padded = missing == 0 ? x.contiguous() : at::constant_pad_nd(x, {0, missing}, 0);
  const bool is_aligned = reinterpret_cast<uintptr_t>(padded.const_data_ptr()) % kAlignment == 0;
  return is_aligned ? padded : padded.clone();
}

Tensor scratch(int64_t bytes, const Tensor& like) {
  return at::empty({std::max<int64_t>(bytes, 1)}, like.options().dtype(at::kByte));
}

std::tuple<Tensor, Tensor, Tensor, Tensor> queue_contrast_cuda(
    const Tensor& image_BD, const Tensor& text_BD, const Tensor& image_key_BD,
    const Tensor& text_key_BD, const Tensor& image_queue_nD, const Tensor& text_queue_nD,
    const Tensor& weights_B, const Tensor& log_scale, const OptionalTensor& id_B,
    const OptionalTensor& queue_id_n, double normalizer, double instance_weight, double task_weight,
    bool include_positive, bool stopgrad_target, int64_t duplicate_policy,
    int64_t batch_key_column) {
  TORCH_CHECK(normalizer > 0, "queue_contrast: expected a normalizer > 0, got ", normalizer);
  TORCH_CHECK(image_BD.dim() == 2 && image_queue_nD.dim() == 2,
              "queue_contrast: expected image [B, D] and queue [n, D], got ", image_BD.sizes(),
              " and ", image_queue_nD.sizes());
  const bool is_bf16 = image_BD.scalar_type() == at::kBFloat16;
  TORCH_CHECK(is_bf16 || image_BD.scalar_type() == at::kFloat,
              "queue_contrast: expected float32 or bfloat16, got ", image_BD.scalar_type());
  const int64_t B = image_BD.size(0), n = image_queue_nD.size(0), width = image_BD.size(1);
  TORCH_CHECK(width >= 1 && width <= cuda::kWidestContrast,
              "queue_contrast: expected embeddings of 1 to ", cuda::kWidestContrast,
              " numbers on CUDA, got ", width, ". Lower model.embedDim or train on the CPU.");
  check_matrix(text_BD, "text", image_BD, B);
  check_matrix(image_key_BD, "image_key", image_BD, B);
  check_matrix(text_key_BD, "text_key", image_BD, B);
  check_matrix(image_queue_nD, "image_queue", image_BD, n);
  check_matrix(text_queue_nD, "text_queue", image_BD, n);
  TORCH_CHECK(weights_B.dim() == 1 && weights_B.size(0) == B && weights_B.is_cuda(),
              "queue_contrast: expected weights [", B, "] on ", image_BD.device(), ", got ",
              weights_B.sizes(), " on ", weights_B.device());
  TORCH_CHECK(log_scale.numel() == 1, "queue_contrast: expected one log_scale, got ",
              log_scale.sizes());
  const ContrastOptions options{normalizer,      instance_weight,
                                task_weight,     include_positive,
                                stopgrad_target, static_cast<DuplicatePolicy>(duplicate_policy),
                                batch_key_column};
  const bool has_ids = options.duplicate_policy != DuplicatePolicy::kKeep;
  if (has_ids) check_ids(id_B, "id", image_BD, B), check_ids(queue_id_n, "queue_id", image_BD, n);

  const c10::cuda::CUDAGuard guard(image_BD.device());
  const cuda::ContrastDevice device = cuda::current_contrast_device();
  TORCH_CHECK(device.capability >= 80,
              "queue_contrast: expected a device of compute capability 8.0 or later, got ",
              device.capability / 10, ".", device.capability % 10);
  const std::array<Tensor, 6> matrix{aligned(image_BD),       aligned(text_BD),
                                     aligned(image_key_BD),   aligned(text_key_BD),
                                     aligned(image_queue_nD), aligned(text_queue_nD)};
  const int D = static_cast<int>(matrix[0].size(1));
  const Tensor weights = weights_B.to(at::kFloat).contiguous();
  const Tensor scale = log_scale.to(image_BD.device(), at::kFloat);
  const Tensor id = has_ids ? id_B->contiguous() : Tensor(),
               queue_id = has_ids ? queue_id_n->contiguous() : Tensor();

  const int64_t C = cuda::contrast_chunks(B, n, D, is_bf16, device);
  const auto f32 = image_BD.options().dtype(at::kFloat);
  const Tensor part = scratch(C * B * static_cast<int64_t>(sizeof(cuda::RowPart)), image_BD),
               result = scratch(B * static_cast<int64_t>(sizeof(RowResult)), image_BD),
               log_scale_part = at::empty({B}, f32.dtype(at::kDouble));
  const Tensor image_CBD = at::empty({C, B, D}, f32), text_CBD = at::empty({C, B, D}, f32);
  const Tensor losses_4 = at::empty({4}, f32), grad_log_scale = at::empty({}, f32);
  const Tensor grad_image = at::empty({B, D}, f32), grad_text = at::empty({B, D}, f32);

  const cuda::ContrastArguments arguments{matrix[0].const_data_ptr(),
                                          matrix[1].const_data_ptr(),
                                          matrix[2].const_data_ptr(),
                                          matrix[3].const_data_ptr(),
                                          matrix[4].const_data_ptr(),
                                          matrix[5].const_data_ptr(),
                                          weights.const_data_ptr<float>(),
                                          scale.const_data_ptr<float>(),
                                          has_ids ? id.const_data_ptr<int64_t>() : nullptr,
                                          has_ids ? queue_id.const_data_ptr<int64_t>() : nullptr,
                                          options,
                                          B,
                                          n,
                                          D,
                                          C,
                                          static_cast<cuda::RowPart*>(part.mutable_data_ptr()),
                                          static_cast<RowResult*>(result.mutable_data_ptr()),
                                          image_CBD.mutable_data_ptr<float>(),
                                          text_CBD.mutable_data_ptr<float>(),
                                          log_scale_part.mutable_data_ptr<double>(),
                                          losses_4.mutable_data_ptr<float>(),
                                          grad_image.mutable_data_ptr<float>(),
                                          grad_text.mutable_data_ptr<float>(),
                                          grad_log_scale.mutable_data_ptr<float>()};
  cuda::launch_queue_contrast(arguments, is_bf16, device.shared_bytes,
                              c10::cuda::getCurrentCUDAStream());
  return {losses_4, grad_image.narrow(1, 0, width), grad_text.narrow(1, 0, width), grad_log_scale};
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CUDA, m) { m.impl("queue_contrast", queue_contrast_cuda); }

}  // namespace cots::ops
