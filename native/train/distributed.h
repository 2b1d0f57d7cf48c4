// The ranks of a data-parallel run and what they do together, over libtorch's c10d: Gloo on CPUs,
// NCCL on GPUs.
// Every rank makes the same calls in the same order. A rank that is alone makes none: each call
// returns at once, so that the trainer reads the same with one rank and with many.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

namespace c10d {
class Backend;
class Work;
}  // namespace c10d

namespace cots {

using at::Tensor;

/// Half-open range of a flat buffer.
struct Range {
  int64_t begin = 0, end = 0;
  int64_t count() const { return end - begin; }
};

class Group {
 public:
  /// A collective on its way. The tensor it works on is not to be touched before wait() returns.
  class Pending {
   public:
    Pending() = default;
    /// Reads the cancel flag while it waits (ops::Cancelled). Throws ERR_COTS_DISTRIBUTED when a
    /// rank has left, or did not answer within the time-out.
    void wait();

   private:
    friend class Group;
    struct State;
    std::shared_ptr<State> state_;  // null: done
  };

  /// A rank alone.
  Group() = default;
  /// `timeout`: of every collective.
  Group(c10::intrusive_ptr<c10d::Backend> backend, std::chrono::milliseconds timeout);

  int64_t rank() const;
  int64_t world() const;

  /// Sum over the ranks, in place, the same bits on each. `t` contiguous float32, float64 or int64.
  void all_reduce(const Tensor& t) const { start_all_reduce(t).wait(); }
  Pending start_all_reduce(const Tensor& t) const;
  /// Like all_reduce, but only rank `to` has the sum; the tensor of the others is undefined after.
  Pending start_reduce(const Tensor& t, int64_t to) const;
  /// [world, ...]: the tensor of each rank, of the same shape on all.
  Tensor all_gather(const Tensor& t) const;
  /// The rows of each rank; each may have another number of them, also 0.
  std::vector<Tensor> all_gather_parts(const Tensor& rows_b) const;
  /// The same as one tensor, one rank's rows after another's.
  Tensor all_gather_rows(const Tensor& rows_b) const;
  /// Makes `t` on every rank what it is on rank `from`.
  void broadcast(const Tensor& t, int64_t from) const;
  /// Returns when every rank has called it.
  void barrier() const;
  /// Waits for what a device was given, collectives that a rank has left unanswered among it.
  /// Throws ERR_COTS_DISTRIBUTED after the time-out. Alone it returns at once.
  void await(at::Device device) const;

  /// Rank r's part of a buffer of `count` elements: equal parts, the last one with what is left.
  Range part(int64_t count, int64_t rank) const;
  Range own_part(int64_t count) const { return part(count, rank()); }
  /// Makes every rank's own part of the flat buffer known to all.
  void share_parts(const Tensor& flat) const;

 private:
  struct Shared;
  using Start = std::function<c10::intrusive_ptr<c10d::Work>(c10d::Backend&)>;
  Pending start(const Start& collective) const;
  /// Flat tensors: `own` of every rank, one after another.
  void gather_into(Tensor all, Tensor own) const;
  std::shared_ptr<Shared> shared_;  // null: alone
};

}  // namespace cots
