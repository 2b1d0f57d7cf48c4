// Legend: H x W input pixels, h x w output pixels, C = 3 channels.
#include "ops/resize.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <cmath>
#include <numbers>

#include "ops/dispatch.h"
#include "ops/resize_coefficients.h"

namespace cots::ops {
namespace {

struct Filter {
  double (*value)(double x);
  double support;
};

double bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double bicubic(double x) {  // Keys 1981 with a = -1/2, in Pillow's order of operations
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

Filter filter_named(std::string_view name) {
  if (name == "bicubic") return {bicubic, 2.0};
  if (name == "bilinear") return {bilinear, 1.0};
  if (name == "lanczos") return {lanczos, 3.0};
  TORCH_CHECK(false, "resize: expected filter bicubic, bilinear or lanczos, got '",
              std::string(name), "'");
}

int32_t fixed_point(double x) {
  const double scaled = x * (1 << kPrecisionBits);
  return static_cast<int32_t>(x < 0 ? -0.5 + scaled : 0.5 + scaled);
}

/// One axis of the image as a matrix product in float64, rounded to uint8 as Pillow's clip8 does.
Tensor resample_axis(const Tensor& image_NHC, int64_t output, std::string_view filter) {
  const Coefficients c = resize_coefficients(image_NHC.size(1), output, filter);
  const Tensor matrix_hH = at::zeros({output, image_NHC.size(1)}, at::kDouble);
  auto matrix = matrix_hH.accessor<double, 2>();
  for (int64_t y = 0; y < output; ++y) {
    const Window window = c.window[static_cast<size_t>(y)];
    for (int64_t t = 0; t < window.count; ++t)
      matrix[y][window.first + t] = c.coefficient[static_cast<size_t>(y * c.taps + t)];
  }
  const Tensor sum_NhC =
      at::matmul(matrix_hH, image_NHC.to(at::kDouble)) + (1 << (kPrecisionBits - 1));
  return sum_NhC.div(1 << kPrecisionBits).floor().clamp(0, 255).to(at::kByte);
}

}  // namespace

Coefficients resize_coefficients(int64_t input, int64_t output, std::string_view filter_name) {
  const Filter filter = filter_named(filter_name);
  const double scale = static_cast<double>(input) / static_cast<double>(output);
  const double filter_scale = std::max(scale, 1.0), support = filter.support * filter_scale;
  const double inverse_filter_scale = 1.0 / filter_scale;
  Coefficients c;
  c.taps = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  c.window.resize(static_cast<size_t>(output));
  c.coefficient.resize(static_cast<size_t>(output * c.taps), 0);
  std::vector<double> weight(static_cast<size_t>(c.taps));
  for (int64_t x = 0; x < output; ++x) {
    const double center = (static_cast<double>(x) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const int64_t count =
        std::min<int64_t>(static_cast<int64_t>(center + support + 0.5), input) - first;
    double sum = 0;
    for (int64_t t = 0; t < count; ++t) {
      const double w =
          filter.value((static_cast<double>(t + first) - center + 0.5) * inverse_filter_scale);
      weight[static_cast<size_t>(t)] = w;
      sum += w;
    }
    for (int64_t t = 0; t < count; ++t) {
      const double w = weight[static_cast<size_t>(t)];
      c.coefficient[static_cast<size_t>(x * c.taps + t)] = fixed_point(sum != 0.0 ? w / sum : w);
    }
    c.window[static_cast<size_t>(x)] = {first, count};
  }
  return c;
}

Tensor resize(const Tensor& image_HWC, int64_t width, int64_t height, std::string_view filter) {
  static const auto op =
      find_op<Tensor(const Tensor&, int64_t, int64_t, c10::string_view)>("cots::resize");
  return op.call(image_HWC, width, height, filter);
}

Tensor resize_composite(const Tensor& image_HWC, int64_t width, int64_t height,
                        std::string_view filter) {
  const auto horizontal = [&](const Tensor& x) {
    return x.size(1) == width ? x : resample_axis(x, width, filter);
  };
  const auto vertical = [&](const Tensor& x) {
    return x.size(0) == height ? x
                               : resample_axis(x.transpose(0, 1), height, filter).transpose(0, 1);
  };
  const bool first = horizontal_first(image_HWC.size(1), image_HWC.size(0), width, height);
  return (first ? vertical(horizontal(image_HWC)) : horizontal(vertical(image_HWC)))
      .contiguous()
      .clone();
}

TORCH_LIBRARY_FRAGMENT(cots, m) {
  m.def("resize(Tensor image, int width, int height, str filter) -> Tensor");
}

}  // namespace cots::ops
