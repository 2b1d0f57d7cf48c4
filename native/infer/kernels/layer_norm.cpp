#include "infer/kernels/layer_norm.h"

#include <cmath>

#include "infer/kernels/tasks.h"
#include "ops/cpu/lanes.h"

namespace cots::kernels {
namespace {

using namespace ops;  // the lanes

constexpr int64_t kRowsATask = 64;

/// f(k, count) for each run of lanes of a row; only the last may be shorter.
template <class F>
COTS_INLINE void each_run(int64_t width, const F& f) {
  int64_t k = 0;
  for (; k + kLanes <= width; k += kLanes) f(k, kLanes);
  if (k < width) f(k, width - k);
}

template <class Floats>
COTS_INLINE Floats load_run(const float* p, int64_t count) {
  return count == kLanes ? load<Floats>(p) : load_part<Floats>(p, count, 0);
}

template <class Floats>
COTS_INLINE void normalize_row_body(const float* x, int64_t width, const float* weight,
                                    const float* bias, double eps, float* y) {
  Floats sum{};
  each_run(
      width, [&](int64_t k, int64_t count)
                 __attribute__((always_inline)) { sum += load_run<Floats>(x + k, count); });
  const float mean = static_cast<float>(reduce_sum(sum) / static_cast<double>(width));
  Floats squares{};
  each_run(
      width, [&](int64_t k, int64_t count) __attribute__((always_inline)) {
        const Floats off = count == kLanes ? load<Floats>(x + k) - mean
                                           : load_part<Floats>(x + k, count, mean) - mean;
        squares += off * off;
      });
  const float scale =
      static_cast<float>(1 / std::sqrt(reduce_sum(squares) / static_cast<double>(width) + eps));
  each_run(
      width, [&](int64_t k, int64_t count) __attribute__((always_inline)) {
        const Floats result =
            (load_run<Floats>(x + k, count) - mean) * scale * load_run<Floats>(weight + k, count) +
            load_run<Floats>(bias + k, count);
        if (count == kLanes)
          store(y + k, result);
        else
          store_part(y + k, count, result);
      });
}
COTS_LANE_VERSIONS(void, normalize_row,
                   (const float* x, int64_t width, const float* weight, const float* bias,
                    double eps, float* y),
                   (x, width, weight, bias, eps, y))

}  // namespace

void layer_norm(Rows2d x, int64_t rows, int64_t width, const float* weight, const float* bias,
                double eps, float* y, int64_t y_stride) {
  for_each_task((rows + kRowsATask - 1) / kRowsATask, [&](int64_t task) {
    const int64_t last = std::min(rows, (task + 1) * kRowsATask);
    for (int64_t row = task * kRowsATask; row < last; ++row)
      normalize_row(x.data + row * x.stride, width, weight, bias, eps, y + row * y_stride);
  });
}

}  // namespace cots::kernels
