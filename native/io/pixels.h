// From decoded RGB bytes to the views the networks take: crop, flip, resize, color jitter,
// normalize (SPEC 2.5).
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "io/jitter.h"

namespace cots::io {

using at::Tensor;

/// What augmentation does to one image; the same for all its views, so that patches and tokens stay
/// aligned.
struct Transform {
  int64_t left = 0, top = 0, width = 0, height = 0;  // crop in pixels
  bool flip = false;
  bool jitter = false;
  Jitter color;
};

struct View {
  int64_t size;
  std::string filter;
  bool jitter;
  int64_t width = size, height = size;  // what is resized to; the view is its centered square
};

/// image_HWC uint8. One uint8 [size, size, 3] tensor a view: crop, color jitter (torchvision's and
/// Pillow's uint8 formulas), flip, resize, centered square.
std::vector<Tensor> make_views(const Tensor& image_HWC, const Transform& transform,
                               const std::vector<View>& views);
/// The same of the transform's crop alone, whose memory is used up.
std::vector<Tensor> make_box_views(const Tensor& box_HWC, const Transform& transform,
                                   const std::vector<View>& views);

/// uint8 [B, S, S, 3] -> f32 [B, 3, S, S]: (x / 255 - mean) / std, where the images are.
Tensor normalize(const Tensor& images_BSS3, const double (&mean)[3], const double (&std)[3]);
/// uint8 [B, S, S, 3] -> f32 [B, 3, S, S] in [0, 1], on the images' device.
Tensor to_unit_range(const Tensor& images_BSS3);

}  // namespace cots::io
