// Pillow's resampling (Pillow src/libImaging/Resample.c, 8 bits a channel): separable, antialiased,
// fixed-point coefficients, each pass rounded to uint8, in the order of Pillow 13
// (resize_coefficients.h). 0 levels off.
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>

namespace cots::ops {

using at::Tensor;

/// Schema cots::resize(Tensor image, int width, int height, str filter) -> Tensor.
/// image_HWC uint8, H, W >= 1, C = 3; filter bicubic | bilinear | lanczos. Returns uint8 [height,
/// width, 3].
Tensor resize(const Tensor& image_HWC, int64_t width, int64_t height, std::string_view filter);
/// The same two passes as float64 matrix products with Pillow's integer coefficients: the slow
/// reference.
Tensor resize_composite(const Tensor& image_HWC, int64_t width, int64_t height,
                        std::string_view filter);

}  // namespace cots::ops
