// top_k on CUDA tensors: float32 scores by GEMM (or our own kernel for a few queries), the c best
// by radix select, their exact scores, and the k best of those. Exact because whatever is not among
// the c best lies, by float32, below the k-th exact score by more than the rounding of a score;
// where it does not, c is doubled. A search waits for the device to know that; no training step
// searches. Legend: Q queries, N gallery rows, D embedding, k results, c candidates, T rows of a
// tile.
#include "ops/top_k.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>

#include "ops/cuda/top_k.h"

namespace cots::ops {
namespace {

constexpr int64_t kQueryBlock = 256;
constexpr int64_t kSpare = 64;              // candidates beside the k
constexpr int64_t kScoreFloats = 64 << 20;  // of one tile: 256 MiB
constexpr double kMargin = 1e-6;            // for unit rows; grows with the product of the norms

void require_finite(bool is_finite, const char* what) {
  if (!is_finite) fail_non_finite(what);
}

/// The largest norm of the gallery's rows; tile_norms keeps what one search found for the next.
double largest_norm(const Tensor& gallery_ND, const std::optional<Tensor>& tile_norms) {
  if (tile_norms && !tile_norms->isnan().any().item<bool>())
    return tile_norms->max().item<double>();
  const int64_t N = gallery_ND.size(0);
  Tensor norm_N = at::empty({N}, gallery_ND.options().dtype(at::kFloat));
  const int64_t rows =
      std::max<int64_t>(kScoreFloats / std::max<int64_t>(gallery_ND.size(1), 1), 1);
  for (int64_t row = 0; row < N; row += rows) {
    const int64_t T = std::min(rows, N - row);
    norm_N.narrow(0, row, T).copy_(gallery_ND.narrow(0, row, T).to(at::kFloat).norm(2, 1));
  }
  require_finite(norm_N.isfinite().all().item<bool>(), "gallery rows");
  if (tile_norms) {
    const int64_t missing = (kGalleryTile - N % kGalleryTile) % kGalleryTile;
    tile_norms->copy_(
        at::constant_pad_nd(norm_N, {0, missing}, 0).view({-1, kGalleryTile}).amax(1));
  }
  return norm_N.max().item<double>();
}

struct Search {
  Tensor query_QD, gallery_ND;
  cuda::Rows rows;

  Tensor scores(int64_t row, int64_t T) const {
    const Tensor tile_TD = gallery_ND.narrow(0, row, T);
    if (rows.Q > cuda::kFewQueries) return query_QD.mm(tile_TD.to(at::kFloat).t());
    cuda::Rows tile = rows;
    tile.gallery_ND = tile_TD.const_data_ptr(), tile.N = T;
    Tensor score_QT = at::empty({rows.Q, T}, query_QD.options());
    cuda::launch_score_rows(tile, score_QT.mutable_data_ptr<float>(),
                            c10::cuda::getCurrentCUDAStream());
    return score_QT;
  }

  /// The c best by float32: scores, best first, and rows.
  std::pair<Tensor, Tensor> candidates(int64_t c) const {
    Tensor score_Qc, row_Qc;
    const int64_t rows_a_tile = std::max<int64_t>(kScoreFloats / rows.Q, 1);
    for (int64_t row = 0; row < rows.N; row += rows_a_tile) {
      const int64_t T = std::min(rows_a_tile, rows.N - row);
      auto [score, place] = scores(row, T).topk(std::min(c, T), 1);
      place = place + row;
      if (score_Qc.defined()) {
        score = at::cat({score_Qc, score}, 1), place = at::cat({row_Qc, place}, 1);
        const auto [best, order] = score.topk(std::min(c, score.size(1)), 1);
        score = best, place = place.gather(1, order);
      }
      score_Qc = score, row_Qc = place;
    }
    return {score_Qc, row_Qc};
  }

  /// The k best of the candidates by exact score, equal scores by lower row.
  std::pair<Tensor, Tensor> exact_best(const Tensor& row_Qc, int64_t k) const {
    const Tensor sorted_Qc = std::get<0>(row_Qc.sort(1)).contiguous();
    Tensor exact_Qc = at::empty(sorted_Qc.sizes(), query_QD.options());
    cuda::launch_exact_scores(rows, sorted_Qc.const_data_ptr<int64_t>(), sorted_Qc.size(1),
                              exact_Qc.mutable_data_ptr<float>(),
                              c10::cuda::getCurrentCUDAStream());
    const auto [score, order] = exact_Qc.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
    return {score.narrow(1, 0, k), sorted_Qc.gather(1, order.narrow(1, 0, k))};
  }

  std::pair<Tensor, Tensor> best(int64_t k, double norm) const {
    const Tensor margin_Q = (query_QD.norm(2, 1) * norm).clamp_min(1.0) * kMargin;
    for (int64_t c = std::min(k + kSpare, rows.N);; c = std::min(2 * c, rows.N)) {
      const auto [score_Qc, row_Qc] = candidates(c);
      require_finite(score_Qc.isfinite().all().item<bool>(), "scores");
      const auto result = exact_best(row_Qc, k);
      if (c == rows.N) return result;
      const Tensor limit_Q = result.first.select(1, k - 1) - margin_Q;
      if (score_Qc.select(1, c - 1).lt(limit_Q).all().item<bool>()) return result;
    }
  }
};

std::tuple<Tensor, Tensor> top_k_cuda(const Tensor& queries_QD, const Tensor& gallery_ND, int64_t k,
                                      const std::optional<Tensor>& tile_norms) {
  check_top_k(queries_QD, gallery_ND, k);
  TORCH_CHECK(queries_QD.device() == gallery_ND.device(),
              "top_k: expected queries and gallery on one device, got ", queries_QD.device(),
              " and ", gallery_ND.device());
  const bool is_half = gallery_ND.scalar_type() == at::kHalf;
  const c10::cuda::CUDAGuard guard(queries_QD.device());
  const Tensor queries = queries_QD.contiguous(), gallery = gallery_ND.contiguous();
  require_finite(queries.isfinite().all().item<bool>(), "queries");
  const double norm = largest_norm(gallery, tile_norms);
  const int64_t Q = queries.size(0);
  Tensor scores_Qk = at::empty({Q, k}, queries.options()),
         indices_Qk = at::empty({Q, k}, queries.options().dtype(at::kLong));
  for (int64_t q = 0; q < Q; q += kQueryBlock) {
    const Tensor block = queries.narrow(0, q, std::min(kQueryBlock, Q - q));
    const Search search{block,
                        gallery,
                        {block.const_data_ptr<float>(), gallery.const_data_ptr(), is_half,
                         block.size(0), gallery.size(0), gallery.size(1)}};
    const auto [score, row] = search.best(k, norm);
    scores_Qk.narrow(0, q, block.size(0)).copy_(score);
    indices_Qk.narrow(0, q, block.size(0)).copy_(row);
  }
  return {scores_Qk, indices_Qk};
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CUDA, m) { m.impl("top_k", top_k_cuda); }

}  // namespace cots::ops
