// Sixteen float lanes in the compiler's own vector type: one AVX-512 register, two AVX2, four SSE.
// Used inside bodies of COTS_VERSIONS only, so that the lanes never cross a real function call
// (whose ABI depends on the instruction set).
#pragma once

#include <cstdint>
#include <cstring>

#include "ops/cpu/isa.h"

#pragma GCC diagnostic ignored "-Wpsabi"  // lanes are returned by functions that are always inlined

namespace cots::ops {

constexpr int64_t kLanes = 16;
using Floats = float __attribute__((vector_size(64)));
using Ints = int32_t __attribute__((vector_size(64)));

COTS_INLINE Floats load(const float* p) {
  Floats x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
COTS_INLINE void store(float* p, const Floats& x) { std::memcpy(p, &x, sizeof x); }
COTS_INLINE Floats splat(float x) { return x - Floats{}; }

/// The first `count` < 16 lanes from memory, the others `rest`.
COTS_INLINE Floats load_part(const float* p, int64_t count, float rest) {
  Floats x = splat(rest);
  std::memcpy(&x, p, static_cast<size_t>(count) * sizeof(float));
  return x;
}
COTS_INLINE void store_part(float* p, int64_t count, const Floats& x) {
  std::memcpy(p, &x, static_cast<size_t>(count) * sizeof(float));
}

COTS_INLINE Floats maximum(const Floats& a, const Floats& b) { return a > b ? a : b; }

COTS_INLINE float reduce_max(const Floats& x) {
  float m = x[0];
  for (int l = 1; l < kLanes; ++l) m = x[l] > m ? x[l] : m;
  return m;
}
COTS_INLINE double reduce_sum(const Floats& x) {
  double sum = 0;
  for (int l = 0; l < kLanes; ++l) sum += static_cast<double>(x[l]);
  return sum;
}

/// Sum by halves in float32: for scores that are only compared with a margin.
COTS_INLINE float reduce_sum_fast(const Floats& x) {
  using Eight = float __attribute__((vector_size(32)));
  using Four = float __attribute__((vector_size(16)));
  Eight eight[2];
  std::memcpy(eight, &x, sizeof x);
  const Eight half = eight[0] + eight[1];
  Four four[2];
  std::memcpy(four, &half, sizeof half);
  const Four quarter = four[0] + four[1];
  return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}

/// e^x within 2 ulp for x <= 88; exactly 0 below -87.3, where float32 would leave the normal
/// numbers.
COTS_INLINE Floats exponential(const Floats& exponent) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
  const Ints vanishes = exponent < -87.3f;
  const Floats x = vanishes ? splat(-87.3f) : exponent;
  const Floats shifted = x * 1.44269504088896341f + kShift;
  const Floats n = shifted - kShift;
  const Floats r =
      (x - n * 0.693145751953125f) - n * 1.428606765330187e-6f;  // x - n ln 2, in two parts
  Floats p = splat(1.9875691500e-4f);                            // Cephes expf
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  Ints bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  const Ints power_of_two = ((bits - 0x4B400000) + 127) << 23;  // 0x4B400000 are the bits of kShift
  Floats scale;
  std::memcpy(&scale, &power_of_two, sizeof scale);
  return vanishes ? Floats{} : p * scale;
}

}  // namespace cots::ops
