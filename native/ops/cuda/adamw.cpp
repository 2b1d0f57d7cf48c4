// adamw_ on CUDA tensors: checks, then the launch of adamw.cuh. Legend: N elements.
#include "ops/adamw.h"

#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <optional>

#include "ops/cuda/adamw.h"

namespace cots::ops {
namespace {

void check_buffer(const Tensor& x, const char* name, const Tensor& like) {
  TORCH_CHECK(x.scalar_type() == at::kFloat && x.is_contiguous() && x.numel() == like.numel() &&
                  x.device() == like.device(),
              "adamw_: expected ", name, " as contiguous float32 of ", like.numel(),
              " elements on ", like.device(), ", got ", x.scalar_type(), " ", x.sizes(), " on ",
              x.device());
}

void adamw_cuda_(const Tensor& parameter, const Tensor& grad, const Tensor& first_moment,
                 const Tensor& second_moment, const Tensor& decay_mask, double lr, double beta1,
                 double beta2, double eps, double weight_decay, int64_t step, double grad_scale,
                 const std::optional<Tensor>& live, const std::optional<Tensor>& average,
                 double average_decay) {
  check_buffer(parameter, "parameter", parameter);
  check_buffer(grad, "grad", parameter);
  check_buffer(first_moment, "first_moment", parameter);
  check_buffer(second_moment, "second_moment", parameter);
  check_buffer(decay_mask, "decay_mask", parameter);
  if (average) check_buffer(*average, "average", parameter);
  TORCH_CHECK(step >= 1, "adamw_: expected step >= 1, got ", step);
  TORCH_CHECK(!live || (live->scalar_type() == at::kDouble && live->is_contiguous() &&
                        live->numel() == 4 && live->device() == parameter.device()),
              "adamw_: expected live as contiguous float64 [4] on ", parameter.device());
  const c10::cuda::CUDAGuard guard(parameter.device());
  cuda::launch_adamw(
      {parameter.mutable_data_ptr<float>(),
       grad.const_data_ptr<float>(),
       first_moment.mutable_data_ptr<float>(),
       second_moment.mutable_data_ptr<float>(),
       decay_mask.const_data_ptr<float>(),
       average ? average->mutable_data_ptr<float>() : nullptr,
       live ? reinterpret_cast<const LiveAdamW*>(live->const_data_ptr<double>()) : nullptr,
       {lr, beta1, beta2, eps, weight_decay, step, grad_scale},
       static_cast<float>(1 - average_decay),
       parameter.numel()},
      c10::cuda::getCurrentCUDAStream());
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CUDA, m) { m.impl("adamw_", adamw_cuda_); }

}  // namespace cots::ops
