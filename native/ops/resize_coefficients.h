// Pillow's resampling windows and fixed-point coefficients (src/libImaging/Resample.c:
// precompute_coeffs and normalize_coeffs_8bpc), shared by the composite and the kernel, so that
// both resample by the same integers.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace cots::ops {

/// Fraction bits of a coefficient: 8 of the 32 are the pixel's, 2 are left for sums below 0 and
/// above 1.
constexpr int kPrecisionBits = 32 - 8 - 2;

/// Output x of one axis is the sum of `count` inputs from `first` on, each times a coefficient.
struct Window {
  int64_t first, count;
};

struct Coefficients {
  int64_t taps = 0;                  // the largest window
  std::vector<Window> window;        // one an output
  std::vector<int32_t> coefficient;  // [outputs, taps], zero past the window's count
};

/// filter: bicubic | bilinear | lanczos. input and output sizes >= 1.
Coefficients resize_coefficients(int64_t input, int64_t output, std::string_view filter);

/// Which pass runs first, as Pillow 13 chooses: the vertical one when it takes off more than twice
/// the pixels that the horizontal one does. (Pillow 12 always ran the horizontal pass first; the
/// rounding between the passes differs.)
inline bool horizontal_first(int64_t width, int64_t height, int64_t to_width, int64_t to_height) {
  return !(height > to_height && height - to_height > 2 * (width - to_width));
}

}  // namespace cots::ops
