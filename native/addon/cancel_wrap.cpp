#include "addon/cancel_wrap.h"

#include "addon/addon.h"
#include "addon/convert.h"
#include "io/failure.h"

namespace cots::addon {

Napi::FunctionReference CancelWrap::define(Napi::Env env) {
  return Napi::Persistent(
      DefineClass(env, "NativeCancel", {InstanceMethod("cancel", &CancelWrap::cancel)}));
}

CancelWrap::CancelWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CancelWrap>(info) {}

Napi::Value CancelWrap::cancel(const Napi::CallbackInfo& info) {
  source_->cancel();
  return info.Env().Undefined();
}

Napi::Value create_cancel(const Napi::CallbackInfo& info) {
  return info.Env().GetInstanceData<Addon>()->cancel_class.New({});
}

std::shared_ptr<CancelSource> cancel_of(const Napi::Object& options) {
  if (is_null(options, "cancel")) return nullptr;
  const Napi::Object value = object(options, "cancel");
  if (!value.InstanceOf(options.Env().GetInstanceData<Addon>()->cancel_class.Value()))
    throw Failure(
        "ERR_COTS_OPTION",
        "Expected native option \"cancel\" to be made by createCancel(), got another object.");
  return CancelWrap::Unwrap(value)->source();
}

}  // namespace cots::addon
