// Crop, color jitter, flip, resize on bytes, then floats for the networks. Legend: B images, H x W
// pixels, S side of a square view, C = 3 channels.
#include "io/pixels.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "io/flip.h"
#include "ops/resize.h"
#include "ops/scale_pixels.h"

namespace cots::io {
namespace {

Tensor crop(const Tensor& image_HWC, const Transform& t) {
  TORCH_CHECK(t.left >= 0 && t.top >= 0 && t.width >= 1 && t.height >= 1 &&
                  t.left + t.width <= image_HWC.size(1) && t.top + t.height <= image_HWC.size(0),
              "make_views: expected a crop inside ", image_HWC.size(1), " x ", image_HWC.size(0),
              " pixels, got ", t.width, " x ", t.height, " at (", t.left, ", ", t.top, ")");
  return image_HWC.narrow(0, t.top, t.height)
      .narrow(1, t.left, t.width)
      .clone(at::MemoryFormat::Contiguous);
}

void flip_in_place(Tensor& box_HWC) {
  const int64_t H = box_HWC.size(0), W = box_HWC.size(1);
  uint8_t* row = box_HWC.mutable_data_ptr<uint8_t>();
  std::vector<uint8_t> flipped(static_cast<size_t>(3 * W));
  for (int64_t y = 0; y < H; ++y, row += 3 * W) {
    flip_row(row, W, flipped.data());
    std::memcpy(row, flipped.data(), flipped.size());
  }
}

/// The middle square; of an odd margin the smaller half comes first (torchvision, transformers).
Tensor centered(const Tensor& image_HWC, int64_t size) {
  const int64_t top = (image_HWC.size(0) - size) / 2, left = (image_HWC.size(1) - size) / 2;
  return image_HWC.narrow(0, top, size).narrow(1, left, size);
}

}  // namespace

std::vector<Tensor> make_views(const Tensor& image_HWC, const Transform& transform,
                               const std::vector<View>& views) {
  TORCH_CHECK(
      image_HWC.dim() == 3 && image_HWC.size(2) == 3 && image_HWC.scalar_type() == at::kByte,
      "make_views: expected uint8 [H, W, 3], got ", image_HWC.scalar_type(), " ",
      image_HWC.sizes());
  return make_box_views(crop(image_HWC, transform), transform, views);
}

std::vector<Tensor> make_box_views(const Tensor& box_HWC, const Transform& transform,
                                   const std::vector<View>& views) {
  Tensor plain = box_HWC;
  if (transform.flip) flip_in_place(plain);  // color jitter looks at each pixel alone
  const auto wants_jitter = [&](const View& view) { return transform.jitter && view.jitter; };
  Tensor jittered;
  if (std::any_of(views.begin(), views.end(), wants_jitter)) {
    jittered = std::all_of(views.begin(), views.end(), wants_jitter) ? plain : plain.clone();
    color_jitter(jittered.mutable_data_ptr<uint8_t>(), jittered.numel() / 3, transform.color);
  }
  std::vector<Tensor> out;
  for (const View& view : views) {
    const Tensor& source = wants_jitter(view) ? jittered : plain;
    out.push_back(centered(ops::resize(source, view.width, view.height, view.filter), view.size));
  }
  return out;
}

Tensor normalize(const Tensor& images_BSS3, const double (&mean)[3], const double (&std)[3]) {
  ops::PixelScale scale;
  std::copy(std::begin(mean), std::end(mean), scale.mean);
  std::copy(std::begin(std), std::end(std), scale.std);
  return ops::scale_pixels(images_BSS3, scale);
}

Tensor to_unit_range(const Tensor& images_BSS3) { return ops::scale_pixels(images_BSS3, {}); }

}  // namespace cots::io
