// Mean, deviation, threshold and decision in one launch of one block, nothing of which the host
// waits for. Two passes over the queue's scores with float64 sums in a fixed order; the scores are
// few (4 n bytes), so a second block would only add a launch. Legend: momentum_filter.h.
#pragma once

#include "ops/cuda/device.cuh"
#include "ops/cuda/momentum_filter.h"

namespace cots::cuda {

constexpr int kFilterThreads = 1024;

static __global__ void __launch_bounds__(kFilterThreads) momentum_filter(FilterArguments p) {
  auto* scratch = reinterpret_cast<double*>(shared_memory());
  const auto count = static_cast<double>(p.n);
  double sum = 0, squares = 0;
  for (int64_t j = threadIdx.x; j < p.n; j += kFilterThreads)
    sum += static_cast<double>(p.queue_score_n[j]);
  const double mean = block_sum<kFilterThreads>(sum, scratch) / count;
  for (int64_t j = threadIdx.x; j < p.n; j += kFilterThreads) {
    const double difference = static_cast<double>(p.queue_score_n[j]) - mean;
    squares += difference * difference;
  }
  const double std = sqrt(block_sum<kFilterThreads>(squares, scratch) / count);
  const double threshold = mean - p.deviations * std;
  if (threadIdx.x == 0) p.stats_3[0] = mean, p.stats_3[1] = std, p.stats_3[2] = threshold;
  for (int64_t i = threadIdx.x; i < p.B; i += kFilterThreads) {
    const auto score = static_cast<double>(p.score_B[i]);
    const bool is_finite = score - score == 0;
    p.keep_B[i] = is_finite && (std < 1e-6 || score >= threshold);
  }
}

template <class Launch>
void momentum_filter_launches(const FilterArguments& p, const Launch& launch) {
  launch(momentum_filter, Grid{}, kFilterThreads, sizeof(double) * (kFilterThreads / kWarp), p);
}

}  // namespace cots::cuda
