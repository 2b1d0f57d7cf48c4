// What the addon keeps per environment (main thread or worker_threads): constructors and workers.
// No process-wide JavaScript state.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/job.h"

namespace cots::addon {

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports);

  Napi::FunctionReference error_class;  // CotsError, handed over by initialize()
  Napi::FunctionReference cancel_class, model_class, trainer_class, tokenizer_class,
      tokenizer_trainer_class;

  /// The worker that models, tokenizers and ops of this environment share.
  const std::shared_ptr<Worker>& device_worker(Napi::Env env);
  /// The worker of makeViews: it runs beside a training step.
  const std::shared_ptr<Worker>& transform_worker(Napi::Env env);
  /// Threads of a job that names no number.
  int default_threads() const { return default_threads_; }

 private:
  Napi::Value initialize(const Napi::CallbackInfo& info);

  int default_threads_;
  std::shared_ptr<Worker> device_worker_, transform_worker_;
};

}  // namespace cots::addon
