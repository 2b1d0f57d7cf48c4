#include "ops/scale_pixels.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include "ops/dispatch.h"

namespace cots::ops {

Tensor scale_pixels(const Tensor& images_BHW3, const PixelScale& scale) {
  static const auto op =
      find_op<Tensor(const Tensor&, at::ArrayRef<double>, at::ArrayRef<double>, at::ScalarType)>(
          "cots::scale_pixels");
  return op.call(images_BHW3, scale.mean, scale.std, scale.type);
}

Tensor scale_pixels_composite(const Tensor& images_BHW3, const PixelScale& scale) {
  const auto channels = [&](const double(&values)[3]) {
    return at::tensor({values[0], values[1], values[2]}, at::kFloat)
        .view({3, 1, 1})
        .to(images_BHW3.device());
  };
  const Tensor planes = images_BHW3.permute({0, 3, 1, 2}).to(at::kFloat).div(255);
  return ((planes - channels(scale.mean)) / channels(scale.std)).to(scale.type).contiguous();
}

void check_scale_pixels(const Tensor& images_BHW3, at::ArrayRef<double> mean,
                        at::ArrayRef<double> std, at::ScalarType type) {
  TORCH_CHECK(
      images_BHW3.dim() == 4 && images_BHW3.size(3) == 3 && images_BHW3.scalar_type() == at::kByte,
      "scale_pixels: expected uint8 [B, H, W, 3], got ", images_BHW3.scalar_type(), " ",
      images_BHW3.sizes());
  TORCH_CHECK(mean.size() == 3 && std.size() == 3,
              "scale_pixels: expected mean and std of three channels, got ", mean.size(), " and ",
              std.size());
  TORCH_CHECK(type == at::kFloat || type == at::kBFloat16,
              "scale_pixels: expected float32 or bfloat16, got ", type);
}

TORCH_LIBRARY_FRAGMENT(cots, m) {
  m.def("scale_pixels(Tensor images, float[] mean, float[] std, ScalarType type) -> Tensor");
}

}  // namespace cots::ops
