// Crop, color jitter, flip, resize on bytes, then floats for the networks. Legend: B images, H x W
// pixels, S side of a square view, C = 3 channels.
#include "io/pixels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "io/flip.h"
#include "ops/resize.h"

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

/// out[b, c, s] = table[c][in[b, s, c]] for S = pixels of an image.
using Table = std::array<std::array<float, 256>, 3>;

Tensor to_planes(const Tensor& images_BSS3, const Table& table) {
  TORCH_CHECK(
      images_BSS3.dim() == 4 && images_BSS3.size(3) == 3 && images_BSS3.scalar_type() == at::kByte,
      "normalize: expected uint8 [B, S, S, 3], got ", images_BSS3.scalar_type(), " ",
      images_BSS3.sizes());
  const Tensor images = images_BSS3.contiguous();
  const int64_t B = images.size(0), rows = images.size(1), columns = images.size(2),
                pixels = rows * columns;
  Tensor out_B3SS = at::empty({B, 3, rows, columns}, images.options().dtype(at::kFloat));
  const uint8_t* in = images.const_data_ptr<uint8_t>();
  float* out = out_B3SS.mutable_data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 16) / std::max<int64_t>(columns, 1));
  at::parallel_for(0, B * rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const uint8_t* rgb = in + row * columns * 3;
      float* plane = out + row / rows * 3 * pixels + row % rows * columns;
      for (int64_t x = 0; x < columns; ++x, rgb += 3)
        for (size_t c = 0; c < 3; ++c)
          plane[static_cast<int64_t>(c) * pixels + x] = table[c][rgb[c]];
    }
  });
  return out_B3SS;
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
  Table table;  // in float32, in torchvision's order: ToTensor, then Normalize
  for (size_t c = 0; c < 3; ++c)
    for (size_t x = 0; x < 256; ++x)
      table[c][x] = (static_cast<float>(x) / 255.0f - static_cast<float>(mean[c])) /
                    static_cast<float>(std[c]);
  return to_planes(images_BSS3, table);
}

PixelScale::PixelScale(const double (&mean)[3], const double (&std)[3], at::Device device) {
  std::copy(std::begin(mean), std::end(mean), mean_);
  std::copy(std::begin(std), std::end(std), std_);
  if (device.is_cpu()) return;
  const auto constant = [&](const double(&values)[3]) {
    return at::tensor({values[0], values[1], values[2]}, at::kFloat).view({3, 1, 1}).to(device);
  };
  mean_311_ = constant(mean);
  std_311_ = constant(std);
}

Tensor PixelScale::operator()(const Tensor& images_BSS3) const {
  if (!mean_311_.defined()) return normalize(images_BSS3, mean_, std_);
  return to_unit_range(images_BSS3).sub_(mean_311_).div_(std_311_);
}

Tensor to_unit_range(const Tensor& images_BSS3) {
  if (!images_BSS3.is_cpu())
    return images_BSS3.permute({0, 3, 1, 2})
        .to(at::kFloat, false, false, at::MemoryFormat::Contiguous)
        .div_(255);
  Table table;
  for (auto& channel : table)
    for (size_t x = 0; x < 256; ++x) channel[x] = static_cast<float>(x) / 255.0f;
  return to_planes(images_BSS3, table);
}

}  // namespace cots::io
