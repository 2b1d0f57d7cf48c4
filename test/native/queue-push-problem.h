// A queue and a batch for it, with what a push must leave by the plain composite.
#pragma once

#include <ATen/ATen.h>

#include <array>

#include "ops/queue_push.h"
#include "tensors.h"

namespace cots::test {

/// A queue of `size` entries, `filled` of them, whose next place is `next`.
inline ops::QueueColumns queue_columns(int64_t size, int64_t D, int64_t next, int64_t filled,
                                       at::ScalarType type) {
  const auto rows = [&](uint64_t seed) {
    return at::randn({size, D}, generator(seed), at::TensorOptions()).to(type);
  };
  return {rows(1),
          rows(2),
          rows(3).select(1, 0).to(at::kFloat).contiguous(),
          at::arange(size, at::kLong),
          at::arange(size, at::kLong).lt(filled),
          at::tensor({next, filled}, at::kLong)};
}

/// `batch` pairs, about `kept` of which stay.
inline ops::QueueBatch queue_batch(int64_t batch, int64_t D, double kept, at::ScalarType type) {
  const auto rows = [&](uint64_t seed) {
    return at::randn({batch, D}, generator(seed), at::TensorOptions()).to(type);
  };
  return {rows(4), rows(5), rows(6).select(1, 0).to(at::kFloat).contiguous(),
          at::arange(batch, at::kLong) + 1000,
          at::rand({batch}, generator(7), at::TensorOptions()).lt(kept)};
}

inline std::array<Tensor, 6> all_columns(const ops::QueueColumns& queue) {
  return {queue.image_ND, queue.text_ND, queue.score_N, queue.id_N, queue.valid_N, queue.cursor_2};
}

inline ops::QueueColumns cloned(const ops::QueueColumns& queue) {
  return {queue.image_ND.clone(), queue.text_ND.clone(), queue.score_N.clone(),
          queue.id_N.clone(),     queue.valid_N.clone(), queue.cursor_2.clone()};
}

struct PushSizes {
  int64_t size, next, filled, batch;
  double kept;
};

/// Around the end, larger than the queue, nothing kept, nothing at all, a queue of one.
constexpr std::array<PushSizes, 8> kPushSizes{{{7, 0, 0, 3, 1.0},
                                               {7, 5, 7, 4, 1.0},
                                               {7, 3, 5, 30, 0.7},
                                               {7, 6, 6, 7, 0.5},
                                               {50, 49, 50, 20, 0.0},
                                               {50, 10, 10, 0, 1.0},
                                               {1, 0, 1, 5, 0.6},
                                               {1500, 1400, 1500, 2100, 0.9}}};

}  // namespace cots::test
