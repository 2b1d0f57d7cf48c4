// What the CUDA kernels of keyed_random take. Legend: B rows (one key each), n elements a row.
#pragma once

#include "ops/cuda/launch.h"

namespace cots::cuda {

void launch_keyed_uniform(const int64_t* keys_B, int64_t site, int64_t B, int64_t n, float* out_Bn,
                          Stream stream);

struct DropoutArguments {
  const int64_t* keys_B;
  int64_t site, B, n;
  int32_t threshold;  // an element stays when its 24 high bits are at least this
  float scale;        // 1 / (1 - p), a number of the element's type
  const void* in_Bn;  // float32 or bfloat16
  void* out_Bn;
};
void launch_keyed_dropout(const DropoutArguments& arguments, bool is_bf16, Stream stream);

}  // namespace cots::cuda
