// What the CUDA kernel of vocabulary_cross_entropy takes. Legend: R rows of a chunk, V classes.
#pragma once

#include "ops/cuda/launch.h"

namespace cots::cuda {

struct SoftmaxRowsArguments {
  float* logits_RV;     // becomes softmax - onehot in place when grad_RV is null and keep is set
  const float* bias_V;  // added to the logits first; null: it is in them
  const int64_t* target_R;
  int64_t R, V;
  bool keep;
  uint16_t* grad_RV;  // bfloat16 softmax - onehot, or null
  double* loss_R;     // logsumexp - logit of the target; NaN where the target is not in [0, V)
};
void launch_softmax_rows(const SoftmaxRowsArguments& arguments, Stream stream);

/// loss += sum of loss_R, in one fixed order.
void launch_add_losses(const double* loss_R, int64_t R, double* loss, Stream stream);

}  // namespace cots::cuda
