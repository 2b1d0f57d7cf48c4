// Two integer passes, each over strips or rows that threads share. Legend: H x W input pixels, h x
// w output pixels, C = 3 channels.
#include "ops/resize.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "ops/cpu/resize_passes.h"

namespace cots::ops {
namespace {

/// Rows of an image are worth a thread only when there are many: loaders run several images side by
/// side.
int64_t row_grain(int64_t bytes_a_row) {
  return std::max<int64_t>(kStripRows, (int64_t{1} << 21) / std::max<int64_t>(bytes_a_row, 1));
}

Tensor resize_width(const Tensor& image_HWC, const Axis& axis) {
  const int64_t H = image_HWC.size(0), W = image_HWC.size(1),
                w = static_cast<int64_t>(axis.taps.window.size());
  Tensor out_HwC = at::empty({H, w, 3}, image_HWC.options());
  const uint8_t* image = image_HWC.const_data_ptr<uint8_t>();
  uint8_t* out = out_HwC.mutable_data_ptr<uint8_t>();
  const int64_t strips = (H + kStripRows - 1) / kStripRows;
  at::parallel_for(0, strips, row_grain(3 * W) / kStripRows, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> strip(static_cast<size_t>(strip_bytes(W)));
    for (int64_t s = begin; s < end; ++s) {
      const uint8_t* rows[kStripRows];
      uint8_t* resized[kStripRows];
      for (int64_t r = 0; r < kStripRows; ++r) {
        const int64_t row = std::min(s * kStripRows + r, H - 1);
        rows[r] = image + row * 3 * W;
        resized[r] = out + row * 3 * w;
      }
      resize_rows(rows, W, axis, strip.data(), resized, std::min(kStripRows, H - s * kStripRows));
    }
  });
  return out_HwC;
}

Tensor resize_height(const Tensor& image_HWC, const Axis& axis) {
  const int64_t bytes = 3 * image_HWC.size(1), h = static_cast<int64_t>(axis.taps.window.size());
  Tensor out_hWC = at::empty({h, image_HWC.size(1), 3}, image_HWC.options());
  const uint8_t* image = image_HWC.const_data_ptr<uint8_t>();
  uint8_t* out = out_hWC.mutable_data_ptr<uint8_t>();
  at::parallel_for(0, h, row_grain(bytes * axis.taps.taps), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) resize_columns(image, bytes, axis, y, out + y * bytes);
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
  const Axis columns = resize_axis(image_HWC.size(1), width, filter);  // refuses an unknown filter
  const Axis rows = resize_axis(image_HWC.size(0), height, filter);
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
