// What every wrapped object is made of: native state, the worker that owns it, and its lifetime.
// Thin wraps check state, build structs and start jobs; this keeps the rules of dispose() in one
// place.
#pragma once

#include <memory>
#include <utility>

#include "addon/cancel_wrap.h"
#include "addon/job.h"
#include "io/failure.h"

namespace cots::addon {

template <typename State>
class Handle {
 public:
  Handle() = default;
  /// A handle that owns its worker retires it when disposed; another one shares the worker of the
  /// environment.
  Handle(std::shared_ptr<State> state, std::shared_ptr<Worker> worker, int threads,
         bool owns_worker)
      : state_(std::move(state)),
        worker_(std::move(worker)),
        threads_(threads),
        owns_worker_(owns_worker) {}

  /// The state, for a job or a quick look. Throws ERR_COTS_DISPOSED.
  std::shared_ptr<State> state() const {
    if (!state_)
      throw Failure("ERR_COTS_DISPOSED",
                    "Expected an object in use, got one that was disposed. Create a new one.");
    return state_;
  }

  /// Queues a job that holds `self` until it settled.
  Napi::Value post(Napi::Env env, const Napi::Object& self, Work work,
                   std::shared_ptr<CancelSource> cancel = nullptr,
                   std::function<void()> on_settled = nullptr) const {
    JobOptions options;
    options.threads = threads_;
    options.owner = lifetime_;
    options.cancel = std::move(cancel);
    options.keep_alive = self;
    options.on_settled = std::move(on_settled);
    return worker_->post(env, std::move(work), options);
  }

  /// Idempotent: ends the job in progress, rejects those queued, lets go of the state.
  void dispose() {
    if (!state_) return;
    lifetime_->cancel();
    state_.reset();
    if (owns_worker_) worker_->retire();
  }

  /// Lets go of the state without ending the jobs that hold it.
  void let_go() { state_.reset(); }

  int threads() const { return threads_; }

 private:
  std::shared_ptr<State> state_;
  std::shared_ptr<Worker> worker_;
  std::shared_ptr<CancelSource> lifetime_ = std::make_shared<CancelSource>();
  int threads_ = 0;
  bool owns_worker_ = false;
};

/// The handle that a constructor was given by make_wrap(); throws when JavaScript calls the
/// constructor itself.
template <typename State>
Handle<State> take_handle(const Napi::CallbackInfo& info) {
  if (info.Length() != 1 || !info[0].IsExternal())
    throw Napi::TypeError::New(info.Env(), "Illegal constructor.");
  return std::move(*info[0].As<Napi::External<Handle<State>>>().Data());
}

template <typename State>
Napi::Value make_wrap(Napi::Env env, const Napi::FunctionReference& constructor,
                      Handle<State> handle) {
  return constructor.New({Napi::External<Handle<State>>::New(env, &handle)});
}

}  // namespace cots::addon
