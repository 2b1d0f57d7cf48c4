// What queue_contrast can be asked for, without any tensor: kernels include it too.
#pragma once

#include <cstdint>

namespace cots::ops {

/// What a queue entry of the same image is to a row: a negative like any other, left out of both
/// distributions, or a positive beside the pair itself.
enum class DuplicatePolicy : int64_t { kKeep = 0, kMaskSameImage = 1, kMultiPositive = 2 };

struct ContrastOptions {
  double normalizer;  // W = max(sum of weights over the whole step, 1)
  double instance_weight, task_weight;
  bool include_positive, stopgrad_target;
  DuplicatePolicy duplicate_policy = DuplicatePolicy::kKeep;
  int64_t batch_key_column = -1;  // first column of the batch's own keys in the queues, or -1
};

}  // namespace cots::ops
