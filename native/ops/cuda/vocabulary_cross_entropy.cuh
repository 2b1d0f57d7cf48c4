// The part of vocabulary_cross_entropy between its matrix products: a block turns one row of logits
// into its loss and its gradient, reading the row three times and writing it once, the last two
// reads from L2. Legend: vocabulary_cross_entropy.h.
#pragma once

#include "ops/cuda/device.cuh"
#include "ops/cuda/vocabulary_cross_entropy.h"
#include "ops/ignored_target.h"

namespace cots::cuda {

constexpr int kSoftmaxThreads = 512;

template <int kThreads>
__device__ inline float block_max(float value, float* scratch) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value = fmaxf(value, shuffle_xor(value, mask));
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  float top = scratch[0];
  for (int w = 1; w < kThreads / kWarp; ++w) top = fmaxf(top, scratch[w]);
  __syncthreads();
  return top;
}

static __global__ void __launch_bounds__(kSoftmaxThreads) softmax_rows(SoftmaxRowsArguments p) {
  auto* sums = reinterpret_cast<double*>(shared_memory());
  auto* tops = reinterpret_cast<float*>(sums + kSoftmaxThreads / kWarp);
  const int64_t row = blockIdx.x, target = p.target_R[row];
  float* logits = p.logits_RV + row * p.V;
  if (target == ops::kIgnoredTarget) {
    if (threadIdx.x == 0) p.loss_R[row] = 0;
    for (int64_t j = threadIdx.x; p.keep && j < p.V; j += kSoftmaxThreads) {
      if (p.grad_RV)
        p.grad_RV[row * p.V + j] = 0;
      else
        logits[j] = 0;
    }
    return;
  }
  const auto logit = [&](int64_t j) { return logits[j] + (p.bias_V ? p.bias_V[j] : 0.0f); };
  float top = -3.0e38f;
  for (int64_t j = threadIdx.x; j < p.V; j += kSoftmaxThreads) top = fmaxf(top, logit(j));
  const float m = block_max<kSoftmaxThreads>(top, tops);
  double sum = 0;
  for (int64_t j = threadIdx.x; j < p.V; j += kSoftmaxThreads)
    sum += static_cast<double>(exponential(logit(j) - m));
  const double total = block_sum<kSoftmaxThreads>(sum, sums);
  const bool is_known = target >= 0 && target < p.V;
  if (threadIdx.x == 0)
    p.loss_R[row] = is_known
                        ? static_cast<double>(m) + log(total) - static_cast<double>(logit(target))
                        : nan("");
  if (!p.keep) return;
  __syncthreads();  // the target's logit is read before its place is written
  const auto inverse = static_cast<float>(1 / total);
  for (int64_t j = threadIdx.x; j < p.V; j += kSoftmaxThreads) {
    const float g = exponential(logit(j) - m) * inverse - (j == target ? 1.0f : 0.0f);
    if (p.grad_RV)
      p.grad_RV[row * p.V + j] = to_bf16(g).bits;
    else
      logits[j] = g;
  }
}

static __global__ void __launch_bounds__(kSoftmaxThreads)
    add_losses(const double* loss_R, int64_t R, double* loss) {
  auto* scratch = reinterpret_cast<double*>(shared_memory());
  double sum = 0;
  for (int64_t r = threadIdx.x; r < R; r += kSoftmaxThreads) sum += loss_R[r];
  sum = block_sum<kSoftmaxThreads>(sum, scratch);
  if (threadIdx.x == 0) *loss += sum;
}

template <class Launch>
void softmax_rows_launches(const SoftmaxRowsArguments& p, const Launch& launch) {
  if (p.R == 0 || p.V == 0) return;
  launch(softmax_rows, exact_grid(p.R), kSoftmaxThreads,
         (sizeof(double) + sizeof(float)) * (kSoftmaxThreads / kWarp), p);
}

template <class Launch>
void add_losses_launches(const double* loss_R, int64_t R, double* loss, const Launch& launch) {
  launch(add_losses, Grid{}, kSoftmaxThreads, sizeof(double) * (kSoftmaxThreads / kWarp), loss_R, R,
         loss);
}

}  // namespace cots::cuda
