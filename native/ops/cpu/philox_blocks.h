// Runs of Philox blocks (ops/philox.h), as wide as the machine allows. Included by keyed_random.cpp
// alone.
#pragma once

#if defined(__x86_64__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 on its own _mm512_undefined_epi32
#include <immintrin.h>
#endif

#include "ops/cpu/isa.h"
#include "ops/philox.h"

namespace cots::ops {

// Straight-line code a lane and a trip count the compiler cannot see: the loop is vectorized
// instead of unrolled.
COTS_INLINE void portable_blocks_body(uint64_t key, uint64_t site, uint64_t first, int64_t blocks,
                                      uint32_t* draws) {
  for (int64_t l = 0; l < blocks; ++l) {
    const auto words = philox(key, site, first + static_cast<uint64_t>(l));
    draws[4 * l] = words[0], draws[4 * l + 1] = words[1], draws[4 * l + 2] = words[2],
              draws[4 * l + 3] = words[3];
  }
}
COTS_VERSIONS(inline void, portable_blocks,
              (uint64_t key, uint64_t site, uint64_t first, int64_t blocks, uint32_t* draws),
              (key, site, first, blocks, draws))

#if defined(__x86_64__)
#define COTS_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))

// Eight blocks, one a 64-bit lane whose low half is the word: one vpmuludq then gives both halves
// of a product, where the compiler's own vector code needs two and shuffles (0.57 against 1.63 ns a
// draw). High halves hold rubbish in between.
COTS_AVX512 COTS_INLINE void eight_blocks_avx512(uint64_t key, uint64_t site, uint64_t first,
                                                 uint32_t* draws) {
  const __m512i m0 = _mm512_set1_epi64(0xD2511F53), m1 = _mm512_set1_epi64(0xCD9E8D57);
  __m512i c0 = _mm512_add_epi64(_mm512_set1_epi64(static_cast<int64_t>(first)),
                                _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
  __m512i c1 = _mm512_srli_epi64(c0, 32);
  __m512i c2 = _mm512_set1_epi64(static_cast<int64_t>(site)), c3 = _mm512_srli_epi64(c2, 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const __m512i p0 = _mm512_mul_epu32(c0, m0), p1 = _mm512_mul_epu32(c2, m1);
    c0 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), c1, _mm512_set1_epi64(k0),
                                   0x96);  // 0x96: xor of three
    c1 = p1;
    c2 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), c3, _mm512_set1_epi64(k1), 0x96);
    c3 = p0;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  const __m512i words01 = _mm512_mask_blend_epi32(0xAAAA, c0, _mm512_slli_epi64(c1, 32));
  const __m512i words23 = _mm512_mask_blend_epi32(0xAAAA, c2, _mm512_slli_epi64(c3, 32));
  const __m512i low = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0),
                high = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
  _mm512_storeu_si512(draws, _mm512_permutex2var_epi64(words01, low, words23));
  _mm512_storeu_si512(draws + 16, _mm512_permutex2var_epi64(words01, high, words23));
}

COTS_AVX512 inline void blocks_avx512(uint64_t key, uint64_t site, uint64_t first, int64_t blocks,
                                      uint32_t* draws) {
  for (int64_t l = 0; l < blocks; l += 16) {  // two at a time hide the latency of the multiplier
    eight_blocks_avx512(key, site, first + static_cast<uint64_t>(l), draws + 4 * l);
    eight_blocks_avx512(key, site, first + static_cast<uint64_t>(l) + 8, draws + 4 * l + 32);
  }
}
#undef COTS_AVX512
#endif

/// draws[4 l + w] = word w of philox(key, site, first + l), for l < blocks; blocks is a multiple
/// of 16.
inline void philox_blocks(uint64_t key, uint64_t site, uint64_t first, int64_t blocks,
                          uint32_t* draws) {
#if defined(__x86_64__)
  if (isa() == Isa::kAvx512) return blocks_avx512(key, site, first, blocks, draws);
#endif
  portable_blocks(key, site, first, blocks, draws);
}

}  // namespace cots::ops
