// Where a network runs, and in which number type.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

namespace cots {

/// Embeddings, losses and weights that are trained are float32 whatever `compute` is.
struct Placement {
  c10::Device device = c10::kCPU;
  c10::ScalarType compute = c10::kFloat;
};

}  // namespace cots
