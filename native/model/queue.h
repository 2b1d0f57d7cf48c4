// The two paired queues of momentum features, their scores and image ids: one ring buffer, pushed
// in lockstep, so that entry j of every column belongs to the same pair (SPEC 3.3). Any batch size:
// the pointer wraps, and of a batch larger than the queue the last `size` pairs stay. Legend: N
// capacity, n filled, D embedding.
#pragma once

#include "model/parameters.h"
#include "ops/queue_push.h"

namespace cots {

class Queue {
 public:
  Queue(int64_t size, int64_t embed_dim);

  /// Fills every entry with random unit rows flagged invalid for the filter (queue.init: random).
  void fill_random(int64_t seed);

  /// Appends a batch: unit rows image_BD, text_BD, whose products are the scores; id_B int64. Rows
  /// where keep_B (bool) is false (non-finite keys) are not enqueued.
  void push(const Tensor& image_BD, const Tensor& text_BD, const Tensor& id_B,
            const Tensor& keep_B);

  /// To another device, whatever is queued.
  void move(at::Device device);

  int64_t capacity() const { return columns_.score_N.size(0); }
  int64_t filled() const;  // entries usable as negatives
  int64_t valid() const;   // entries that are real pairs (filter statistics)
  Tensor image() const;    // [n, D] views of the filled part
  Tensor text() const;
  Tensor id() const;            // int64 [n]
  Tensor valid_scores() const;  // f32 [valid], momentum scores of real pairs
  /// All of it, whether filled or not: without a value on the host.
  const ops::QueueColumns& columns() const { return columns_; }

  /// Checkpoint columns by name: queue.{image,text,score,id,valid,ptr,n}.
  std::vector<std::pair<std::string, Tensor>> state() const;
  /// Restores what state() gave; throws if shapes differ.
  void restore(const std::vector<std::pair<std::string, Tensor>>& state);

 private:
  void set_cursor(int64_t next, int64_t filled);
  ops::QueueColumns columns_;
};

}  // namespace cots
