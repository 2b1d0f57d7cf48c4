// What the CUDA kernel of momentum_filter takes. Legend: B scores of the batch, n of the queue.
#pragma once

#include "ops/cuda/launch.h"

namespace cots::cuda {

struct FilterArguments {
  const float* score_B;
  int64_t B;
  const float* queue_score_n;
  int64_t n;
  double deviations;
  double* stats_3;  // mean, std, threshold
  bool* keep_B;
};

void launch_momentum_filter(const FilterArguments& arguments, Stream stream);

}  // namespace cots::cuda
