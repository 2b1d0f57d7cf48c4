// The one fixed order in which close scores are decided.
#pragma once

#include <cstdint>

namespace cots::ops {

/// Dot product of two float rows, accumulated in float64 from element 0 on, rounded once to float32.
float exact_dot(const float* a, const float* b, int64_t n);

}  // namespace cots::ops
