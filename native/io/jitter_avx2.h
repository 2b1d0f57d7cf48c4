// Color jitter of eight pixels at a time in float32, for x86-64. Every value is a whole number up
// to 2^24, so that gray's fixed-point sum is exact in float32, and each blend rounds as Pillow's
// does: no fused multiply-add.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "io/jitter_steps.h"
#include "ops/cpu/isa.h"

namespace cots::io::avx2 {

constexpr int64_t kPixels = 8;

struct Planes {
  __m256 red, green, blue;
};

COTS_AVX2_INLINE __m256 channel(__m128i first, __m128i last, __m128i from_first,
                                __m128i from_last) {
  const __m128i bytes =
      _mm_or_si128(_mm_shuffle_epi8(first, from_first), _mm_shuffle_epi8(last, from_last));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}

COTS_AVX2_INLINE Planes load(const uint8_t* rgb) {
  const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb)),
                last = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 8));
  const auto bytes = [](int64_t value) { return _mm_set_epi64x(-1, value); };
  return {channel(first, last, bytes(static_cast<int64_t>(0xffff0f0c09060300)),
                  bytes(0x0d0affffffffffff)),
          channel(first, last, bytes(static_cast<int64_t>(0xffffff0d0a070401)),
                  bytes(0x0e0b08ffffffffff)),
          channel(first, last, bytes(static_cast<int64_t>(0xffffff0e0b080502)),
                  bytes(0x0f0c09ffffffffff))};
}

COTS_AVX2_INLINE void store(const Planes& planes, uint8_t* rgb) {
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, -1, -1, -1, -1));
  const __m256i red_green =
      _mm256_packs_epi32(_mm256_cvttps_epi32(planes.red), _mm256_cvttps_epi32(planes.green));
  const __m256i blue = _mm256_cvttps_epi32(planes.blue);
  const __m256i bytes =
      _mm256_shuffle_epi8(_mm256_packus_epi16(red_green, _mm256_packs_epi32(blue, blue)), order);
  const __m128i high = _mm256_extracti128_si256(bytes, 1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(rgb), _mm256_castsi256_si128(bytes));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(rgb + 12), high);
  const int last = _mm_extract_epi32(high, 2);
  std::memcpy(rgb + 20, &last, 4);
}

/// ITU-R 601 in 16-bit fixed point, as Pillow's convert('L').
COTS_AVX2_INLINE __m256 gray(const Planes& planes) {
  const __m256 red_green = _mm256_add_ps(_mm256_mul_ps(planes.red, _mm256_set1_ps(19595)),
                                         _mm256_mul_ps(planes.green, _mm256_set1_ps(38470)));
  const __m256 blue =
      _mm256_add_ps(_mm256_mul_ps(planes.blue, _mm256_set1_ps(7471)), _mm256_set1_ps(0x8000));
  return _mm256_floor_ps(
      _mm256_mul_ps(_mm256_add_ps(red_green, blue), _mm256_set1_ps(1.0f / 65536)));
}

COTS_AVX2_INLINE __m256 to_byte(__m256 value, bool clips) {
  if (clips) value = _mm256_min_ps(_mm256_max_ps(value, _mm256_setzero_ps()), _mm256_set1_ps(255));
  return _mm256_floor_ps(value);
}

COTS_AVX2_INLINE __m256 blend(__m256 value, __m256 level, __m256 factor) {
  return _mm256_add_ps(level, _mm256_mul_ps(factor, _mm256_sub_ps(value, level)));
}

COTS_AVX2_INLINE Planes enhance(const Planes& planes, const Step& step) {
  const __m256 factor = _mm256_set1_ps(step.factor);
  const bool clips = step.extrapolates();
  if (step.enhancement == Enhancement::kBrightness)  // the level is 0
    return {to_byte(_mm256_mul_ps(factor, planes.red), clips),
            to_byte(_mm256_mul_ps(factor, planes.green), clips),
            to_byte(_mm256_mul_ps(factor, planes.blue), clips)};
  const __m256 level =
      step.enhancement == Enhancement::kSaturation ? gray(planes) : _mm256_set1_ps(step.level);
  return {to_byte(blend(planes.red, level, factor), clips),
          to_byte(blend(planes.green, level, factor), clips),
          to_byte(blend(planes.blue, level, factor), clips)};
}

/// Takes the steps in place with the first pixels / kPixels * kPixels; the sum of the grays that
/// come out, 0 unless it is wanted.
template <bool kSumsGrays>
COTS_AVX2 inline int64_t enhance_pixels(uint8_t* rgb, int64_t pixels, const Step* steps,
                                        int count) {
  constexpr int64_t kBlock = int64_t{1} << 20;  // 255 * kBlock / 8 fits in 32 bits
  int64_t sum = 0;
  for (int64_t begin = 0; begin + kPixels <= pixels; begin += kBlock) {
    __m256i sums = _mm256_setzero_si256();
    const int64_t end = std::min(begin + kBlock, pixels / kPixels * kPixels);
    for (int64_t pixel = begin; pixel < end; pixel += kPixels) {
      Planes planes = load(rgb + 3 * pixel);
      for (int i = 0; i < count; ++i) planes = enhance(planes, steps[i]);
      if (count > 0) store(planes, rgb + 3 * pixel);
      if constexpr (kSumsGrays) sums = _mm256_add_epi32(sums, _mm256_cvttps_epi32(gray(planes)));
    }
    alignas(32) int32_t lanes[kPixels];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sums);
    for (const int32_t lane : lanes) sum += lane;
  }
  return sum;
}

}  // namespace cots::io::avx2
