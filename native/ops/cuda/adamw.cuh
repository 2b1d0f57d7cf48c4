// One pass over the flat buffers: five reads and three writes of 4 bytes an element, two more of
// each with the moving average, where single operations take nine passes. Legend: N elements.
#pragma once

#include "ops/cuda/adamw.h"
#include "ops/cuda/device.cuh"

namespace cots::cuda {

constexpr int kAdamWThreads = 256;

static __global__ void __launch_bounds__(kAdamWThreads) adamw(AdamWArguments p) {
  // The bias corrections are two powers in float64: once a block, not once an element.
  auto* shared = reinterpret_cast<ops::AdamWStep*>(shared_memory());
  if (p.live && p.live->active == 0) return;
  if (threadIdx.x == 0)
    *shared = ops::AdamWStep::of(p.live ? p.live->apply_to(p.options) : p.options);
  __syncthreads();
  const ops::AdamWStep s = *shared;
  for (int64_t i = thread_index(); i < p.N; i += thread_count()) {
    const float g = p.grad[i] * s.grad_scale;
    const float m = p.first[i] + s.blend * (g - p.first[i]);
    const float v = p.second[i] * s.beta2 + s.rest2 * g * g;
    p.first[i] = m;
    p.second[i] = v;
    const float denominator = sqrtf(v) * s.inverse_root2 + s.eps;
    const float parameter =
        p.parameter[i] * (1.0f - s.decay * p.decay[i]) - s.rate * (m / denominator);
    p.parameter[i] = parameter;
    if (p.average) p.average[i] = ops::lerp(p.average[i], parameter, p.average_weight);
  }
}

template <class Launch>
void adamw_launches(const AdamWArguments& p, const Launch& launch) {
  if (p.N == 0) return;
  launch(adamw, grid_for(p.N, kAdamWThreads), kAdamWThreads, sizeof(ops::AdamWStep), p);
}

}  // namespace cots::cuda
