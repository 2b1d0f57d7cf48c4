// Sums of two products of bfloat16 for 16 columns at once, as infer/kernels/dot4.h does for 8-bit
// integers, with the same parts; sums are float32. A cell is two neighbours of the summed index,
// the first one in the lower half.
#pragma once

#include "infer/kernels/dot_tile.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define COTS_HAS_BFLOAT16_DOTS 1
#include <immintrin.h>  // declares the builtins, which compile wherever they are inlined to
#endif

namespace cots::kernels {

using Cells512 = uint32_t __attribute__((vector_size(64)));
using Halves512 = uint16_t __attribute__((vector_size(32)));

/// In plain C++: what the tests compare with, on any machine.
struct PlainDot2 {
  using Floats = Floats128;
  using Sums = Floats;
  struct Weights {
    uint32_t cells[kLanes];
  };
  using Codes = uint32_t;
  static COTS_INLINE Weights weights(const void* from) { return load_bytes<Weights>(from); }
  static COTS_INLINE Codes codes(uint32_t two) { return two; }
  static COTS_INLINE void add(Sums& sums, Codes codes, const Weights& w) {
    float lanes[kLanes];
    store(lanes, sums);
    for (int64_t l = 0; l < kLanes; ++l)
      lanes[l] += second(codes) * second(w.cells[l]) + first(codes) * first(w.cells[l]);
    sums = load<Floats>(lanes);
  }
  /// To the nearest, ties to even.
  static COTS_INLINE void round(const Floats& x, uint16_t* to) {
    float lanes[kLanes];
    store(lanes, x);
    for (int64_t l = 0; l < kLanes; ++l) to[l] = at::BFloat16(lanes[l]).x;
  }

 private:
  static float first(uint32_t cell) { return load_bits(cell << 16); }
  static float second(uint32_t cell) { return load_bits(cell & 0xFFFF0000U); }
  static float load_bits(uint32_t bits) { return load_bytes<float>(&bits); }
};

#ifdef COTS_HAS_BFLOAT16_DOTS
/// AVX-512 BF16: one instruction on all 16.
struct Avx512Dot2 {
  using Floats = Floats512;
  using Sums = Floats;
  using Weights = __m512bh;
  using Codes = __m512bh;
  static COTS_INLINE Weights weights(const void* from) { return load_bytes<Weights>(from); }
  static COTS_INLINE Codes codes(uint32_t two) {
    using Ints = int32_t __attribute__((vector_size(64)));
    const Ints all =
        __builtin_ia32_pbroadcastd512_gpr_mask(static_cast<int32_t>(two), Ints{}, 0xFFFF);
    return load_bytes<Codes>(&all);
  }
  static COTS_INLINE void add(Sums& sums, const Codes& codes, const Weights& w) {
    sums.value = __builtin_ia32_dpbf16ps_v16sf(sums.value, codes, w);
  }
  static COTS_INLINE void round(const Floats& x, uint16_t* to) {
    const auto halves = __builtin_ia32_cvtneps2bf16_v16sf(x.value);
    std::memcpy(to, &halves, sizeof halves);
  }
};
#endif

}  // namespace cots::kernels

namespace cots::ops {

template <>
struct TileShape<kernels::PlainDot2> : TileShape<Floats128> {};
#ifdef COTS_HAS_BFLOAT16_DOTS
template <>
struct TileShape<kernels::Avx512Dot2> : TileShape<Floats512> {};
#endif

}  // namespace cots::ops
