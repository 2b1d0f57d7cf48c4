#include "infer/peak.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "ops/cancel.h"

namespace cots {

double measure_peak_flops(double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kSide = 1024;
  constexpr int kLeastProducts = 3;
  const at::Tensor a = at::full({kSide, kSide}, 0.5f), b = at::full({kSide, kSide}, 0.25f);
  at::Tensor c = at::empty({kSide, kSide});
  at::mm_out(c, a, b);
  double best = 0, spent = 0;
  for (int product = 0; product < kLeastProducts || spent < seconds; ++product) {
    ops::check_cancelled();
    const auto start = Clock::now();
    at::mm_out(c, a, b);
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, 2.0 * kSide * kSide * kSide / took);
    spent += took;
  }
  return best;
}

}  // namespace cots
