// Sums the gradients of all ranks while backward still runs: the flat gradient buffer is cut into
// buckets from its end, where backward is done first, and a bucket is on its way as soon as all of
// it is there (Li et al. 2020, "PyTorch Distributed").
#pragma once

#include <memory>
#include <vector>

#include "model/parameters.h"
#include "train/distributed.h"

namespace torch::autograd {
struct Node;
}

namespace cots {

class GradientBuckets {
 public:
  /// `sharded`: a bucket ends where a rank's part does, and is summed on that rank alone. Alone,
  /// none of it costs anything.
  GradientBuckets(const Parameters& parameters, const Group& group, int64_t bucket_bytes,
                  bool sharded);
  GradientBuckets(const GradientBuckets&) = delete;

  /// The next backward, from `roots`, is the step's last one on this rank: what it completes may
  /// go.
  void begin_last(const std::vector<Tensor>& roots);
  /// Sends what has not gone, in the same order on every rank, and waits for all of it. Call once
  /// a step on every rank, after its last backward, or with no backward at all.
  void finish();

 private:
  struct Bucket {
    Range range;
    int64_t owner = -1;      // the one rank that gets the sum; -1: all
    int64_t parameters = 0;  // that lie in it, wholly or partly
    int64_t left = 0;        // of them, not yet ready
    Group::Pending pending;
  };

  void cut(int64_t count, int64_t bucket_count, bool sharded);
  void hook(size_t parameter, const Tensor& value);
  void ready(size_t parameter);
  void send_complete(bool all);

  Group group_;
  Tensor flat_grad_;
  std::vector<Bucket> buckets_;                  // from the end of the buffer
  std::vector<std::pair<size_t, size_t>> span_;  // first and last bucket of each parameter
  std::vector<const torch::autograd::Node*> accumulators_;  // one a parameter
  std::vector<std::shared_ptr<void>> kept_;  // that keeps them: autograd itself holds them weakly
  std::shared_ptr<GradientBuckets*> self_;   // what the hooks hold, weakly
  std::vector<bool> waited_for_;             // parameters that the last backward will complete
  bool active_ = false;
  size_t next_ = 0;  // the first bucket that has not gone
};

}  // namespace cots
