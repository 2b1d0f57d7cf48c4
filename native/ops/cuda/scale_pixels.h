// What the CUDA kernel of scale_pixels takes. Legend: N pixels of all images, P of one.
#pragma once

#include <cstdint>

#include "ops/cuda/launch.h"

namespace cots::cuda {

struct ScalePixelsArguments {
  const uint8_t* rgb_N3 = nullptr;
  float mean[3] = {}, std[3] = {};
  int64_t N = 0, P = 0;
  float* planes = nullptr;          // float32 [N / P, 3, P], or null
  uint16_t* planes_half = nullptr;  // the same in bfloat16
};

void launch_scale_pixels(const ScalePixelsArguments& arguments, Stream stream);

}  // namespace cots::cuda
