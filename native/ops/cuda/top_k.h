// What the CUDA kernels of top_k take. Legend: Q queries, N gallery rows, D embedding, c
// candidates.
#pragma once

#include "ops/cuda/launch.h"

namespace cots::cuda {

struct Rows {
  const float* query_QD;
  const void* gallery_ND;  // float32 or float16
  bool is_half;
  int64_t Q, N, D;
};

constexpr int64_t kFewQueries = 4;  // up to here the gallery's bandwidth decides

/// score_QN = queries . gallery rows in float32, for Q <= kFewQueries.
void launch_score_rows(const Rows& rows, float* score_QN, Stream stream);

/// score_Qc[q][i] = the dot product of query q and gallery row index_Qc[q][i], in the one fixed
/// order of ops/exact_dot.h, bit for bit.
void launch_exact_scores(const Rows& rows, const int64_t* index_Qc, int64_t c, float* score_Qc,
                         Stream stream);

}  // namespace cots::cuda
