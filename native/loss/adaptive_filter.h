// Adaptive momentum filter (AMF): which pairs of the batch are likely noise (SPEC 3.6, 3.8).
#pragma once

#include <ATen/core/Tensor.h>

namespace cots::loss {

using at::Tensor;

struct FilterOptions {
  double k;
  int64_t min_valid;         // off until that many real pairs are queued
  double min_keep_fraction;  // keep at least this share, by score
};

struct FilterDecision {
  Tensor weights_B;  // f32, 0 or 1; rows with a non-finite score are 0
  Tensor stats_3;    // f64: mean, std and threshold of the queue's scores, before this step's push
  bool active = false;
};

/// score_B momentum similarity of each pair; queue_scores_n real pairs only. Asks for no value on
/// the host.
FilterDecision adaptive_filter(const Tensor& score_B, const Tensor& queue_scores_n,
                               const FilterOptions& options);

}  // namespace cots::loss
