// One pass over the four buffers instead of the composite's nine. Legend: N elements.
#include "ops/adamw.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <optional>

#include "ops/cpu/isa.h"

namespace cots::ops {
namespace {

struct Buffers {
  float* parameter;
  const float* grad;
  float *first, *second;
  const float* decay;
};

#pragma GCC push_options
#pragma GCC optimize("no-math-errno", \
                     "no-trapping-math")  // else a call to sqrtf stands in the way of vector code
COTS_INLINE void update_body(const Buffers& b, const AdamWStep& s, int64_t begin, int64_t end) {
  float* __restrict parameter = b.parameter;
  float* __restrict first = b.first;
  float* __restrict second = b.second;
  for (int64_t i = begin; i < end; ++i) {
    const float g = b.grad[i] * s.grad_scale;
    const float m = first[i] + s.blend * (g - first[i]);
    const float v = second[i] * s.beta2 + s.rest2 * g * g;
    first[i] = m;
    second[i] = v;
    const float denominator = __builtin_sqrtf(v) * s.inverse_root2 + s.eps;
    parameter[i] = parameter[i] * (1.0f - s.decay * b.decay[i]) - s.rate * (m / denominator);
  }
}
COTS_VERSIONS(void, update, (const Buffers& b, const AdamWStep& s, int64_t begin, int64_t end),
              (b, s, begin, end))
#pragma GCC pop_options

void check_buffer(const Tensor& x, const char* name, int64_t N) {
  TORCH_CHECK(x.scalar_type() == at::kFloat && x.is_contiguous() && x.numel() == N,
              "adamw_: expected ", name, " as contiguous float32 of ", N, " elements, got ",
              x.scalar_type(), " ", x.sizes());
}

void adamw_cpu_(const Tensor& parameter, const Tensor& grad, const Tensor& first_moment,
                const Tensor& second_moment, const Tensor& decay_mask, double lr, double beta1,
                double beta2, double eps, double weight_decay, int64_t step, double grad_scale,
                const std::optional<Tensor>& live, const std::optional<Tensor>& average,
                double average_decay) {
  const int64_t N = parameter.numel();
  check_buffer(parameter, "parameter", N);
  check_buffer(grad, "grad", N);
  check_buffer(first_moment, "first_moment", N);
  check_buffer(second_moment, "second_moment", N);
  check_buffer(decay_mask, "decay_mask", N);
  TORCH_CHECK(step >= 1, "adamw_: expected step >= 1, got ", step);

  if (average) check_buffer(*average, "average", N);
  AdamW options{lr, beta1, beta2, eps, weight_decay, step, grad_scale};
  if (live) {
    TORCH_CHECK(live->scalar_type() == at::kDouble && live->is_contiguous() && live->numel() == 4,
                "adamw_: expected live as contiguous float64 [4]");
    const double* v = live->const_data_ptr<double>();
    if (v[3] == 0) return;
    options = LiveAdamW{v[0], v[1], v[2], v[3]}.apply_to(options);
  }
  const AdamWStep s = AdamWStep::of(options);
  const Buffers b{parameter.mutable_data_ptr<float>(), grad.const_data_ptr<float>(),
                  first_moment.mutable_data_ptr<float>(), second_moment.mutable_data_ptr<float>(),
                  decay_mask.const_data_ptr<float>()};
  at::parallel_for(0, N, 1 << 15, [&](int64_t begin, int64_t end) { update(b, s, begin, end); });
  if (average) average->lerp_(parameter, 1 - average_decay);
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) { m.impl("adamw_", adamw_cpu_); }

}  // namespace cots::ops
