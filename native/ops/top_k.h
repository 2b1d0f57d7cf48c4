// Exact maximum inner product search by blocks of the gallery.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace cots::ops {

using at::Tensor;

/// Rows of the gallery that are scored together, and share one entry of `tile_norms`.
constexpr int64_t kGalleryTile = 512;

/// Schema cots::top_k(Tensor queries, Tensor gallery, int k, Tensor(a!)? tile_norms=None)
///   -> (Tensor scores, Tensor indices).
/// queries_QD f32, gallery_ND f32 or f16 (its numbers widened exactly); 1 <= k <= N. scores f32 [Q,
/// k] best first, indices int64 [Q, k]; equal scores by lower index. A score depends on its two
/// vectors alone (ops/exact_dot.h): what rounding could have kept from the k best is scored again
/// in one fixed order. tile_norms: what a caller that searches one gallery again and again keeps,
/// so that the rows' norms are read once; begins as unknown_tile_norms(N), filled in by the first
/// search.
std::tuple<Tensor, Tensor> top_k(const Tensor& queries_QD, const Tensor& gallery_ND, int64_t k,
                                 const std::optional<Tensor>& tile_norms = std::nullopt);
/// NaN for each tile of N rows.
Tensor unknown_tile_norms(int64_t N);
std::tuple<Tensor, Tensor> top_k_composite(const Tensor& queries_QD, const Tensor& gallery_ND,
                                           int64_t k);

/// What the twins require of their arguments alike.
void check_top_k(const Tensor& queries_QD, const Tensor& gallery_ND, int64_t k);
/// Throws ERR_COTS_NON_FINITE.
[[noreturn]] void fail_non_finite(const char* what);

}  // namespace cots::ops
