#include "train/distributed.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "device/collectives.h"
#include "io/failure.h"
#include "ops/cancel.h"

namespace cots {
namespace {

constexpr auto kLook = std::chrono::milliseconds(50);  // between two looks at the cancel flag

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

namespace {

Failure lost(const c10d::Backend& backend, std::chrono::milliseconds timeout,
             const std::string& found) {
  return {"ERR_COTS_DISTRIBUTED",
          "Expected all " + std::to_string(backend.getSize()) +
              " ranks to take part until the end, rank " + std::to_string(backend.getRank()) +
              " lost another one: " + found +
              ". Look for the error of the rank that ended first, or raise train.timeout (" +
              std::to_string(timeout.count() / 1000) +
              " s) where one is only slow; then go on with --resume latest."};
}

}  // namespace

/// The connections. A backend's destructor waits for its collectives, and one that a rank has left
/// unanswered would hold it until the time-out: such a backend is not destroyed, for the process
/// is about to end.
struct Group::Shared {
  c10::intrusive_ptr<c10d::Backend> backend;
  std::chrono::milliseconds timeout;
  std::mutex mutex;
  std::vector<c10::intrusive_ptr<c10d::Work>> started;  // guarded by mutex

  void add(const c10::intrusive_ptr<c10d::Work>& work) {
    const std::lock_guard lock(mutex);
    std::erase_if(started, [](const auto& other) { return other->isCompleted(); });
    started.push_back(work);
  }

  ~Shared() {
    const bool unanswered = std::any_of(started.begin(), started.end(),
                                        [](const auto& work) { return !work->isCompleted(); });
    if (unanswered) backend.release();
  }
};

struct Group::Pending::State {
  std::shared_ptr<Shared> group;
  c10::intrusive_ptr<c10d::Work> work;
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;  // guarded by mutex
};

void Group::Pending::wait() {
  const std::shared_ptr<State> state = std::exchange(state_, nullptr);
  if (!state) return;
  for (std::unique_lock lock(state->mutex); !state->done;) {
    state->changed.wait_for(lock, kLook);
    ops::check_cancelled();
  }
  try {
    state->work->wait();
  } catch (const std::exception& error) {
    throw lost(*state->group->backend, state->group->timeout, first_line(error.what()));
  }
}

Group::Group(c10::intrusive_ptr<c10d::Backend> backend, std::chrono::milliseconds timeout) {
  if (backend->getSize() == 1) return;
  shared_ = std::make_shared<Shared>();
  shared_->backend = std::move(backend);
  shared_->timeout = timeout;
}

int64_t Group::rank() const { return shared_ ? shared_->backend->getRank() : 0; }

int64_t Group::world() const { return shared_ ? shared_->backend->getSize() : 1; }

Group::Pending Group::start(const Start& collective) const {
  Pending pending;
  if (!shared_) return pending;
  const at::NoGradGuard no_grad;
  pending.state_ = std::make_shared<Pending::State>();
  pending.state_->group = shared_;
  try {
    pending.state_->work = collective(*shared_->backend);
  } catch (const std::exception& error) {
    throw Failure("ERR_COTS_DISTRIBUTED",
                  "Expected the ranks to be connected, got: " + first_line(error.what()) +
                      ". Go on with --resume latest.");
  }
  shared_->add(pending.state_->work);
  // The future holds the callback and the callback the state: it must not hold the work as well.
  pending.state_->work->getFuture()->addCallback(
      [state = std::weak_ptr(pending.state_)](c10::ivalue::Future&) {
        const auto waiting = state.lock();
        if (!waiting) return;
        const std::lock_guard lock(waiting->mutex);
        waiting->done = true;
        waiting->changed.notify_all();
      });
  return pending;
}

Group::Pending Group::start_all_reduce(const Tensor& t) const {
  return start([&](c10d::Backend& backend) {
    std::vector<Tensor> tensors = {t};
    return backend.allreduce(tensors);
  });
}

Group::Pending Group::start_reduce(const Tensor& t, int64_t to) const {
  return start([&](c10d::Backend& backend) {
    std::vector<Tensor> tensors = {t};
    c10d::ReduceOptions options;
    options.rootRank = to;
    return backend.reduce(tensors, options);
  });
}

Tensor Group::all_gather(const Tensor& t) const {
  if (!shared_) return t.unsqueeze(0);
  std::vector<int64_t> shape = t.sizes().vec();
  shape.insert(shape.begin(), world());
  const Tensor all = at::empty(shape, t.options());
  if (t.numel() > 0) gather_into(all.flatten(), t.contiguous().flatten());
  return all;
}

void Group::gather_into(Tensor all, Tensor own) const {
  start([&](c10d::Backend& backend) { return backend._allgather_base(all, own); }).wait();
}

std::vector<Tensor> Group::all_gather_parts(const Tensor& rows_b) const {
  if (!shared_) return {rows_b};
  const Tensor counts_r = all_gather(at::scalar_tensor(rows_b.size(0), at::kLong));
  const int64_t most = counts_r.max().item<int64_t>();
  std::vector<int64_t> shape = rows_b.sizes().vec();
  shape[0] = most;
  const Tensor padded = at::zeros(shape, rows_b.options());
  padded.narrow(0, 0, rows_b.size(0)).copy_(rows_b);
  const Tensor all_rm = all_gather(padded);
  std::vector<Tensor> parts;
  for (int64_t r = 0; r < world(); ++r)
    parts.push_back(all_rm[r].narrow(0, 0, counts_r[r].item<int64_t>()));
  return parts;
}

Tensor Group::all_gather_rows(const Tensor& rows_b) const {
  return shared_ ? at::cat(all_gather_parts(rows_b)) : rows_b;
}

void Group::broadcast(const Tensor& t, int64_t from) const {
  if (!shared_ || t.numel() == 0) return;
  start([&](c10d::Backend& backend) {
    std::vector<Tensor> tensors = {t};
    c10d::BroadcastOptions options;
    options.rootRank = from;
    return backend.broadcast(tensors, options);
  }).wait();
}

void Group::barrier() const {
  start([](c10d::Backend& backend) { return backend.barrier(); }).wait();
}

void Group::await(at::Device device) const {
  if (!shared_ || device::is_done_within(device, shared_->timeout)) return;
  throw lost(*shared_->backend, shared_->timeout, "the step on " + device.str() + " does not end");
}

Range Group::part(int64_t count, int64_t rank) const {
  const int64_t each = count / world();
  return {rank * each, rank + 1 == world() ? count : (rank + 1) * each};
}

void Group::share_parts(const Tensor& flat) const {
  if (!shared_) return;
  // Equal parts go in one gather, straight into place; what is left over is the last rank's.
  const int64_t each = flat.numel() / world(), whole = each * world();
  if (each > 0) {
    gather_into(flat.narrow(0, 0, whole), flat.narrow(0, rank() * each, each).clone());
  }
  broadcast(flat.narrow(0, whole, flat.numel() - whole), world() - 1);
}

}  // namespace cots
