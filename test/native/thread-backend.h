// The ranks of a test as threads of one process, whose tensors lie in memory that all can read:
// collectives for a device that no library has any for. Each is done when it is waited for: what
// starts one may be autograd's thread of the device, which all ranks share here.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include <barrier>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <vector>

#include "train/distributed.h"

namespace tiny {

/// What the threads share: a place each for the tensor that it brings.
struct Meeting {
  explicit Meeting(int world) : tensors(static_cast<size_t>(world)), all(world) {}
  std::vector<at::Tensor> tensors;
  std::barrier<> all;
};

class ThreadBackend final : public c10d::Backend {
 public:
  ThreadBackend(std::shared_ptr<Meeting> meeting, int rank)
      : c10d::Backend(rank, static_cast<int>(meeting->tensors.size())),
        meeting_(std::move(meeting)) {}

  const std::string getBackendName() const override { return "threads"; }

  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions&) override {
    return later([this, own = bytes_of(tensors.front())] {
      bring(own);
      const at::Tensor sum = at::zeros_like(own);
      for (const at::Tensor& other : meeting_->tensors) sum.add_(other);  // in the ranks' order
      meeting_->all.arrive_and_wait();
      own.copy_(sum);
    });
  }

  c10::intrusive_ptr<c10d::Work> _allgather_base(at::Tensor& all, at::Tensor& own,
                                                 const c10d::AllgatherOptions&) override {
    return later([this, own = bytes_of(own), all = bytes_of(all)] {
      bring(own);
      all.copy_(at::cat(meeting_->tensors));
      meeting_->all.arrive_and_wait();
    });
  }

  c10::intrusive_ptr<c10d::Work> barrier(const c10d::BarrierOptions&) override {
    return later([this] { meeting_->all.arrive_and_wait(); });
  }

 private:
  struct Later final : c10d::Work {
    explicit Later(std::function<void()> collective) : collective(std::move(collective)) {
      finish();
    }
    bool wait(std::chrono::milliseconds) override {
      collective();
      return true;
    }
    c10::intrusive_ptr<c10::ivalue::Future> getFuture() override {
      auto future = c10::make_intrusive<c10::ivalue::Future>(c10::NoneType::get());
      future->markCompleted();
      return future;
    }
    std::function<void()> collective;
  };

  static c10::intrusive_ptr<c10d::Work> later(std::function<void()> collective) {
    return c10::make_intrusive<Later>(std::move(collective));
  }

  /// The same memory as a tensor of the CPU, flat.
  static at::Tensor bytes_of(const at::Tensor& t) {
    TORCH_CHECK(t.is_contiguous(), "a collective takes contiguous tensors");
    auto* const data = static_cast<char*>(const_cast<void*>(t.storage().data())) +
                       t.storage_offset() * t.element_size();
    return at::from_blob(data, {t.numel()}, t.options().device(at::kCPU));
  }

  void bring(const at::Tensor& own) {
    meeting_->tensors[static_cast<size_t>(getRank())] = own;
    meeting_->all.arrive_and_wait();
  }

  std::shared_ptr<Meeting> meeting_;
};

/// Runs `body` on each rank, a thread each; throws what the first that failed threw.
inline void on_threads(int world, const std::function<void(const cots::Group&)>& body) {
  const auto meeting = std::make_shared<Meeting>(world);
  std::vector<std::exception_ptr> failures(static_cast<size_t>(world));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world; ++rank)
    threads.emplace_back([&, rank] {
      try {
        body(cots::Group(c10::make_intrusive<ThreadBackend>(meeting, rank),
                         std::chrono::seconds(60)));
      } catch (...) {
        failures[static_cast<size_t>(rank)] = std::current_exception();
        meeting->all.arrive_and_drop();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

}  // namespace tiny
