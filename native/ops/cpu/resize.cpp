// Two integer passes over 32-bit sums. The horizontal pass takes kStrip rows side by side: their
// pixels are interleaved to [x][row][4 channels], so that one coefficient multiplies 16 lanes. The
// vertical pass runs along the row and needs no rearrangement. Legend: H x W input pixels, h x w
// output pixels, C = 3 channels.
#include "ops/resize.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "ops/cpu/isa.h"
#include "ops/resize_coefficients.h"

namespace cots::ops {
namespace {

constexpr int64_t kStrip = 4, kStripLanes = 4 * kStrip;
constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);

COTS_INLINE uint8_t clip8(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

/// strip[x][row][channel] from kStrip rows of packed RGB; the fourth channel is never read back.
void interleave(const uint8_t* const* rows, int64_t W, uint8_t* strip) {
  for (int64_t r = 0; r < kStrip; ++r) {
    const uint8_t* in = rows[r];
    uint8_t* out = strip + 4 * r;
    for (int64_t x = 0; x + 1 < W; ++x) std::memcpy(out + x * kStripLanes, in + 3 * x, 4);
    std::memcpy(out + (W - 1) * kStripLanes, in + 3 * (W - 1),
                3);  // a fourth byte may lie past the image
  }
}

COTS_INLINE void horizontal_body(const uint8_t* __restrict strip, const Coefficients& c,
                                 uint8_t* __restrict out) {
  const int64_t outputs = static_cast<int64_t>(c.window.size());
  const Window* window = c.window.data();
  const int32_t* k = c.coefficient.data();
  for (int64_t x = 0; x < outputs; ++x, k += c.taps) {
    int32_t sum[kStripLanes];
    for (int64_t l = 0; l < kStripLanes; ++l) sum[l] = kHalf;
    const uint8_t* in = strip + window[x].first * kStripLanes;
    for (int64_t t = 0; t < window[x].count; ++t, in += kStripLanes)
      for (int64_t l = 0; l < kStripLanes; ++l) sum[l] += in[l] * k[t];
    for (int64_t l = 0; l < kStripLanes; ++l) out[x * kStripLanes + l] = clip8(sum[l]);
  }
}
COTS_VERSIONS(void, horizontal, (const uint8_t* strip, const Coefficients& c, uint8_t* out),
              (strip, c, out))

/// One output row of `bytes` bytes from window.count input rows of the same length.
COTS_INLINE void vertical_body(const uint8_t* __restrict in, int64_t bytes, Window window,
                               const int32_t* k, uint8_t* __restrict out) {
  constexpr int64_t kLanes = 64;
  in += window.first * bytes;
  for (int64_t begin = 0; begin < bytes; begin += kLanes) {
    const int64_t lanes = std::min(kLanes, bytes - begin);
    int32_t sum[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) sum[l] = kHalf;
    for (int64_t t = 0; t < window.count; ++t) {
      const uint8_t* row = in + t * bytes + begin;
      if (lanes == kLanes) {
        for (int64_t l = 0; l < kLanes; ++l) sum[l] += row[l] * k[t];
      } else {
        for (int64_t l = 0; l < lanes; ++l) sum[l] += row[l] * k[t];
      }
    }
    for (int64_t l = 0; l < lanes; ++l) out[begin + l] = clip8(sum[l]);
  }
}
COTS_VERSIONS(void, vertical,
              (const uint8_t* in, int64_t bytes, Window window, const int32_t* k, uint8_t* out),
              (in, bytes, window, k, out))

/// Rows of an image are worth a thread only when there are many: loaders run several images side by
/// side.
int64_t row_grain(int64_t bytes_a_row) {
  return std::max<int64_t>(kStrip, (int64_t{1} << 21) / std::max<int64_t>(bytes_a_row, 1));
}

Tensor resize_width(const Tensor& image_HWC, const Coefficients& c) {
  const int64_t H = image_HWC.size(0), W = image_HWC.size(1),
                w = static_cast<int64_t>(c.window.size());
  Tensor out_HwC = at::empty({H, w, 3}, image_HWC.options());
  const uint8_t* image = image_HWC.const_data_ptr<uint8_t>();
  uint8_t* out = out_HwC.mutable_data_ptr<uint8_t>();
  const int64_t strips = (H + kStrip - 1) / kStrip;
  at::parallel_for(0, strips, row_grain(3 * W) / kStrip, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> strip(static_cast<size_t>(W * kStripLanes)),
        resized(static_cast<size_t>(w * kStripLanes));
    for (int64_t s = begin; s < end; ++s) {
      const uint8_t* rows[kStrip];
      for (int64_t r = 0; r < kStrip; ++r)
        rows[r] = image + std::min(s * kStrip + r, H - 1) * 3 * W;
      interleave(rows, W, strip.data());
      horizontal(strip.data(), c, resized.data());
      for (int64_t r = 0; r < std::min(kStrip, H - s * kStrip); ++r) {
        uint8_t* row = out + (s * kStrip + r) * 3 * w;
        for (int64_t x = 0; x < w; ++x)
          std::memcpy(row + 3 * x, resized.data() + x * kStripLanes + 4 * r, 3);
      }
    }
  });
  return out_HwC;
}

Tensor resize_height(const Tensor& image_HWC, const Coefficients& c) {
  const int64_t bytes = 3 * image_HWC.size(1), h = static_cast<int64_t>(c.window.size());
  Tensor out_hWC = at::empty({h, image_HWC.size(1), 3}, image_HWC.options());
  const uint8_t* image = image_HWC.const_data_ptr<uint8_t>();
  uint8_t* out = out_hWC.mutable_data_ptr<uint8_t>();
  at::parallel_for(0, h, row_grain(bytes * c.taps), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y)
      vertical(image, bytes, c.window[static_cast<size_t>(y)], c.coefficient.data() + y * c.taps,
               out + y * bytes);
  });
  return out_hWC;
}

Tensor resize_cpu(const Tensor& image_HWC, int64_t width, int64_t height, c10::string_view filter) {
  TORCH_CHECK(image_HWC.dim() == 3 && image_HWC.size(2) == 3 && image_HWC.numel() > 0 &&
                  image_HWC.scalar_type() == at::kByte,
              "resize: expected uint8 [H, W, 3], got ", image_HWC.scalar_type(), " ",
              image_HWC.sizes());
  TORCH_CHECK(width >= 1 && height >= 1, "resize: expected a size of at least 1 x 1, got ", width,
              " x ", height);
  const Coefficients columns =
      resize_coefficients(image_HWC.size(1), width, filter);  // refuses an unknown filter
  const Coefficients rows = resize_coefficients(image_HWC.size(0), height, filter);
  const auto horizontal = [&](const Tensor& x) {
    return x.size(1) == width ? x : resize_width(x, columns);
  };
  const auto vertical = [&](const Tensor& x) {
    return x.size(0) == height ? x : resize_height(x, rows);
  };
  const Tensor image = image_HWC.contiguous();
  const bool first = horizontal_first(image.size(1), image.size(0), width, height);
  const Tensor resized = first ? vertical(horizontal(image)) : horizontal(vertical(image));
  return resized.is_same(image_HWC) ? resized.clone() : resized;
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) { m.impl("resize", resize_cpu); }

}  // namespace cots::ops
