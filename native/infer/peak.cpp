#include "infer/peak.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "ops/cancel.h"

namespace cots {

double measure_product_flops(const ProductShape& shape, double seconds, at::Device device,
                             at::ScalarType type) {
  using Clock = std::chrono::steady_clock;
  constexpr int kLeastProducts = 3;
  const auto [rows, inner, columns] = shape;
  const auto options = at::TensorOptions(type).device(device);
  // Equal values draw less power than real ones, and a GPU's clock follows its power: random there.
  const auto operand = [&](int64_t height, double value) {
    return device.is_cpu() ? at::full({height, inner}, value, options)
                           : at::randn({height, inner}, options);
  };
  const at::Tensor x = operand(rows, 0.5), w = operand(columns, 0.25);
  at::Tensor y = at::empty({rows, columns}, options);
  const auto multiply = [&] {
    at::mm_out(y, x, w.t());
    if (!device.is_cpu()) y.select(0, 0).select(0, 0).item();  // waits for the device
  };
  multiply();
  double best = 0, spent = 0;
  for (int product = 0; product < kLeastProducts || spent < seconds; ++product) {
    ops::check_cancelled();
    const auto start = Clock::now();
    multiply();
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, 2.0 * static_cast<double>(rows * inner * columns) / took);
    spent += took;
  }
  return best;
}

}  // namespace cots
