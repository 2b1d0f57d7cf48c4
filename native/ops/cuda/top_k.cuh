// The two kernels of top_k: the scores of a few queries at the speed of the gallery's memory, and
// the exact scores that have the last word. Legend: top_k.h.
#pragma once

#include "ops/cuda/device.cuh"
#include "ops/cuda/top_k.h"

namespace cots::cuda {

constexpr int kScoreThreads = 256;

/// A warp a gallery row, read once for all queries.
template <class Element>
__global__ void __launch_bounds__(kScoreThreads) score_rows(Rows p, float* score_QN) {
  const auto* gallery = static_cast<const Element*>(p.gallery_ND);
  const int lane = threadIdx.x % kWarp;
  const int64_t warps = thread_count() / kWarp;
  for (int64_t row = thread_index() / kWarp; row < p.N; row += warps) {
    float sum[kFewQueries] = {};
    for (int64_t k = lane; k < p.D; k += kWarp) {
      const float x = to_float(gallery[row * p.D + k]);
      COTS_UNROLL for (int q = 0; q < kFewQueries; ++q) if (q < p.Q) sum[q] +=
          x * p.query_QD[q * p.D + k];
    }
    COTS_UNROLL for (int q = 0; q < kFewQueries; ++q) {
      const float score = warp_sum(sum[q]);
      if (lane == 0 && q < p.Q) score_QN[q * p.N + row] = score;
    }
  }
}

/// A thread a candidate. The product of two floats is exact in float64, so that fused or not, each
/// addition rounds as on a CPU.
template <class Element>
__global__ void __launch_bounds__(kScoreThreads)
    exact_scores(Rows p, const int64_t* index_Qc, int64_t c, float* score_Qc) {
  const auto* gallery = static_cast<const Element*>(p.gallery_ND);
  for (int64_t i = thread_index(); i < p.Q * c; i += thread_count()) {
    const float* query = p.query_QD + i / c * p.D;
    const Element* row = gallery + index_Qc[i] * p.D;
    double sum = 0;
    for (int64_t k = 0; k < p.D; ++k)
      sum += static_cast<double>(query[k]) * static_cast<double>(to_float(row[k]));
    score_Qc[i] = static_cast<float>(sum);
  }
}

template <class Launch>
void score_rows_launches(const Rows& p, float* score_QN, const Launch& launch) {
  if (p.Q * p.N == 0) return;
  const Grid grid = grid_for(p.N * kWarp, kScoreThreads);
  if (p.is_half)
    launch(score_rows<Half>, grid, kScoreThreads, size_t{0}, p, score_QN);
  else
    launch(score_rows<float>, grid, kScoreThreads, size_t{0}, p, score_QN);
}

template <class Launch>
void exact_scores_launches(const Rows& p, const int64_t* index_Qc, int64_t c, float* score_Qc,
                           const Launch& launch) {
  if (p.Q * c == 0) return;
  const Grid grid = grid_for(p.Q * c, kScoreThreads);
  if (p.is_half)
    launch(exact_scores<Half>, grid, kScoreThreads, size_t{0}, p, index_Qc, c, score_Qc);
  else
    launch(exact_scores<float>, grid, kScoreThreads, size_t{0}, p, index_Qc, c, score_Qc);
}

}  // namespace cots::cuda
