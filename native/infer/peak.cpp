#include "infer/peak.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "infer/kernels/half_linear.h"
#include "infer/kernels/packed_linear.h"
#include "infer/kernels/quantized_linear.h"
#include "ops/cancel.h"

namespace cots {
namespace {

using at::Tensor;

/// Ways to form a product; the fastest counts.
using Ways = std::vector<std::function<void()>>;

Ways libtorch_products(const ProductShape& shape, at::Device device, at::ScalarType type) {
  const auto [rows, inner, columns] = shape;
  const auto options = at::TensorOptions(type).device(device);
  // Equal values draw less power than real ones, and a GPU's clock follows its power: random there.
  const auto operand = [&, inner = inner](int64_t height, double value) {
    return device.is_cpu() ? at::full({height, inner}, value, options)
                           : at::randn({height, inner}, options);
  };
  const Tensor x = operand(rows, 0.5), w = operand(columns, 0.25);
  const Tensor y = at::empty({rows, columns}, options);
  Ways ways{[=] {
    Tensor out = y;
    at::mm_out(out, x, w.t());
    if (!device.is_cpu()) out.select(0, 0).select(0, 0).item();  // waits for the device
  }};
  // libtorch's product is not the fastest on every processor: MKL leaves AVX-512 to Intel's.
  if (device.is_cpu() && type == at::kFloat) {
    ways.emplace_back([=, packed = kernels::PackedLinear(w, Tensor()), rows = rows, inner = inner,
                       columns = columns] {
      packed.run({x.const_data_ptr<float>(), inner}, rows, y.mutable_data_ptr<float>(), columns);
    });
  }
  return ways;
}

/// By oneDNN, numbers of 0 to 255 in and out, and by the package's own layer.
Ways quantized_products(const ProductShape& shape) {
  const auto [rows, inner, columns] = shape;
  auto& dispatcher = c10::Dispatcher::singleton();
  c10::Stack prepack{at::ones({columns, inner}, at::kChar), std::vector<int64_t>{rows, inner}};
  dispatcher.findSchemaOrThrow("onednn::qlinear_prepack", "").callBoxed(prepack);
  const c10::Stack arguments{at::full({rows, inner}, 2, at::kByte),
                             0.02,
                             128,
                             prepack[0],
                             at::full({columns}, 0.01),
                             at::zeros({columns}, at::kLong),
                             c10::IValue(),
                             1.0,
                             0,
                             static_cast<int64_t>(at::kByte),
                             "none",
                             c10::List<std::optional<at::Scalar>>(),
                             ""};
  const auto pointwise = dispatcher.findSchemaOrThrow("onednn::qlinear_pointwise", "");
  Ways ways{[=] {
    c10::Stack stack = arguments;
    pointwise.callBoxed(stack);
  }};
  const Tensor x = at::full({rows, inner}, 0.5), w = at::full({columns, inner}, 0.25);
  const auto codes = std::make_shared<kernels::QuantizedRows>();
  codes->quantize({x.const_data_ptr<float>(), inner}, rows, inner);
  const Tensor y = at::empty({rows, columns});
  ways.emplace_back(
      [=, layer = kernels::QuantizedLinear(w, Tensor()), rows = rows, columns = columns] {
        layer.run(*codes, rows, y.mutable_data_ptr<float>(), columns);
      });
  return ways;
}

Ways products(const ProductShape& shape, at::Device device, at::ScalarType type) {
  if (type == at::kChar) return quantized_products(shape);
  // Without such instructions bfloat16 weights are multiplied in float32.
  const bool widened = device.is_cpu() && type == at::kBFloat16 && !kernels::has_bfloat16_dots();
  return libtorch_products(shape, device, widened ? at::kFloat : type);
}

}  // namespace

double measure_product_flops(const ProductShape& shape, double seconds, at::Device device,
                             at::ScalarType type) {
  using Clock = std::chrono::steady_clock;
  constexpr int kLeastProducts = 3;
  const auto [rows, inner, columns] = shape;
  const Ways ways = products(shape, device, type);
  for (const auto& multiply : ways) multiply();
  double best = 0, spent = 0;
  for (int round = 0; round < kLeastProducts || spent < seconds; ++round) {
    for (const auto& multiply : ways) {
      ops::check_cancelled();
      const auto start = Clock::now();
      multiply();
      const double took = std::chrono::duration<double>(Clock::now() - start).count();
      best = std::max(best, 2.0 * static_cast<double>(rows * inner * columns) / took);
      spent += took;
    }
  }
  return best;
}

}  // namespace cots
