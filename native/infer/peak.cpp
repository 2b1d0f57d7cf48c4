#include "infer/peak.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "ops/cancel.h"

namespace cots {

double measure_product_flops(const ProductShape& shape, double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr int kLeastProducts = 3;
  const auto [rows, inner, columns] = shape;
  const at::Tensor x = at::full({rows, inner}, 0.5f), w = at::full({columns, inner}, 0.25f);
  at::Tensor y = at::empty({rows, columns});
  at::mm_out(y, x, w.t());
  double best = 0, spent = 0;
  for (int product = 0; product < kLeastProducts || spent < seconds; ++product) {
    ops::check_cancelled();
    const auto start = Clock::now();
    at::mm_out(y, x, w.t());
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, 2.0 * static_cast<double>(rows * inner * columns) / took);
    spent += took;
  }
  return best;
}

}  // namespace cots
