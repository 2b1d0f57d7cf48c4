// Launches on a CUDA stream. Nothing here waits for the device or allocates on it, so every launch
// sequence can be captured in a CUDA graph.
#pragma once

#include <c10/cuda/CUDAException.h>
#include <cuda_runtime.h>

#include <cstddef>

#include "ops/cuda/launch.h"

namespace cots::cuda {

struct StreamLaunch {
  Stream stream;

  template <class... Parameters, class... Arguments>
  void operator()(void (*kernel)(Parameters...), Grid grid, int threads, size_t shared_bytes,
                  const Arguments&... arguments) const {
    constexpr size_t kWithoutAsking = 48 << 10;
    if (shared_bytes > kWithoutAsking)
      C10_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                          cudaFuncAttributeMaxDynamicSharedMemorySize,
                                          static_cast<int>(shared_bytes)));
    kernel<<<dim3(grid.x, grid.y), threads, shared_bytes, stream>>>(Parameters(arguments)...);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
};

}  // namespace cots::cuda
