// queue_push_ on CUDA tensors. Legend: N entries of the queue, B pairs of the batch.
#include "ops/queue_push.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "ops/cuda/queue_push.h"

namespace cots::ops {
namespace {

void queue_push_cuda_(const Tensor& image_ND, const Tensor& text_ND, const Tensor& score_N,
                      const Tensor& id_N, const Tensor& valid_N, const Tensor& cursor_2,
                      const Tensor& image_BD, const Tensor& text_BD, const Tensor& score_B,
                      const Tensor& id_B, const Tensor& keep_B) {
  check_queue_push({image_ND, text_ND, score_N, id_N, valid_N, cursor_2},
                   {image_BD, text_BD, score_B, id_B, keep_B});
  const c10::cuda::CUDAGuard guard(image_ND.device());
  const Tensor place_B = at::empty_like(id_B);
  const auto words = [](const Tensor& x) { return static_cast<uint32_t*>(x.mutable_data_ptr()); };
  const auto read = [](const Tensor& x) {
    return static_cast<const uint32_t*>(x.const_data_ptr());
  };
  cuda::launch_queue_push(
      {words(image_ND), words(text_ND), score_N.mutable_data_ptr<float>(),
       id_N.mutable_data_ptr<int64_t>(), valid_N.mutable_data_ptr<bool>(),
       cursor_2.mutable_data_ptr<int64_t>(), score_N.size(0),
       image_ND.size(1) * image_ND.element_size() / 4, read(image_BD), read(text_BD),
       score_B.const_data_ptr<float>(), id_B.const_data_ptr<int64_t>(),
       keep_B.const_data_ptr<bool>(), score_B.size(0), place_B.mutable_data_ptr<int64_t>()},
      c10::cuda::getCurrentCUDAStream());
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CUDA, m) { m.impl("queue_push_", queue_push_cuda_); }

}  // namespace cots::ops
