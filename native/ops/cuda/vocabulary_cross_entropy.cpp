// vocabulary_cross_entropy on CUDA tensors: a chunk of rows at a time, logits by GEMM, one kernel
// for softmax, loss and gradient, then the three gradients by GEMM. bfloat16 query and weight are
// multiplied on tensor cores with float32 sums; loss and softmax are float32 either way. Memory:
// kChunkBytes of logits beside the gradients, whatever M. Legend: M rows, d width, V classes, R
// rows of a chunk.
#include "ops/vocabulary_cross_entropy.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "ops/cuda/vocabulary_cross_entropy.h"

namespace cots::ops {
namespace {

constexpr int64_t kChunkBytes = 128 << 20;

/// Targets are checked by the kernel (NaN), because reading them here would wait for the device.
void check_arguments(const Tensor& query_Md, const Tensor& weight_Vd, const Tensor& bias_V,
                     const Tensor& target_M) {
  TORCH_CHECK(
      query_Md.scalar_type() == weight_Vd.scalar_type() &&
          (query_Md.scalar_type() == at::kFloat || query_Md.scalar_type() == at::kBFloat16) &&
          bias_V.scalar_type() == at::kFloat,
      "vocabulary_cross_entropy: expected query and weight as float32 or bfloat16 and bias "
      "as float32, got ",
      query_Md.scalar_type(), ", ", weight_Vd.scalar_type(), " and ", bias_V.scalar_type());
  check_vocabulary_shapes(query_Md, weight_Vd, bias_V, target_M);
  for (const Tensor& x : {weight_Vd, bias_V, target_M})
    TORCH_CHECK(x.device() == query_Md.device(),
                "vocabulary_cross_entropy: expected every tensor on ", query_Md.device(), ", got ",
                x.device());
}

/// a b with float32 sums and a float32 result.
Tensor product(const Tensor& a, const Tensor& b) {
  return a.scalar_type() == at::kFloat ? at::mm(a, b) : at::mm(a, b, at::kFloat);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> vocabulary_cross_entropy_cuda(
    const Tensor& query_Md, const Tensor& weight_Vd, const Tensor& bias_V, const Tensor& target_M,
    std::array<bool, 3> wanted) {
  check_arguments(query_Md, weight_Vd, bias_V, target_M);
  const c10::cuda::CUDAGuard guard(query_Md.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const int64_t M = query_Md.size(0), V = weight_Vd.size(0);
  const int64_t rows = std::clamp<int64_t>(kChunkBytes / (4 * std::max<int64_t>(V, 1)), 32, 4096);
  const bool keep = wanted[0] || wanted[1] || wanted[2];
  const bool is_bf16 = query_Md.scalar_type() == at::kBFloat16;
  const auto f32 = bias_V.options();
  const Tensor target = target_M.contiguous(), bias = bias_V.contiguous();
  Tensor grad_query = wanted[0] ? at::empty(query_Md.sizes(), f32) : Tensor();
  Tensor grad_weight = wanted[1] ? at::zeros(weight_Vd.sizes(), f32) : Tensor();
  Tensor grad_bias = wanted[2] ? at::zeros({V}, f32) : Tensor();
  const Tensor loss = at::zeros({}, f32.dtype(at::kDouble));
  const Tensor loss_R = at::empty({std::min(rows, M)}, loss.options());

  for (int64_t begin = 0; begin < M; begin += rows) {
    const int64_t R = std::min(rows, M - begin);
    const Tensor query_Rd = query_Md.narrow(0, begin, R);
    const Tensor logits_RV = product(query_Rd, weight_Vd.t());
    const Tensor half_RV = is_bf16 && keep ? at::empty({R, V}, query_Md.options()) : Tensor();
    cuda::launch_softmax_rows(
        {logits_RV.mutable_data_ptr<float>(), bias.const_data_ptr<float>(),
         target.const_data_ptr<int64_t>() + begin, R, V, keep,
         half_RV.defined() ? static_cast<uint16_t*>(half_RV.mutable_data_ptr()) : nullptr,
         loss_R.mutable_data_ptr<double>()},
        stream);
    cuda::launch_add_losses(loss_R.const_data_ptr<double>(), R, loss.mutable_data_ptr<double>(),
                            stream);
    const Tensor& grad_RV = half_RV.defined() ? half_RV : logits_RV;
    if (wanted[0]) grad_query.narrow(0, begin, R).copy_(product(grad_RV, weight_Vd));
    if (wanted[1]) grad_weight.add_(product(grad_RV.t(), query_Rd));
    if (wanted[2]) grad_bias.add_(grad_RV.sum(0, false, at::kFloat));
  }
  return {loss.to(at::kFloat), grad_query, grad_weight, grad_bias};
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CUDA, m) {
  m.impl("vocabulary_cross_entropy", vocabulary_cross_entropy_cuda);
}

}  // namespace cots::ops
