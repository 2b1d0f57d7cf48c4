// NativeCheckpoint: a rank's part of a checkpoint, written beside the steps that follow.
#pragma once

#include <napi.h>

#include "addon/handle.h"
#include "train/capture.h"

namespace cots::addon {

class CheckpointWrap : public Napi::ObjectWrap<CheckpointWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  explicit CheckpointWrap(const Napi::CallbackInfo& info);

 private:
  Napi::Value write(const Napi::CallbackInfo& info);
  Handle<Capture> handle_;
};

Napi::Value wrap_checkpoint(Napi::Env env, std::shared_ptr<Capture> part);

}  // namespace cots::addon
