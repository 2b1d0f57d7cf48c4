// A thread a pixel: three bytes are read, one number goes to each plane, where the threads of a
// warp write side by side. Legend: scale_pixels.h.
#pragma once

#include "ops/cuda/device.cuh"
#include "ops/cuda/scale_pixels.h"

namespace cots::cuda {

constexpr int kScalePixelsThreads = 256;

static __global__ void __launch_bounds__(kScalePixelsThreads) scale_pixels(ScalePixelsArguments p) {
  for (int64_t i = thread_index(); i < p.N; i += thread_count()) {
    const int64_t first = i / p.P * 3 * p.P + i % p.P;
    for (int c = 0; c < 3; ++c) {
      const float x = (static_cast<float>(p.rgb_N3[3 * i + c]) / 255.0f - p.mean[c]) / p.std[c];
      const int64_t place = first + c * p.P;
      if (p.planes)
        p.planes[place] = x;
      else
        p.planes_half[place] = to_bf16(x).bits;
    }
  }
}

template <class Launch>
void scale_pixels_launches(const ScalePixelsArguments& p, const Launch& launch) {
  if (p.N == 0) return;
  launch(scale_pixels, grid_for(p.N, kScalePixelsThreads), kScalePixelsThreads, size_t{0}, p);
}

}  // namespace cots::cuda
