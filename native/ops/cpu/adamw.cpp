// One pass over the four buffers instead of the composite's nine. Legend: N elements.
#include "ops/adamw.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <cmath>

#include "ops/cpu/isa.h"

namespace cots::ops {
namespace {

struct Buffers {
  float* parameter;
  const float* grad;
  float *first, *second;
  const float* decay;
};

struct Step {  // what is the same for every element
  float decay, blend, beta2, rest2, inverse_root2, eps, rate, grad_scale;
};

#pragma GCC push_options
#pragma GCC optimize("no-math-errno", \
                     "no-trapping-math")  // else a call to sqrtf stands in the way of vector code
COTS_INLINE void update_body(const Buffers& b, const Step& s, int64_t begin, int64_t end) {
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
COTS_VERSIONS(void, update, (const Buffers& b, const Step& s, int64_t begin, int64_t end),
              (b, s, begin, end))
#pragma GCC pop_options

void check_buffer(const Tensor& x, const char* name, int64_t N) {
  TORCH_CHECK(x.scalar_type() == at::kFloat && x.is_contiguous() && x.numel() == N,
              "adamw_: expected ", name, " as contiguous float32 of ", N, " elements, got ",
              x.scalar_type(), " ", x.sizes());
}

void adamw_cpu_(const Tensor& parameter, const Tensor& grad, const Tensor& first_moment,
                const Tensor& second_moment, const Tensor& decay_mask, double lr, double beta1,
                double beta2, double eps, double weight_decay, int64_t step, double grad_scale) {
  const int64_t N = parameter.numel();
  check_buffer(parameter, "parameter", N);
  check_buffer(grad, "grad", N);
  check_buffer(first_moment, "first_moment", N);
  check_buffer(second_moment, "second_moment", N);
  check_buffer(decay_mask, "decay_mask", N);
  TORCH_CHECK(step >= 1, "adamw_: expected step >= 1, got ", step);

  const double correction1 = 1 - std::pow(beta1, static_cast<double>(step));
  const double correction2 = 1 - std::pow(beta2, static_cast<double>(step));
  const Step s{static_cast<float>(lr * weight_decay),
               static_cast<float>(1 - beta1),
               static_cast<float>(beta2),
               static_cast<float>(1 - beta2),
               static_cast<float>(1 / std::sqrt(correction2)),
               static_cast<float>(eps),
               static_cast<float>(lr / correction1),
               static_cast<float>(grad_scale)};
  const Buffers b{parameter.mutable_data_ptr<float>(), grad.const_data_ptr<float>(),
                  first_moment.mutable_data_ptr<float>(), second_moment.mutable_data_ptr<float>(),
                  decay_mask.const_data_ptr<float>()};
  at::parallel_for(0, N, 1 << 15, [&](int64_t begin, int64_t end) { update(b, s, begin, end); });
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) { m.impl("adamw_", adamw_cpu_); }

}  // namespace cots::ops
