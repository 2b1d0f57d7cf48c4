// NativeTrainer: a pre-training run on a thread of its own.
#pragma once

#include <napi.h>

#include "addon/handle.h"
#include "train/trainer.h"

namespace cots::addon {

/// Memory of a trainer by owner. No step changes it.
struct TrainerBytes {
  int64_t weights, optimizer, momentum, queues;
  int64_t total() const { return weights + optimizer + momentum + queues; }
};

class TrainerWrap : public Napi::ObjectWrap<TrainerWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  explicit TrainerWrap(const Napi::CallbackInfo& info);
  void Finalize(Napi::Env env) override;

 private:
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value prefill(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
  Napi::Value capture(const Napi::CallbackInfo& info);
  Napi::Value restore(const Napi::CallbackInfo& info);
  Napi::Value initialize_from(const Napi::CallbackInfo& info);
  Napi::Value snapshot(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  template <typename Run>
  Napi::Value run_exclusive(const Napi::CallbackInfo& info, Run run);
  template <typename Run>
  Napi::Value run_on_path(const Napi::CallbackInfo& info, const char* key, Run run);

  Handle<Trainer> handle_;
  TrainerBytes bytes_;  // as they were made: a step may be at work on them when memory() is asked
  int64_t told_bytes_ = 0;  // to the garbage collector
  bool busy_ = false;       // a step or prefill has not settled
};

Napi::Value create_trainer(const Napi::CallbackInfo& info);

}  // namespace cots::addon
