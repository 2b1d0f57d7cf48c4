// A byte has 256 values: each channel is a table. Legend: B images of H x W pixels.
#include "ops/scale_pixels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <array>

namespace cots::ops {
namespace {

constexpr int64_t kGrain = 1 << 16;  // pixels that a thread takes at least

/// planes[b, c, h, w] = table[c][images[b, h, w, c]].
template <class Number>
void look_up(const Tensor& images_BHW3, const std::array<std::array<Number, 256>, 3>& table,
             const Tensor& planes_B3HW) {
  const int64_t B = images_BHW3.size(0), H = images_BHW3.size(1), W = images_BHW3.size(2);
  const uint8_t* in = images_BHW3.const_data_ptr<uint8_t>();
  Number* out = planes_B3HW.mutable_data_ptr<Number>();
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(W, 1));
  at::parallel_for(0, B * H, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const uint8_t* rgb = in + row * W * 3;
      Number* plane = out + row / H * 3 * H * W + row % H * W;
      for (int64_t x = 0; x < W; ++x, rgb += 3)
        for (size_t c = 0; c < 3; ++c)
          plane[static_cast<int64_t>(c) * H * W + x] = table[c][rgb[c]];
    }
  });
}

template <class Number>
Tensor scale_as(const Tensor& images_BHW3, at::ArrayRef<double> mean, at::ArrayRef<double> std,
                at::ScalarType type) {
  std::array<std::array<Number, 256>, 3> table;
  for (size_t c = 0; c < 3; ++c)
    for (size_t x = 0; x < 256; ++x)
      table[c][x] =
          static_cast<Number>((static_cast<float>(x) / 255.0f - static_cast<float>(mean[c])) /
                              static_cast<float>(std[c]));
  const Tensor images = images_BHW3.contiguous();
  const Tensor planes_B3HW =
      at::empty({images.size(0), 3, images.size(1), images.size(2)}, images.options().dtype(type));
  look_up(images, table, planes_B3HW);
  return planes_B3HW;
}

Tensor scale_pixels_cpu(const Tensor& images_BHW3, at::ArrayRef<double> mean,
                        at::ArrayRef<double> std, at::ScalarType type) {
  check_scale_pixels(images_BHW3, mean, std, type);
  return type == at::kFloat ? scale_as<float>(images_BHW3, mean, std, type)
                            : scale_as<at::BFloat16>(images_BHW3, mean, std, type);
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) { m.impl("scale_pixels", scale_pixels_cpu); }

}  // namespace cots::ops
