// One kernel body, compiled for three instruction sets and chosen at run time: the build names no
// -march, because the addon runs on other machines than the one that built it.
#pragma once

#include <cstdint>

namespace cots::ops {

enum class Isa { kBaseline, kAvx2, kAvx512 };

/// The widest set that both this build and this machine have.
inline Isa isa() {
#if defined(__x86_64__)
  static const Isa found = [] {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("f16c");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return avx2 && avx512 ? Isa::kAvx512 : avx2 ? Isa::kAvx2 : Isa::kBaseline;
  }();
  return found;
#else
  return Isa::kBaseline;
#endif
}

/// How far ahead a sweep over memory asks for it: the hardware's own prefetch stops at a page's
/// end.
constexpr int64_t kPrefetchBytes = 1024;

}  // namespace cots::ops

/// The instructions of Isa::kAvx512, and more of them by name.
#define COTS_AVX512_TARGET "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512"
#define COTS_AVX512_VNNI __attribute__((target(COTS_AVX512_TARGET ",avx512vnni")))
#define COTS_AVX512_BFLOAT16 __attribute__((target(COTS_AVX512_TARGET ",avx512bf16")))

#define COTS_INLINE inline __attribute__((always_inline))
/// For functions written with AVX2 instructions by name. Without FMA: a product and a sum round
/// twice.
#define COTS_AVX2 __attribute__((target("avx2")))
#define COTS_AVX2_INLINE inline __attribute__((always_inline, target("avx2")))

/// After `COTS_INLINE R NAME_body PARAMETERS`: defines `R NAME PARAMETERS`, which runs the version
/// for this machine. A macro, because a target attribute cannot be a template argument; ifunc
/// clones would run before a sanitizer is set up.
#define COTS_VERSIONS(R, NAME, PARAMETERS, ARGUMENTS) \
  COTS_BODIES(R, NAME, PARAMETERS, ARGUMENTS, NAME##_body, NAME##_body, NAME##_body)

/// The same after `template <class Floats> COTS_INLINE R NAME_body PARAMETERS`, with the lanes of
/// ops/cpu/lanes.h that fit the version's registers.
#define COTS_LANE_VERSIONS(R, NAME, PARAMETERS, ARGUMENTS)                                    \
  COTS_BODIES(R, NAME, PARAMETERS, ARGUMENTS, NAME##_body<Floats128>, NAME##_body<Floats256>, \
              NAME##_body<Floats512>)

#if defined(__x86_64__)
#define COTS_BODIES(R, NAME, PARAMETERS, ARGUMENTS, BASELINE, AVX2, AVX512)               \
  __attribute__((target("avx2,fma"))) R NAME##_avx2 PARAMETERS { return AVX2 ARGUMENTS; } \
  __attribute__((target(COTS_AVX512_TARGET))) R NAME##_avx512 PARAMETERS {                \
    return AVX512 ARGUMENTS;                                                              \
  }                                                                                       \
  R NAME##_baseline PARAMETERS { return BASELINE ARGUMENTS; }                             \
  R NAME PARAMETERS {                                                                     \
    switch (::cots::ops::isa()) {                                                         \
      case ::cots::ops::Isa::kAvx512:                                                     \
        return NAME##_avx512 ARGUMENTS;                                                   \
      case ::cots::ops::Isa::kAvx2:                                                       \
        return NAME##_avx2 ARGUMENTS;                                                     \
      default:                                                                            \
        return NAME##_baseline ARGUMENTS;                                                 \
    }                                                                                     \
  }
#else
#define COTS_BODIES(R, NAME, PARAMETERS, ARGUMENTS, BASELINE, AVX2, AVX512) \
  R NAME PARAMETERS { return BASELINE ARGUMENTS; }
#endif
