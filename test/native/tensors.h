// What the native tests share: seeded inputs and the comparison rule of STYLE B18.
#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <string>

#include "doctest/doctest.h"

namespace cots::test {

using at::Tensor;

inline at::Generator generator(uint64_t seed) { return at::detail::createCPUGenerator(seed); }

/// float32 rows of length 1.
inline Tensor unit_rows(int64_t rows, int64_t columns, uint64_t seed) {
  const Tensor x =
      at::randn({rows, columns}, generator(seed), at::TensorOptions().dtype(at::kFloat));
  return x / x.norm(2, 1, true).clamp_min(1e-12);
}

inline double max_abs(const Tensor& x) {
  return x.numel() == 0 ? 0.0 : x.abs().max().item<double>();
}

inline double max_error(const Tensor& x, const Tensor& reference) {
  return max_abs(x.to(at::kDouble) - reference.to(at::kDouble));
}

/// The kernel's error against float64 is at most twice that of the float32 composite
/// (flash-attention's rule). The floor, a few rounding steps of the largest value, stands in where
/// the composite is exact by chance.
inline void check_twice(const Tensor& kernel, const Tensor& composite32, const Tensor& reference64,
                        double scale = 0) {
  REQUIRE(kernel.sizes() == reference64.sizes());
  const double floor = 8 * 1.2e-7 * std::max(scale, max_abs(reference64));
  CHECK(max_error(kernel, reference64) <= 2 * max_error(composite32, reference64) + floor);
}

}  // namespace cots::test
