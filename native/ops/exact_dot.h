// The one fixed order in which close scores are decided.
#pragma once

#include <cstdint>

namespace cots::ops {

/// Dot product of two float rows, accumulated in float64 from element 0 on, rounded once to
/// float32.
float exact_dot(const float* a, const float* b, int64_t n);

/// out[i] = exact_dot(a, matrix + row[i] * n, n) for i < count: the same numbers, several sums in
/// flight.
void exact_dots(const float* a, const float* matrix, const int64_t* row, int64_t count, int64_t n,
                float* out);

}  // namespace cots::ops
