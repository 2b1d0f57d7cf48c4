#include "infer/kernels/layer_norm.h"

#include "infer/kernels/tasks.h"
#include "ops/cpu/norm_row.h"

namespace cots::kernels {
namespace {

using namespace ops;  // the lanes and a row's norm

constexpr int64_t kRowsATask = 64;

template <class Floats>
COTS_INLINE void norm_body(const float* x, int64_t width, const float* weight, const float* bias,
                           double eps, float* y) {
  normalize_row<Floats>(x, width, weight, bias, eps, y);
}
COTS_LANE_VERSIONS(void, norm,
                   (const float* x, int64_t width, const float* weight, const float* bias,
                    double eps, float* y),
                   (x, width, weight, bias, eps, y))

}  // namespace

void layer_norm(Rows2d x, int64_t rows, int64_t width, const float* weight, const float* bias,
                double eps, float* y, int64_t y_stride) {
  for_each_task((rows + kRowsATask - 1) / kRowsATask, [&](int64_t task) {
    const int64_t last = std::min(rows, (task + 1) * kRowsATask);
    for (int64_t row = task * kRowsATask; row < last; ++row)
      norm(x.data + row * x.stride, width, weight, bias, eps, y + row * y_stride);
  });
}

}  // namespace cots::kernels
