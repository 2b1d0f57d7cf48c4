// Exact maximum inner product search by blocks of the gallery.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace cots::ops {

using at::Tensor;

/// Schema cots::top_k(Tensor queries, Tensor gallery, int k) -> (Tensor scores, Tensor indices).
/// queries_QD, gallery_ND f32; 1 <= k <= N. scores f32 [Q, k] best first, indices int64 [Q, k];
/// equal scores by lower index. A score depends on its two vectors alone (ops/exact_dot.h): what
/// lies within 1e-6 of the k-th place is scored again in one fixed order.
std::tuple<Tensor, Tensor> top_k(const Tensor& queries_QD, const Tensor& gallery_ND, int64_t k);
std::tuple<Tensor, Tensor> top_k_composite(const Tensor& queries_QD, const Tensor& gallery_ND,
                                           int64_t k);

}  // namespace cots::ops
