// Sixteen float lanes in the registers of the version that is compiled: one of AVX-512, two of
// AVX2, four of SSE. A vector type of the compiler that is wider than the registers would live in
// memory, so the lanes are joined out of vectors that fit. The order of every sum is the same in
// all versions. Used inside bodies of COTS_LANE_VERSIONS only, so that the lanes never cross a real
// function call (whose ABI depends on the instruction set).
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "ops/cpu/isa.h"

#pragma GCC diagnostic ignored "-Wpsabi"  // lanes are returned by functions that are always inlined

namespace cots::ops {

constexpr int64_t kLanes = 16;

/// kParts registers V side by side, the lower lanes first.
template <class V, int kParts>
struct Joined {
  Joined<V, kParts / 2> low, high;
};
template <class V>
struct Joined<V, 1> {
  V value;
};

using Vector512 = float __attribute__((vector_size(64)));
using Vector256 = float __attribute__((vector_size(32)));
using Vector128 = float __attribute__((vector_size(16)));
using Floats512 = Joined<Vector512, 1>;
using Floats256 = Joined<Vector256, 2>;
using Floats128 = Joined<Vector128, 4>;

/// f(0) .. f(n - 1) with constants, unrolled where it is written: an array that is indexed by them
/// alone lives in registers. (The compiler unrolls a loop, by pragma too, after it has placed the
/// array in memory.)
template <int n, class F>
COTS_INLINE void unrolled(const F& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, i>{}), ...);
  }
  (std::make_integer_sequence<int, n>{});
}

/// f of each register of x (and of y).
template <class V, int n, class F>
COTS_INLINE Joined<V, n> map(const Joined<V, n>& x, const F& f) {
  if constexpr (n == 1)
    return {f(x.value)};
  else
    return {map(x.low, f), map(x.high, f)};
}
template <class V, int n, class F>
COTS_INLINE Joined<V, n> map(const Joined<V, n>& x, const Joined<V, n>& y, const F& f) {
  if constexpr (n == 1)
    return {f(x.value, y.value)};
  else
    return {map(x.low, y.low, f), map(x.high, y.high, f)};
}

#define COTS_LANE_OPERATOR(OP)                                                               \
  template <class V, int n>                                                                  \
  COTS_INLINE Joined<V, n> operator OP(const Joined<V, n>& x, const Joined<V, n>& y) {       \
    return map(                                                                              \
        x, y, [](const V& a, const V& b) __attribute__((always_inline)) { return a OP b; }); \
  }                                                                                          \
  template <class V, int n>                                                                  \
  COTS_INLINE Joined<V, n> operator OP(const Joined<V, n>& x, float y) {                     \
    return map(                                                                              \
        x, [y](const V& a) __attribute__((always_inline)) { return a OP y; });               \
  }                                                                                          \
  template <class V, int n>                                                                  \
  COTS_INLINE Joined<V, n> operator OP(float x, const Joined<V, n>& y) {                     \
    return map(                                                                              \
        y, [x](const V& a) __attribute__((always_inline)) { return x OP a; });               \
  }                                                                                          \
  template <class V, int n>                                                                  \
  COTS_INLINE void operator OP##=(Joined<V, n>& x, const Joined<V, n>& y) {                  \
    x = x OP y;                                                                              \
  }
COTS_LANE_OPERATOR(+)
COTS_LANE_OPERATOR(-)
COTS_LANE_OPERATOR(*)
COTS_LANE_OPERATOR(/)
#undef COTS_LANE_OPERATOR

template <class Floats>
COTS_INLINE Floats splat(float x) {
  return Floats{} + x;
}

template <class V, int n>
COTS_INLINE void load_into(Joined<V, n>& x, const float* p) {
  if constexpr (n == 1) {
    std::memcpy(&x.value, p, sizeof x.value);
  } else {
    load_into(x.low, p);
    load_into(x.high, p + n / 2 * static_cast<int64_t>(sizeof(V) / sizeof(float)));
  }
}
template <class Floats>
COTS_INLINE Floats load(const float* p) {
  Floats x;
  load_into(x, p);
  return x;
}
template <class V, int n>
COTS_INLINE void store(float* p, const Joined<V, n>& x) {
  if constexpr (n == 1) {
    std::memcpy(p, &x.value, sizeof x.value);
  } else {
    store(p, x.low);
    store(p + n / 2 * static_cast<int64_t>(sizeof(V) / sizeof(float)), x.high);
  }
}

/// The first `count` < 16 lanes from memory, the others `rest`.
template <class Floats>
COTS_INLINE Floats load_part(const float* p, int64_t count, float rest) {
  float lanes[kLanes];
  for (int64_t l = 0; l < kLanes; ++l) lanes[l] = l < count ? p[l] : rest;
  return load<Floats>(lanes);
}
template <class Floats>
COTS_INLINE void store_part(float* p, int64_t count, const Floats& x) {
  float lanes[kLanes];
  store(lanes, x);
  std::memcpy(p, lanes, static_cast<size_t>(count) * sizeof(float));
}

/// The next `count` numbers of a row, at most 16: of fewer the other lanes are 0.
template <class Floats>
COTS_INLINE Floats load_run(const float* p, int64_t count) {
  return count >= kLanes ? load<Floats>(p) : load_part<Floats>(p, count, 0);
}
template <class Floats>
COTS_INLINE void store_run(float* p, int64_t count, const Floats& x) {
  if (count >= kLanes)
    store(p, x);
  else
    store_part(p, count, x);
}

template <class V, int n>
COTS_INLINE Joined<V, n> maximum(const Joined<V, n>& x, const Joined<V, n>& y) {
  return map(
      x, y, [](const V& a, const V& b) __attribute__((always_inline)) { return a > b ? a : b; });
}

template <class V, int n>
COTS_INLINE Joined<V, n> minimum(const Joined<V, n>& x, const Joined<V, n>& y) {
  return map(
      x, y, [](const V& a, const V& b) __attribute__((always_inline)) { return a < b ? a : b; });
}

/// x within [-most, most].
template <class V, int n>
COTS_INLINE Joined<V, n> clamp(const Joined<V, n>& x, float most) {
  return minimum(maximum(x, splat<Joined<V, n>>(-most)), splat<Joined<V, n>>(most));
}

template <class Floats>
COTS_INLINE double reduce_sum(const Floats& x) {
  float lanes[kLanes];
  store(lanes, x);
  double sum = 0;
  for (int l = 0; l < kLanes; ++l) sum += static_cast<double>(lanes[l]);
  return sum;
}

/// All lanes by f, halves of them at a time: shorter than one after the other, but a sum rounds in
/// float32.
template <class V, int n, class F>
COTS_INLINE float reduce_by_halves(const Joined<V, n>& x, const F& f) {
  if constexpr (n > 1) {
    return reduce_by_halves(map(x.low, x.high, f), f);
  } else if constexpr (sizeof(V) == sizeof(Vector128)) {
    return f(f(x.value[0], x.value[2]), f(x.value[1], x.value[3]));
  } else {
    using Half = std::conditional_t<sizeof(V) == sizeof(Vector512), Vector256, Vector128>;
    Half half[2];
    std::memcpy(half, &x.value, sizeof half);
    return reduce_by_halves(Joined<Half, 1>{f(half[0], half[1])}, f);
  }
}
template <class V, int n>
COTS_INLINE float reduce_sum_fast(const Joined<V, n>& x) {
  return reduce_by_halves(
      x, [](const auto& a, const auto& b) __attribute__((always_inline)) { return a + b; });
}

template <class V, int n>
COTS_INLINE float reduce_max(const Joined<V, n>& x) {
  return reduce_by_halves(
      x, [](const auto& a, const auto& b) __attribute__((always_inline)) { return a > b ? a : b; });
}

constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer

/// e^x within 2 ulp for x in [-87.3, 88], where it is a normal number.
template <class V>
COTS_INLINE V normal_exponential_of(const V& x) {
  using Bits = decltype(x < x);
  const V shifted = x * 1.44269504088896341f + kShift;
  const V n = shifted - kShift;
  const V r = (x - n * 0.693145751953125f) - n * 1.428606765330187e-6f;  // x - n ln 2, in two parts
  V p = V{} + 1.9875691500e-4f;                                          // Cephes expf
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  Bits bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  const Bits power_of_two = ((bits - 0x4B400000) + 127) << 23;  // 0x4B400000 are the bits of kShift
  V scale;
  std::memcpy(&scale, &power_of_two, sizeof scale);
  return p * scale;
}
template <class V, int n>
COTS_INLINE Joined<V, n> normal_exponential(const Joined<V, n>& x) {
  return map(
      x, [](const V& part) __attribute__((always_inline)) { return normal_exponential_of(part); });
}

/// 2^x within 2 ulp for x in [-126, 127], or with kTerms = 3 within 8e-5 of itself, less than half
/// the rounding of bfloat16.
template <int kTerms, class V>
COTS_INLINE V exp2_of(const V& x) {
  using Bits = decltype(x < x);
  const V shifted = x + kShift;
  const V r = x - (shifted - kShift);
  V p;
  if constexpr (kTerms == 3) {  // minimax of the relative error on [-1/2, 1/2]
    p = r * 0.0551716648042202f + 0.2426111251115799f;
    p = p * r + 0.6932609677314758f;
    p = p * r + 0.9999280571937561f;
  } else {  // Cephes exp2f
    p = r * 1.535336188319500e-4f + 1.339887440266574e-3f;
    p = p * r + 9.618437357674640e-3f;
    p = p * r + 5.550332471162809e-2f;
    p = p * r + 2.402264791363012e-1f;
    p = p * r + 6.931472028550421e-1f;
    p = p * r + 1.0f;
  }
  Bits power, bits;
  std::memcpy(&power, &shifted, sizeof power);
  std::memcpy(&bits, &p, sizeof bits);
  bits += power << 23;  // times 2^n: the low bits of `shifted` are n
  V result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}
template <int kTerms, class V, int n>
COTS_INLINE Joined<V, n> exp2(const Joined<V, n>& x) {
  return map(
      x, [](const V& part) __attribute__((always_inline)) { return exp2_of<kTerms>(part); });
}

/// The same, exactly 0 below -126 (for minus infinity too).
template <int kTerms, class V, int n>
COTS_INLINE Joined<V, n> exp2_or_zero(const Joined<V, n>& x) {
  return map(
      x, [](const V& part) __attribute__((always_inline)) {
        const auto vanishes = part < -126.0f;
        const V result = exp2_of<kTerms, V>(vanishes ? V{} - 126.0f : part);
        return vanishes ? V{} : result;
      });
}

/// e^x within 2 ulp for x <= 88; exactly 0 below -87.3, where float32 would leave the normal
/// numbers.
template <class V>
COTS_INLINE V exponential_of(const V& exponent) {
  const auto vanishes = exponent < -87.3f;
  const V result = normal_exponential_of<V>(vanishes ? V{} - 87.3f : exponent);
  return vanishes ? V{} : result;
}
template <class V, int n>
COTS_INLINE Joined<V, n> exponential(const Joined<V, n>& x) {
  return map(
      x, [](const V& part) __attribute__((always_inline)) { return exponential_of(part); });
}

}  // namespace cots::ops
