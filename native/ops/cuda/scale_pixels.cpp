// scale_pixels on CUDA tensors. Legend: B images of H x W pixels.
#include "ops/scale_pixels.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "ops/cuda/scale_pixels.h"

namespace cots::ops {
namespace {

Tensor scale_pixels_cuda(const Tensor& images_BHW3, at::ArrayRef<double> mean,
                         at::ArrayRef<double> std, at::ScalarType type) {
  check_scale_pixels(images_BHW3, mean, std, type);
  const c10::cuda::CUDAGuard guard(images_BHW3.device());
  const Tensor images = images_BHW3.contiguous();
  const int64_t B = images.size(0), H = images.size(1), W = images.size(2);
  const Tensor planes_B3HW = at::empty({B, 3, H, W}, images.options().dtype(type));
  cuda::ScalePixelsArguments arguments{
      .rgb_N3 = images.const_data_ptr<uint8_t>(), .N = B * H * W, .P = H * W};
  for (size_t c = 0; c < 3; ++c) {
    arguments.mean[c] = static_cast<float>(mean[c]);
    arguments.std[c] = static_cast<float>(std[c]);
  }
  if (type == at::kFloat)
    arguments.planes = planes_B3HW.mutable_data_ptr<float>();
  else
    arguments.planes_half = static_cast<uint16_t*>(planes_B3HW.mutable_data_ptr());
  cuda::launch_scale_pixels(arguments, c10::cuda::getCurrentCUDAStream());
  return planes_B3HW;
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CUDA, m) { m.impl("scale_pixels", scale_pixels_cuda); }

}  // namespace cots::ops
