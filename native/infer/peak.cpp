#include "infer/peak.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "infer/kernels/packed_linear.h"
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
  std::vector<std::function<void()>> ways{[&] {
    at::mm_out(y, x, w.t());
    if (!device.is_cpu()) y.select(0, 0).select(0, 0).item();  // waits for the device
  }};
  // libtorch's product is not the fastest on every processor: MKL leaves AVX-512 to Intel's.
  kernels::PackedLinear packed;
  if (device.is_cpu() && type == at::kFloat) {
    packed = kernels::PackedLinear(w, at::Tensor());
    ways.emplace_back([&] {
      packed.run({x.const_data_ptr<float>(), inner}, rows, y.mutable_data_ptr<float>(), columns);
    });
  }
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
