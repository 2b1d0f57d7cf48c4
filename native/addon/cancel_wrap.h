// NativeCancel: a flag shared with native jobs.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/job.h"

namespace cots::addon {

class CancelWrap : public Napi::ObjectWrap<CancelWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  explicit CancelWrap(const Napi::CallbackInfo& info);
  const std::shared_ptr<CancelSource>& source() const { return source_; }

 private:
  Napi::Value cancel(const Napi::CallbackInfo& info);
  std::shared_ptr<CancelSource> source_ = std::make_shared<CancelSource>();
};

Napi::Value create_cancel(const Napi::CallbackInfo& info);

/// The `cancel` option of an entry: a NativeCancel, or null.
std::shared_ptr<CancelSource> cancel_of(const Napi::Object& options);

}  // namespace cots::addon
