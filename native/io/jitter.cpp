#include "io/jitter.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>

#include "io/jitter_steps.h"
#include "ops/cpu/isa.h"
#if defined(__x86_64__)
#include "io/jitter_avx2.h"
#endif

namespace cots::io {
namespace {

using E = Enhancement;

/// Jitter::order, in lexicographic order of (brightness, contrast, saturation).
constexpr std::array<std::array<Enhancement, 3>, 6> kOrders{{
    {E::kBrightness, E::kContrast, E::kSaturation},
    {E::kBrightness, E::kSaturation, E::kContrast},
    {E::kContrast, E::kBrightness, E::kSaturation},
    {E::kContrast, E::kSaturation, E::kBrightness},
    {E::kSaturation, E::kBrightness, E::kContrast},
    {E::kSaturation, E::kContrast, E::kBrightness},
}};

Steps steps_of(const Jitter& jitter) {
  TORCH_CHECK(jitter.order >= 0 && jitter.order < 6,
              "make_views: expected a jitter order in [0, 5], got ", jitter.order);
  Steps steps;
  for (const Enhancement enhancement : kOrders[static_cast<size_t>(jitter.order)]) {
    const double factor = enhancement == E::kBrightness ? jitter.brightness
                          : enhancement == E::kContrast ? jitter.contrast
                                                        : jitter.saturation;
    if (factor != 1) steps.step[steps.count++] = {enhancement, static_cast<float>(factor)};
  }
  return steps;
}

/// Pillow's convert('L'): ITU-R 601 in 16-bit fixed point.
int gray(const uint8_t* rgb) {
  return (rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16;
}

#pragma GCC push_options
#pragma GCC optimize( \
    "fp-contract=off")  // a fused multiply-add would round once where Pillow rounds twice
/// Pillow's blend of one byte in float32, truncated; outside [0, 1] the factor extrapolates and the
/// result is clipped.
uint8_t blend(float level, int value, float factor) {
  const float blended = level + factor * (static_cast<float>(value) - level);
  return static_cast<uint8_t>(std::clamp(blended, 0.0f, 255.0f));
}
#pragma GCC pop_options

void enhance_pixel(uint8_t* rgb, const Step* steps, int count) {
  for (int i = 0; i < count; ++i) {
    const float level =
        steps[i].enhancement == E::kSaturation ? static_cast<float>(gray(rgb)) : steps[i].level;
    for (int channel = 0; channel < 3; ++channel)
      rgb[channel] = blend(level, rgb[channel], steps[i].factor);
  }
}

/// Takes the steps in place; the sum of the grays that come out, 0 unless it is wanted.
template <bool kSumsGrays>
int64_t enhance_pixels(uint8_t* rgb, int64_t pixels, const Step* steps, int count) {
  int64_t sum = 0, pixel = 0;
#if defined(__x86_64__)
  if (ops::isa() != ops::Isa::kBaseline) {
    sum = avx2::enhance_pixels<kSumsGrays>(rgb, pixels, steps, count);
    pixel = pixels / avx2::kPixels * avx2::kPixels;
  }
#endif
  for (; pixel < pixels; ++pixel) {
    enhance_pixel(rgb + 3 * pixel, steps, count);
    if constexpr (kSumsGrays) sum += gray(rgb + 3 * pixel);
  }
  return sum;
}

/// ImageEnhance.Contrast's level: the mean gray, rounded half up.
float contrast_level(int64_t sum_of_grays, int64_t pixels) {
  return static_cast<float>(
      static_cast<int>(static_cast<double>(sum_of_grays) / static_cast<double>(pixels) + 0.5));
}

}  // namespace

void color_jitter(uint8_t* rgb, int64_t pixels, const Jitter& jitter) {
  Steps steps = steps_of(jitter);
  int done = 0;
  for (int i = 0; i < steps.count; ++i) {
    if (steps.step[i].enhancement != E::kContrast) continue;
    // Its level is of what the steps before it make.
    steps.step[i].level = contrast_level(enhance_pixels<true>(rgb, pixels, steps.step, i), pixels);
    done = i;
  }
  if (done < steps.count) enhance_pixels<false>(rgb, pixels, steps.step + done, steps.count - done);
}

}  // namespace cots::io
