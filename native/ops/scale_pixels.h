// Bytes of images to planes of floats for the networks, in one read and one write. Legend: B images
// of H x W pixels, C = 3 channels.
#pragma once

#include <ATen/core/Tensor.h>

namespace cots::ops {

using at::Tensor;

struct PixelScale {
  double mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};
  at::ScalarType type = at::kFloat;  // float32 or bfloat16, rounded from float32
};

/// Schema cots::scale_pixels. uint8 [B, H, W, 3] to [B, 3, H, W], contiguous: (x / 255 - mean) /
/// std of each channel, in float32 and in this order, torchvision's ToTensor and Normalize.
Tensor scale_pixels(const Tensor& images_BHW3, const PixelScale& scale);
Tensor scale_pixels_composite(const Tensor& images_BHW3, const PixelScale& scale);

/// Throws unless the bytes, the channels and the result's type are as above.
void check_scale_pixels(const Tensor& images_BHW3, at::ArrayRef<double> mean,
                        at::ArrayRef<double> std, at::ScalarType type);

}  // namespace cots::ops
