// Legend: Q queries, N gallery rows, D embedding, k results a query.
#include "ops/top_k.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <cmath>

#include "io/failure.h"
#include "ops/dispatch.h"

namespace cots::ops {

std::tuple<Tensor, Tensor> top_k(const Tensor& queries_QD, const Tensor& gallery_ND, int64_t k,
                                 const std::optional<Tensor>& tile_norms) {
  static const auto op = find_op<std::tuple<Tensor, Tensor>(
      const Tensor&, const Tensor&, int64_t, const std::optional<Tensor>&)>("cots::top_k");
  return op.call(queries_QD, gallery_ND, k, tile_norms);
}

void check_top_k(const Tensor& queries_QD, const Tensor& gallery_ND, int64_t k) {
  TORCH_CHECK(
      queries_QD.dim() == 2 && gallery_ND.dim() == 2 && queries_QD.size(1) == gallery_ND.size(1),
      "top_k: expected queries [Q, D] and gallery [N, D], got ", queries_QD.sizes(), " and ",
      gallery_ND.sizes());
  TORCH_CHECK(queries_QD.scalar_type() == at::kFloat &&
                  (gallery_ND.scalar_type() == at::kHalf || gallery_ND.scalar_type() == at::kFloat),
              "top_k: expected float32 queries and a float32 or float16 gallery, got ",
              queries_QD.scalar_type(), " and ", gallery_ND.scalar_type());
  TORCH_CHECK(k >= 1 && k <= gallery_ND.size(0), "top_k: expected k in [1, ", gallery_ND.size(0),
              "], got ", k);
}

void fail_non_finite(const char* what) {
  throw Failure("ERR_COTS_NON_FINITE",
                std::string("top_k: expected finite ") + what +
                    ", got NaN or infinity. Check the embeddings that were written.");
}

Tensor unknown_tile_norms(int64_t N) {
  return at::full({(N + kGalleryTile - 1) / kGalleryTile}, NAN, at::kFloat);
}

std::tuple<Tensor, Tensor> top_k_composite(const Tensor& queries_QD, const Tensor& gallery_ND,
                                           int64_t k) {
  TORCH_CHECK(k >= 1 && k <= gallery_ND.size(0), "top_k: expected k in [1, ", gallery_ND.size(0),
              "], got ", k);
  const Tensor scores_QN = queries_QD.matmul(gallery_ND.to(queries_QD.scalar_type()).t());
  const auto [sorted_QN, order_QN] =
      scores_QN.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
  return {sorted_QN.narrow(1, 0, k).contiguous(), order_QN.narrow(1, 0, k).contiguous()};
}

TORCH_LIBRARY_FRAGMENT(cots, m) {
  m.def(
      "top_k(Tensor queries, Tensor gallery, int k, Tensor(a!)? tile_norms=None) -> (Tensor "
      "scores, "
      "Tensor indices)");
}

}  // namespace cots::ops
