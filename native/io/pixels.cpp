// Crop, color jitter, flip, resize on bytes, then floats for the networks. Color jitter is
// torchvision's ColorJitter on a PIL image: Pillow's ImageEnhance, that is ImagingBlend
// (src/libImaging/Blend.c) with black, the mean gray, or the image's own gray. Legend: B images, H
// x W pixels, S side of a square view, C = 3 channels.
#include "io/pixels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "ops/resize.h"

namespace cots::io {
namespace {

enum class Enhancement { kBrightness, kContrast, kSaturation };
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

#pragma GCC push_options
#pragma GCC optimize( \
    "fp-contract=off")  // a fused multiply-add would round once where Pillow rounds twice
/// Pillow's blend of one byte in float32, truncated; outside [0, 1] the factor extrapolates and the
/// result is clipped.
uint8_t blend(int from, int to, float factor) {
  const float value = static_cast<float>(from) + factor * static_cast<float>(to - from);
  return static_cast<uint8_t>(std::clamp(value, 0.0f, 255.0f));
}

/// The same for each byte with a level of its own.
void blend_bytes(uint8_t* bytes, const float* level, int64_t count, float factor) {
  for (int64_t i = 0; i < count; ++i) {
    const float value =
        level[i] + factor * (static_cast<float>(static_cast<int>(bytes[i])) - level[i]);
    const float low = value > 0.0f ? value : 0.0f;
    bytes[i] = static_cast<uint8_t>(static_cast<int>(low < 255.0f ? low : 255.0f));
  }
}
#pragma GCC pop_options

/// Pillow's convert('L'): ITU-R 601 in 16-bit fixed point.
int gray(const uint8_t* rgb) {
  return (rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16;
}

/// Blends every byte with one level.
void blend_with_level(uint8_t* bytes, int64_t count, int level, float factor) {
  std::array<uint8_t, 256> table;
  for (int x = 0; x < 256; ++x) table[static_cast<size_t>(x)] = blend(level, x, factor);
  for (int64_t i = 0; i < count; ++i) bytes[i] = table[bytes[i]];
}

/// ImageEnhance.Contrast's level: the mean gray, rounded half up.
int mean_gray(const uint8_t* rgb, int64_t pixels) {
  int64_t sum = 0;
  for (int64_t i = 0; i < pixels; ++i) sum += gray(rgb + 3 * i);
  return static_cast<int>(static_cast<double>(sum) / static_cast<double>(pixels) + 0.5);
}

void blend_with_gray(uint8_t* rgb, int64_t pixels, float factor) {
  constexpr int64_t kBlock = 256;
  float level[3 * kBlock];
  for (int64_t begin = 0; begin < pixels; begin += kBlock) {
    const int64_t count = std::min(kBlock, pixels - begin);
    uint8_t* block = rgb + 3 * begin;
    for (int64_t i = 0; i < count; ++i)
      level[3 * i] = level[3 * i + 1] = level[3 * i + 2] = static_cast<float>(gray(block + 3 * i));
    blend_bytes(block, level, 3 * count, factor);
  }
}

void enhance(Enhancement enhancement, const Jitter& jitter, Tensor& image_HWC) {
  uint8_t* bytes = image_HWC.mutable_data_ptr<uint8_t>();
  const int64_t count = image_HWC.numel(), pixels = count / 3;
  switch (enhancement) {
    case E::kBrightness:
      if (jitter.brightness != 1)
        blend_with_level(bytes, count, 0, static_cast<float>(jitter.brightness));
      break;
    case E::kContrast:
      if (jitter.contrast != 1)
        blend_with_level(bytes, count, mean_gray(bytes, pixels),
                         static_cast<float>(jitter.contrast));
      break;
    case E::kSaturation:
      if (jitter.saturation != 1)
        blend_with_gray(bytes, pixels, static_cast<float>(jitter.saturation));
      break;
  }
}

void color_jitter(Tensor& image_HWC, const Jitter& jitter) {
  TORCH_CHECK(jitter.order >= 0 && jitter.order < 6,
              "make_views: expected a jitter order in [0, 5], got ", jitter.order);
  for (const Enhancement enhancement : kOrders[static_cast<size_t>(jitter.order)])
    enhance(enhancement, jitter, image_HWC);
}

Tensor crop(const Tensor& image_HWC, const Transform& t) {
  TORCH_CHECK(t.left >= 0 && t.top >= 0 && t.width >= 1 && t.height >= 1 &&
                  t.left + t.width <= image_HWC.size(1) && t.top + t.height <= image_HWC.size(0),
              "make_views: expected a crop inside ", image_HWC.size(1), " x ", image_HWC.size(0),
              " pixels, got ", t.width, " x ", t.height, " at (", t.left, ", ", t.top, ")");
  return image_HWC.narrow(0, t.top, t.height).narrow(1, t.left, t.width).contiguous();
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
  const auto flipped = [&](const Tensor& x) { return transform.flip ? x.flip(1) : x; };
  const Tensor cropped = crop(image_HWC, transform);
  Tensor jittered;
  const auto wants_jitter = [&](const View& view) { return transform.jitter && view.jitter; };
  if (std::any_of(views.begin(), views.end(), wants_jitter)) {
    jittered = cropped.clone();
    color_jitter(jittered, transform.color);
    jittered = flipped(jittered);
  }
  const Tensor plain = flipped(cropped);
  std::vector<Tensor> out;
  for (const View& view : views)
    out.push_back(
        ops::resize(wants_jitter(view) ? jittered : plain, view.size, view.size, view.filter));
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

Tensor to_unit_range(const Tensor& images_BSS3) {
  Table table;
  for (auto& channel : table)
    for (size_t x = 0; x < 256; ++x) channel[x] = static_cast<float>(x) / 255.0f;
  return to_planes(images_BSS3, table);
}

}  // namespace cots::io
