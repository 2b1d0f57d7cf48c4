// momentum_filter on CUDA tensors. Legend: B scores of the batch, n scores of the queue.
#include "ops/momentum_filter.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "ops/cuda/momentum_filter.h"

namespace cots::ops {
namespace {

std::tuple<Tensor, Tensor> momentum_filter_cuda(const Tensor& scores_B,
                                                const Tensor& queue_scores_n, double deviations) {
  TORCH_CHECK(scores_B.dim() == 1 && scores_B.scalar_type() == at::kFloat,
              "momentum_filter: expected scores as float32 [B], got ", scores_B.scalar_type(), " ",
              scores_B.sizes());
  TORCH_CHECK(queue_scores_n.dim() == 1 && queue_scores_n.scalar_type() == at::kFloat &&
                  queue_scores_n.device() == scores_B.device(),
              "momentum_filter: expected queue scores as float32 [n] on ", scores_B.device(),
              ", got ", queue_scores_n.scalar_type(), " ", queue_scores_n.sizes(), " on ",
              queue_scores_n.device());
  const int64_t n = queue_scores_n.size(0), B = scores_B.size(0);
  TORCH_CHECK(n > 0, "momentum_filter: expected at least one queue score, got none");
  const c10::cuda::CUDAGuard guard(scores_B.device());
  const Tensor queue = queue_scores_n.contiguous(), scores = scores_B.contiguous();
  Tensor stats_3 = at::empty({3}, scores.options().dtype(at::kDouble));
  Tensor keep_B = at::empty({B}, scores.options().dtype(at::kBool));
  cuda::launch_momentum_filter(
      {scores.const_data_ptr<float>(), B, queue.const_data_ptr<float>(), n, deviations,
       stats_3.mutable_data_ptr<double>(), keep_B.mutable_data_ptr<bool>()},
      c10::cuda::getCurrentCUDAStream());
  return {stats_3, keep_B};
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CUDA, m) { m.impl("momentum_filter", momentum_filter_cuda); }

}  // namespace cots::ops
