// Native work off the event loop: one thread with a FIFO queue, promises settled on the JavaScript
// thread, and three ways to end a job early: the caller's cancel, the owner's dispose(), and the
// end of the environment (DESIGN 2.4).
#pragma once

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "addon/failure.h"

namespace cots::addon {

using CancelFlag = std::atomic<bool>;

/// Jobs that end together: those of one NativeCancel, or of one disposed object. JavaScript thread
/// only.
class CancelSource {
 public:
  void attach(const std::shared_ptr<CancelFlag>& flag);
  void cancel();
  bool cancelled() const { return cancelled_; }

 private:
  bool cancelled_ = false;
  std::vector<std::weak_ptr<CancelFlag>> flags_;
};

/// Makes the promise's value, on the JavaScript thread.
using Settle = std::function<Napi::Value(Napi::Env)>;
/// The work itself, on the worker's thread: no JavaScript value in sight.
/// It is freed on that thread, and so must not hold a reference to the worker: a weak one will do.
using Work = std::function<Settle()>;

struct JobOptions {
  int threads = 0;  // of libtorch for this job; 0 = what the thread had before
  std::shared_ptr<CancelSource>
      owner;  // disposed: the job rejects ERR_COTS_DISPOSED, whatever it computed
  std::shared_ptr<CancelSource> cancel;  // the caller's, or null
  Napi::Object keep_alive;  // object that must not be collected before the job settled, or empty
  std::function<void()> on_settled;  // JavaScript thread, before the promise settles
};

class Worker : public std::enable_shared_from_this<Worker> {
 public:
  static std::shared_ptr<Worker> create(Napi::Env env, const char* name);
  ~Worker();
  Worker(const Worker&) = delete;

  /// Queues a job. The promise rejects with a CotsError that carries the caller's stack.
  Napi::Promise post(Napi::Env env, Work work, const JobOptions& options);
  /// Jobs that have not settled. JavaScript thread only.
  size_t pending() const { return pending_; }
  /// Takes no more jobs; the thread ends when those queued have settled. Does not wait.
  void retire();
  /// Sets every flag, waits for the thread and drops what has not settled. No callback runs after
  /// it.
  void stop();
  /// The part of stop() that needs no JavaScript: sets every flag and waits for the thread.
  void stop_thread();

 private:
  struct Task {
    Work work;
    int threads = 0;
    std::shared_ptr<CancelFlag> flag;
    std::shared_ptr<CancelSource> owner;
    std::function<void()> on_settled;
    Napi::Promise::Deferred deferred;
    Napi::ObjectReference caller, keep_alive;
    Settle settle;
    std::optional<Description> failure;
    std::shared_ptr<Worker>
        worker;  // stays while a task has not settled; tasks end on the JavaScript thread
    explicit Task(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}
  };

  explicit Worker(Napi::Env env) : env_(env) {}
  void start(const char* name);
  void run();
  static void run_task(Task& task, int& threads_in_use);
  void settle_finished(Napi::Env env);
  static void settle_task(Napi::Env env, Task& task);

  Napi::Env env_;
  napi_threadsafe_function wake_ = nullptr;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<Task>> queued_, finished_;  // guarded by mutex_
  CancelFlag* running_ = nullptr;                        // guarded by mutex_
  bool closing_ = false;                                 // guarded by mutex_
  size_t pending_ = 0;                                   // JavaScript thread only
  bool ended_ = false;                                   // JavaScript thread only
};

}  // namespace cots::addon
