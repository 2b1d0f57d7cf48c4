#include "addon/job.h"

#include <ATen/Parallel.h>
#include <pthread.h>

#include "io/failure.h"
#include "io/memory.h"
#include "ops/cancel.h"

namespace cots::addon {
namespace {

void stop_worker(void* worker) { static_cast<Worker*>(worker)->stop(); }

}  // namespace

void CancelSource::attach(const std::shared_ptr<CancelFlag>& flag) {
  std::erase_if(flags_, [](const auto& weak) { return weak.expired(); });
  flags_.push_back(flag);
  if (cancelled_) *flag = true;
}

void CancelSource::cancel() {
  cancelled_ = true;
  for (const auto& weak : flags_)
    if (const auto flag = weak.lock()) *flag = true;
  flags_.clear();
}

std::shared_ptr<Worker> Worker::create(Napi::Env env, const char* name) {
  std::shared_ptr<Worker> worker(new Worker(env));
  worker->start(name);
  return worker;
}

void Worker::start(const char* name) {
  const auto wake = [](napi_env env, napi_value, void* context, void*) {
    if (env != nullptr) static_cast<Worker*>(context)->settle_finished(env);
  };
  const napi_status status =
      napi_create_threadsafe_function(env_, nullptr, nullptr, Napi::String::New(env_, name), 0, 1,
                                      nullptr, nullptr, this, wake, &wake_);
  if (status != napi_ok) throw Failure("ERR_COTS_INTERNAL", "Node refused a thread-safe function.");
  napi_unref_threadsafe_function(env_, wake_);
  napi_add_env_cleanup_hook(env_, stop_worker, this);
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), name);
}

Worker::~Worker() { stop(); }

Napi::Promise Worker::post(Napi::Env env, Work work, const JobOptions& options) {
  auto task = std::make_unique<Task>(env);
  const Napi::Promise promise = task->deferred.Promise();
  task->worker = shared_from_this();
  task->work = std::move(work);
  task->threads = options.threads;
  task->flag = std::make_shared<CancelFlag>(false);
  task->owner = options.owner;
  task->on_settled = options.on_settled;
  task->caller = Napi::Persistent(Napi::Error::New(env).Value());
  if (!options.keep_alive.IsEmpty()) task->keep_alive = Napi::Persistent(options.keep_alive);
  if (options.owner) options.owner->attach(task->flag);
  if (options.cancel) options.cancel->attach(task->flag);
  {
    const std::lock_guard lock(mutex_);
    if (closing_)
      throw Failure("ERR_COTS_DISPOSED",
                    "Expected an object in use, got one that was disposed. Create a new one.");
    queued_.push_back(std::move(task));
  }
  changed_.notify_one();
  if (pending_++ == 0) napi_ref_threadsafe_function(env, wake_);
  return promise;
}

void Worker::run() {
  int threads_in_use = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return closing_ || !queued_.empty(); });
    if (queued_.empty())
      return io::release_freed_blocks();  // what this worker's object held is free by now
    std::unique_ptr<Task> task = std::move(queued_.front());
    queued_.pop_front();
    running_ = task->flag.get();
    lock.unlock();
    run_task(*task, threads_in_use);
    lock.lock();
    running_ = nullptr;
    finished_.push_back(std::move(task));
    napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
  }
}

void Worker::run_task(Task& task, int& threads_in_use) {
  if (task.threads > 0 && task.threads != threads_in_use) {
    // libtorch sets a thread's count lazily from the last one set anywhere: let it, then set ours.
    at::internal::lazy_init_num_threads();
    at::get_num_threads();
    at::set_num_threads(task.threads);
    threads_in_use = task.threads;
  }
  try {
    const ops::CancelScope scope(task.flag.get());
    ops::check_cancelled();
    task.settle = task.work();
  } catch (...) {
    task.failure = describe(std::current_exception());
    if (*task.flag && task.failure->code == "ERR_COTS_INTERNAL")
      task.failure = describe(std::make_exception_ptr(ops::Cancelled()));
  }
  task.work = nullptr;  // frees what it captured here, not on the JavaScript thread
}

void Worker::settle_finished(Napi::Env env) {
  const auto self = shared_from_this();  // a job may hold the last other reference
  const Napi::HandleScope scope(env);
  while (true) {
    std::unique_ptr<Task> task;
    {
      const std::lock_guard lock(mutex_);
      if (finished_.empty()) break;
      task = std::move(finished_.front());
      finished_.pop_front();
    }
    try {
      settle_task(env, *task);
    } catch (const Napi::Error&) {
      // The environment is going down (worker.terminate()): no JavaScript runs any more, so nobody
      // waits for this promise.
    }
    if (--pending_ > 0) continue;
    const bool retired = [&] {
      const std::lock_guard lock(mutex_);
      return closing_;
    }();
    if (retired) return stop();
    napi_unref_threadsafe_function(env, wake_);
  }
}

void Worker::settle_task(Napi::Env env, Task& task) {
  if (task.on_settled) task.on_settled();
  if (task.owner && task.owner->cancelled())
    task.failure =
        Description{"ERR_COTS_DISPOSED",
                    "The object was disposed before this call had settled. Create a new one."};
  Napi::Value reason;
  try {
    if (!task.failure) return task.deferred.Resolve(task.settle(env));
    reason = make_error(env, *task.failure, task.caller.Value());
  } catch (const Napi::Error& error) {
    reason = error.Value();
  } catch (...) {
    reason = make_error(env, describe(std::current_exception()), task.caller.Value());
  }
  task.deferred.Reject(reason);
}

void Worker::retire() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (pending_ == 0) stop();
}

void Worker::stop_thread() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    if (running_ != nullptr) *running_ = true;
    for (const auto& task : queued_) *task->flag = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Worker::stop() {
  if (ended_) return;
  const auto self =
      weak_from_this().lock();  // a task dropped below may hold the last other reference
  ended_ = true;
  stop_thread();
  queued_.clear();
  finished_.clear();
  napi_remove_env_cleanup_hook(env_, stop_worker, this);
  napi_release_threadsafe_function(wake_, napi_tsfn_abort);
}

}  // namespace cots::addon
