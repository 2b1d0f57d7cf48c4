// keyed_uniform and keyed_dropout on CUDA tensors. Legend: B rows (one key each), n elements a row.
#include "ops/keyed_random.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <cmath>
#include <optional>

#include "ops/cuda/keyed_random.h"

namespace cots::ops {
namespace {

void check_keys(const char* name, const Tensor& keys_B) {
  TORCH_CHECK(keys_B.dim() == 1 && keys_B.scalar_type() == at::kLong, name,
              ": expected keys as int64 [B], got ", keys_B.scalar_type(), " ", keys_B.sizes());
}

Tensor keyed_uniform_cuda(const Tensor& keys_B, int64_t site, int64_t n) {
  check_keys("keyed_uniform", keys_B);
  TORCH_CHECK(n >= 0, "keyed_uniform: expected n >= 0, got ", n);
  const c10::cuda::CUDAGuard guard(keys_B.device());
  const Tensor keys = keys_B.contiguous();
  Tensor out_Bn = at::empty({keys.size(0), n}, keys.options().dtype(at::kFloat));
  cuda::launch_keyed_uniform(keys.const_data_ptr<int64_t>(), site, keys.size(0), n,
                             out_Bn.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream());
  return out_Bn;
}

Tensor keyed_dropout_cuda(const Tensor& x, const Tensor& keys_B, int64_t site, double p,
                          const std::optional<Tensor>& starts) {
  TORCH_CHECK(!starts, "keyed_dropout: expected one key a row on CUDA, got starts");
  check_keys("keyed_dropout", keys_B);
  TORCH_CHECK(x.dim() >= 1 && x.size(0) == keys_B.size(0) && x.device() == keys_B.device(),
              "keyed_dropout: expected one key a row, got ", keys_B.size(0), " keys on ",
              keys_B.device(), " for x of ", x.sizes(), " on ", x.device());
  TORCH_CHECK(p >= 0 && p < 1, "keyed_dropout: expected p in [0, 1), got ", p);
  const bool is_bf16 = x.scalar_type() == at::kBFloat16;
  TORCH_CHECK(is_bf16 || x.scalar_type() == at::kFloat,
              "keyed_dropout: expected float32 or bfloat16 on CUDA, got ", x.scalar_type());
  const c10::cuda::CUDAGuard guard(x.device());
  const Tensor input = x.contiguous(), keys = keys_B.contiguous();
  Tensor output = at::empty_like(input);
  if (input.numel() == 0) return output;
  const auto scale = static_cast<float>(1 / (1 - p));
  cuda::launch_keyed_dropout(
      {keys.const_data_ptr<int64_t>(), site, input.size(0), input.numel() / input.size(0),
       static_cast<int32_t>(std::ceil(p * 0x1p24)),
       is_bf16 ? static_cast<float>(at::BFloat16(scale)) : scale, input.const_data_ptr(),
       output.mutable_data_ptr()},
      is_bf16, c10::cuda::getCurrentCUDAStream());
  return output;
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CUDA, m) {
  m.impl("keyed_uniform", keyed_uniform_cuda);
  m.impl("keyed_dropout", keyed_dropout_cuda);
}

}  // namespace cots::ops
