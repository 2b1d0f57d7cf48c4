// What the CUDA kernel of adamw_ takes. Legend: N elements.
#pragma once

#include "ops/adamw_update.h"
#include "ops/cuda/launch.h"

namespace cots::cuda {

struct AdamWArguments {
  float* parameter;
  const float* grad;
  float *first, *second;
  const float* decay;
  float* average;              // null: no moving average
  const ops::LiveAdamW* live;  // null: the options as they are
  ops::AdamW options;
  float average_weight;  // 1 - average_decay
  int64_t N;
};

void launch_adamw(const AdamWArguments& arguments, Stream stream);

}  // namespace cots::cuda
