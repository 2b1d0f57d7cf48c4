// The launches of top_k on a stream; the kernels are in top_k.cuh.
#include "ops/cuda/top_k.cuh"

#include "ops/cuda/launch.cuh"

namespace cots::cuda {

void launch_score_rows(const Rows& rows, float* score_QN, Stream stream) {
  score_rows_launches(rows, score_QN, StreamLaunch{stream});
}

void launch_exact_scores(const Rows& rows, const int64_t* index_Qc, int64_t c, float* score_Qc,
                         Stream stream) {
  exact_scores_launches(rows, index_Qc, c, score_Qc, StreamLaunch{stream});
}

}  // namespace cots::cuda
