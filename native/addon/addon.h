// What the addon keeps per environment (main thread or worker_threads): constructors and workers.
// No process-wide JavaScript state.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "addon/job.h"

namespace cots::addon {

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports);

  Napi::FunctionReference error_class;  // CotsError, handed over by initialize()
  Napi::FunctionReference cancel_class, checkpoint_class, gallery_class, model_class, ranks_class,
      trainer_class, tokenizer_class, tokenizer_trainer_class;

  /// The worker that models, tokenizers and ops of this environment share.
  const std::shared_ptr<Worker>& device_worker(Napi::Env env);
  /// A worker of makeViews, the one with the least to do; as many as there is work for, one a core.
  /// They run beside a training step: what the loader has in work bounds them.
  const std::shared_ptr<Worker>& transform_worker(Napi::Env env);
  /// The worker that writes checkpoints beside the steps.
  const std::shared_ptr<Worker>& file_worker(Napi::Env env);
  /// A worker of its own, for a trainer.
  std::shared_ptr<Worker> create_worker(Napi::Env env, const char* name);
  /// Threads of a job that names no number.
  int default_threads() const { return default_threads_; }

 private:
  Napi::Value initialize(const Napi::CallbackInfo& info);

  /// Ends the threads in process.on('exit'): process.exit() runs no environment cleanup hooks, and
  /// C++'s exit handlers destroy libtorch's and oneDNN's lazily made statics before any handler
  /// that was registered earlier.
  void stop_threads_at_exit(Napi::Env env);

  int default_threads_;
  std::vector<std::weak_ptr<Worker>> workers_;
  std::shared_ptr<Worker> device_worker_, file_worker_;
  std::vector<std::shared_ptr<Worker>> transform_workers_;
};

}  // namespace cots::addon
