// Inputs of queue_contrast for the tests of its CUDA kernels. Legend: B pairs, n queue entries, D
// embedding.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "ops/queue_contrast.h"
#include "tensors.h"

namespace cots::test {

using at::Tensor;

struct Problem {
  ops::ContrastInputs in;
  ops::ContrastOptions options{1, 1, 0.7, true, false, ops::DuplicatePolicy::kKeep, -1};

  Problem to(at::ScalarType type) const {
    Problem p = *this;
    for (Tensor* x : {&p.in.image_BD, &p.in.text_BD, &p.in.log_scale})
      *x = x->detach().to(type).clone().requires_grad_();
    for (Tensor* x :
         {&p.in.image_key_BD, &p.in.text_key_BD, &p.in.image_queue_nD, &p.in.text_queue_nD})
      *x = x->to(type);
    return p;
  }
  /// bfloat16 values, so that every type computes with the same numbers.
  void round_to_bf16() {
    for (Tensor* x : {&in.image_BD, &in.text_BD, &in.image_key_BD, &in.text_key_BD,
                      &in.image_queue_nD, &in.text_queue_nD})
      *x = x->to(at::kBFloat16).to(at::kFloat);
  }
};

inline Problem random_problem(int64_t B, int64_t n, int64_t D, double tau = 0.07) {
  Problem p;
  p.in = {unit_rows(B, D, 1),
          unit_rows(B, D, 2),
          unit_rows(B, D, 3),
          unit_rows(B, D, 4),
          unit_rows(n, D, 5),
          unit_rows(n, D, 6),
          at::ones({B}),
          at::scalar_tensor(std::log(1 / tau)),
          {},
          {}};
  p.options.normalizer = static_cast<double>(std::max<int64_t>(B, 1));
  return p;
}

/// Ids that repeat: every row matches several queue entries.
inline void add_ids(Problem& p, ops::DuplicatePolicy policy, int64_t distinct) {
  p.options.duplicate_policy = policy;
  p.in.id_B = at::arange(p.in.image_BD.size(0), at::kLong).remainder(distinct);
  p.in.queue_id_n = at::arange(p.in.image_queue_nD.size(0), at::kLong).remainder(distinct + 1);
}

}  // namespace cots::test
