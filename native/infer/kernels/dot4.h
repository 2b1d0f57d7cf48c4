// Sums of four products of 8-bit integers for 16 outputs at once: the one step of the int8 kernels
// that depends on the instruction set. Each struct has the same four parts, so that one tile, one
// layout of the weights and one epilogue serve all of them:
//   Sums     16 sums int32, `Floats` the float lanes beside them
//   Weights  16 outputs x 4 inputs, as they are used
//   Codes    4 inputs of one row for all outputs
//   add      sums[l] += sum over j of codes[j] * weights[l][j], exactly
// Codes are unsigned, weights signed; no order or width of these sums can overflow or round.
#pragma once

#include "infer/kernels/dot_tile.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define COTS_HAS_X86_DOTS 1
#include <immintrin.h>  // declares the builtins, which compile wherever they are inlined to
#endif

namespace cots::kernels {

/// Bytes of the weights of 16 outputs for 4 inputs, and inputs of a step.
constexpr int64_t kDotBytes = 64, kDotInputs = 4;

using Ints512Vector = int32_t __attribute__((vector_size(64)));
using Ints256Vector = int32_t __attribute__((vector_size(32)));
using Ints128Vector = int32_t __attribute__((vector_size(16)));

/// In plain C++ on lanes of any width: what machines without the instructions run, and with the
/// width of AVX-512 what the tests run in its place.
template <class IntVector, class FloatLanes, int kParts>
struct PlainDot4 {
  using Sums = Joined<IntVector, kParts>;
  using Floats = FloatLanes;
  struct Weights {
    int8_t values[kLanes][kDotInputs];
  };
  using Codes = uint32_t;
  static COTS_INLINE Weights weights(const void* from) { return load_bytes<Weights>(from); }
  static COTS_INLINE Codes codes(uint32_t four) { return four; }
  static COTS_INLINE void add(Sums& sums, const Codes& codes, const Weights& w) {
    int32_t lanes[kLanes];
    std::memcpy(lanes, &sums, sizeof lanes);
    for (int64_t l = 0; l < kLanes; ++l)
      for (int64_t j = 0; j < kDotInputs; ++j)
        lanes[l] += static_cast<int32_t>(codes >> (8 * j) & 255) * w.values[l][j];
    std::memcpy(&sums, lanes, sizeof lanes);
  }
};
using PortableDot4 = PlainDot4<Ints128Vector, Floats128, 4>;

#ifdef COTS_HAS_X86_DOTS

/// All lanes `x`. By name, because GCC 12 fills a register lane by lane when it is left the choice.
COTS_INLINE Ints256Vector splat_ints(int32_t x) {
  return __builtin_ia32_pbroadcastd256(Ints128Vector{x, 0, 0, 0});
}

/// As products of 16-bit integers, the even inputs apart from the odd ones: vpmaddubsw would be
/// shorter, but its 16-bit sums saturate.
struct Avx2Dot4 {
  using Shorts = int16_t __attribute__((vector_size(32)));
  using Words = uint16_t __attribute__((vector_size(32)));
  using Sums = Joined<Ints256Vector, 2>;
  using Floats = Floats256;
  struct Weights {
    Shorts even[2], odd[2];
  };
  struct Codes {
    Words even, odd;
  };
  static COTS_INLINE Weights weights(const void* from) {
    Weights w;
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const Shorts pairs =
          load_bytes<Shorts>(static_cast<const char*>(from) + half * kDotBytes / 2);
      w.even[half] = pairs << 8 >> 8;
      w.odd[half] = pairs >> 8;
    }
    return w;
  }
  static COTS_INLINE Codes codes(uint32_t four) {
    const Ints256Vector all = splat_ints(static_cast<int32_t>(four));
    const Words pairs = load_bytes<Words>(&all);
    return {pairs & 255, pairs >> 8};
  }
  static COTS_INLINE void add(Sums& sums, const Codes& c, const Weights& w) {
    sums.low.value += multiply(c.even, w.even[0]) + multiply(c.odd, w.odd[0]);
    sums.high.value += multiply(c.even, w.even[1]) + multiply(c.odd, w.odd[1]);
  }

 private:
  static COTS_INLINE Ints256Vector multiply(const Words& codes, const Shorts& weights) {
    return __builtin_ia32_pmaddwd256(load_bytes<Shorts>(&codes), weights);
  }
};

/// AVX-VNNI: the step is one instruction on 8 outputs.
struct AvxVnniDot4 {
  using Sums = Joined<Ints256Vector, 2>;
  using Floats = Floats256;
  using Weights = Sums;
  using Codes = Ints256Vector;
  static COTS_INLINE Weights weights(const void* from) {
    const auto* bytes = static_cast<const char*>(from);
    return {{load_bytes<Ints256Vector>(bytes)}, {load_bytes<Ints256Vector>(bytes + kDotBytes / 2)}};
  }
  static COTS_INLINE Codes codes(uint32_t four) { return splat_ints(static_cast<int32_t>(four)); }
  static COTS_INLINE void add(Sums& sums, const Codes& c, const Weights& w) {
    sums.low.value = __builtin_ia32_vpdpbusd_v8si(sums.low.value, c, w.low.value);
    sums.high.value = __builtin_ia32_vpdpbusd_v8si(sums.high.value, c, w.high.value);
  }
};

/// AVX-512 VNNI: one instruction on all 16.
struct Avx512VnniDot4 {
  using Sums = Joined<Ints512Vector, 1>;
  using Floats = Floats512;
  using Weights = Ints512Vector;
  using Codes = Ints512Vector;
  static COTS_INLINE Weights weights(const void* from) { return load_bytes<Weights>(from); }
  static COTS_INLINE Codes codes(uint32_t four) {
    return __builtin_ia32_pbroadcastd512_gpr_mask(static_cast<int32_t>(four), Codes{}, 0xFFFF);
  }
  static COTS_INLINE void add(Sums& sums, const Codes& c, const Weights& w) {
    sums.value = __builtin_ia32_vpdpbusd_v16si(sums.value, c, w);
  }
};

#endif

}  // namespace cots::kernels

namespace cots::ops {

#ifdef COTS_HAS_X86_DOTS
template <>
struct TileShape<kernels::Avx2Dot4> {
  // Its weights take four registers.
  static constexpr int kRows = std::min(4, kMostTileRows), kPanels = 1;
};
template <>
struct TileShape<kernels::AvxVnniDot4> : TileShape<Floats256> {};
template <>
struct TileShape<kernels::Avx512VnniDot4> : TileShape<Floats512> {};
#endif

template <class IntVector, class FloatLanes, int kParts>
struct TileShape<kernels::PlainDot4<IntVector, FloatLanes, kParts>> : TileShape<FloatLanes> {};

}  // namespace cots::ops

namespace cots::kernels {

COTS_INLINE Vector512 to_floats(const Ints512Vector& x) {
  return __builtin_convertvector(x, Vector512);
}
COTS_INLINE Vector256 to_floats(const Ints256Vector& x) {
  return __builtin_convertvector(x, Vector256);
}
COTS_INLINE Vector128 to_floats(const Ints128Vector& x) {
  return __builtin_convertvector(x, Vector128);
}
template <class Floats, class V, int n>
COTS_INLINE Floats to_floats(const Joined<V, n>& x) {
  if constexpr (n == 1) {
    return {to_floats(x.value)};
  } else {
    using Half = decltype(Floats{}.low);
    return {to_floats<Half>(x.low), to_floats<Half>(x.high)};
  }
}

}  // namespace cots::kernels
