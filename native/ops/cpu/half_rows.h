// Rows of float16 numbers as float32: F16C where the machine has it, for what reads memory faster
// than it could convert number by number.
#pragma once

#include <c10/util/Half.h>

#include <cstdint>

#include "ops/cpu/isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace cots::ops {

#if defined(__x86_64__)
#define COTS_F16C __attribute__((target("avx2,fma,f16c")))

COTS_F16C inline __m256 load_half_f16c(const c10::Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

COTS_F16C inline float sum_f16c(__m256 x) {
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 pairs = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)));
}

COTS_F16C inline void to_float_f16c(const c10::Half* from, int64_t n, float* to) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(to + i, load_half_f16c(from + i));
  for (; i < n; ++i) to[i] = from[i];
}

COTS_F16C inline float half_dot_f16c(const float* q, const c10::Half* g, int64_t n) {
  __m256 sums[4] = {};
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    _mm_prefetch(reinterpret_cast<const char*>(g + i) + kPrefetchBytes, _MM_HINT_T0);
    for (int64_t l = 0; l < 4; ++l)
      sums[l] =
          _mm256_fmadd_ps(_mm256_loadu_ps(q + i + 8 * l), load_half_f16c(g + i + 8 * l), sums[l]);
  }
  float dot =
      sum_f16c(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
  for (; i < n; ++i) dot += q[i] * static_cast<float>(g[i]);
  return dot;
}

COTS_F16C inline void half_scores_f16c(const float* q, const c10::Half* rows, int64_t T, int64_t n,
                                       float* scores) {
  for (int64_t t = 0; t < T; ++t) scores[t] = half_dot_f16c(q, rows + t * n, n);
}
#endif

/// to[i] = from[i], exactly.
inline void to_float(const c10::Half* from, int64_t n, float* to) {
#if defined(__x86_64__)
  if (isa() != Isa::kBaseline) return to_float_f16c(from, n, to);
#endif
  for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

/// scores[t] = q . row t of [T, n].
inline void half_scores(const float* q, const c10::Half* rows, int64_t T, int64_t n,
                        float* scores) {
#if defined(__x86_64__)
  if (isa() != Isa::kBaseline) return half_scores_f16c(q, rows, T, n, scores);
#endif
  for (int64_t t = 0; t < T; ++t, rows += n) {
    scores[t] = 0;
    for (int64_t i = 0; i < n; ++i) scores[t] += q[i] * static_cast<float>(rows[i]);
  }
}

}  // namespace cots::ops
